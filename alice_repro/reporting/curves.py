"""Training curves from the logs: terms of the loss, gradient norm of each term, df/ds; and the lab teacher's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from alice_repro.errors import UserError
from alice_repro.reporting.figures import styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOG, TEACHER_CURVE = "log.jsonl", "curve.jsonl"
_SMOOTH = 0.05  # share of the updates that a running median spans
_PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def read_log(path: Path) -> pd.DataFrame:
    """A row per logged update. A last line that a kill cut short is left out.

    Raises:
        UserError: no such file, nothing in it, or a line that is no JSON object with `update`.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such training log")
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            rows.append({"update": row["update"]} | row)
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                break
            raise UserError(f"{path}, line {number}: not a row of a training log ({error})") from error
    if not rows:
        raise UserError(f"{path}: the training log is empty")
    return pd.DataFrame(rows)


def training_curve(run_folder: Path) -> Figure:
    """Losses, gradient norms and df/ds of one training run, from its log.jsonl; each with a running median."""
    from matplotlib.figure import Figure

    log = read_log(Path(run_folder) / LOG)
    losses = [name for name in log.columns if name.endswith("_loss")]
    norms = [name for name in log.columns if name.endswith("_gradient")]
    panels = [("loss", losses), ("gradient norm, weighted terms", norms)]
    if "df_ds" in log.columns:
        panels.append(("df/ds, mean norm of a clip", ["df_ds"]))
    panels = [(title, names) for title, names in panels if names]
    with styled():
        figure = Figure(figsize=(3.3 * len(panels), 2.5), layout="constrained")
        for axes, (title, names) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            for tone, name in zip(_PALETTE, names, strict=False):
                _line(axes, log, name, tone)
            if (log[names].stack() > 0).all():  # a logarithmic axis would hide the rest
                axes.set_yscale("log")
            axes.set_title(title)
            axes.set_xlabel("student update")
            _mark_stages(axes, log)
            if len(names) > 1:
                axes.legend()
    return figure


def teacher_curve(checkpoint_folder: Path) -> Figure:
    """The flow-matching loss of the lab teacher's training, from the checkpoint's curve.jsonl."""
    from matplotlib.figure import Figure

    log = read_log(Path(checkpoint_folder) / TEACHER_CURVE)
    with styled():
        figure = Figure(figsize=(4.2, 2.5), layout="constrained")
        axes = figure.subplots()
        axes.plot(log["update"], log["loss"], color=_PALETTE[0])
        axes.set(yscale="log", xlabel="update", ylabel="flow-matching loss", title="The lab teacher's training")
    return figure


def _line(axes: Axes, log: pd.DataFrame, name: str, tone: str) -> None:
    shown = log[["update", name]].dropna()
    window = max(1, int(_SMOOTH * len(shown)))
    axes.plot(shown["update"], shown[name], color=tone, alpha=0.28, linewidth=0.7)
    label = name.removesuffix("_loss").removesuffix("_gradient").replace("df_ds", "df/ds")
    median = shown[name].rolling(window, center=True, min_periods=1).median()
    axes.plot(shown["update"], median, color=tone, label=label)


def _mark_stages(axes: Axes, log: pd.DataFrame) -> None:
    if "stage" not in log.columns:
        return
    starts = log.groupby("stage", sort=False)["update"].min()
    for start in starts.iloc[1:]:
        axes.axvline(start - 0.5, color="#999999", linewidth=0.7, linestyle=":")
