"""Where the rates come from: published times against the operations they need, and the lab's own measured seconds.

On GPUs each entry of rates.toml gives the share of the dense bf16 peak that its time implies, under every admissible
reading of its clip; the ranges that plans use are the least and the greatest, to the nearest 5 %. On a CPU the seconds
of the committed record (training logs, sampled videos of the trained teacher and its students) give GFLOP/s a core; the
ranges run from the 10th to the 90th percentile, of a training's updates and of sampled arms, over all methods: a plan
has to hold on an idle machine and on one that does something else beside.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alice_repro.audit.planner.machines import GIGA, TERA, rates
from alice_repro.audit.planner.network import Network, network_of, of_model, recorded_model
from alice_repro.audit.planner.plan import HOUR
from alice_repro.audit.planner.work import guided, operations_of, update_calls
from alice_repro.config import CHECKOUT, Recipe, load_recipe, load_scale
from alice_repro.distill.calls import Calls, Update
from alice_repro.papers import gpus
from alice_repro.strict import from_mapping

RECORD = CHECKOUT / "results" / "reference" / "lab"
CORES, DEVICE = 2, "cpu, 2 cores"  # of the runs that count; others of the record are left out


@dataclass(frozen=True)
class Share:
    """A published time: its seconds (or hours) at 100 % of the peak, and the shares implied, least and greatest."""

    id: str
    kind: str
    gpu: str
    published: str
    floor: str
    shares: tuple[float, float]
    source: str
    note: str


@dataclass(frozen=True)
class Measured:
    """A run of the lab on the CPU: seconds, GFLOP/s a core over the whole, and of each of its parts (updates)."""

    id: str
    kind: str
    seconds: float
    rate: float
    parts: tuple[float, ...]


def published() -> Iterator[Share]:
    """Every entry of rates.toml."""
    for entry in rates()["sampling"]:
        peak = gpus()[entry["gpu"]].peaks["bf16"] * TERA
        floors = [entry["evaluations"] * network.forward / peak for network in _readings(entry)]
        shares = (min(floors) / entry["seconds"], max(floors) / entry["seconds"])
        yield _share(entry, "sampling", f"{entry['seconds']:,g} s", _both(floors, "s"), shares)
    for entry in rates()["distillation"]:
        peak = gpus()[entry["gpu"]].peaks["bf16"] * TERA
        floors = [_distillation(entry, network) / peak / HOUR for network in _readings(entry)]
        spent = entry["gpu_hours"]
        shares = (min(floors) / max(spent), max(floors) / min(spent))
        yield _share(entry, "training", _both(spent, "GPU-hours"), _both(floors, "GPU-hours"), shares)
    for entry in rates()["stated"]:
        yield _share({"gpu": "", **entry}, "training", "a share of the peak", "-", tuple(entry["shares"]))


def measured(record: Path = RECORD) -> Iterator[Measured]:
    """Every training of the ledger and every sampled arm of the trained teacher in the committed record.

    Only those with the trained teacher: the exact one's work is not counted.
    """
    import pandas as pd

    network = network_of(load_scale("lab"))
    for path in sorted((record / "methods" / "trained").glob("*/*.json")):
        entry = json.loads(path.read_text())
        if entry["device"] != DEVICE:
            continue
        recipe = from_mapping(Recipe, entry["config"]["recipe"], str(path))
        curve = pd.read_parquet(path.with_name(f"{path.stem}.curve.parquet"))
        yield _trained(f"{path.parent.name}/{path.stem}", recipe, curve.groupby("stage")["seconds"], network)
    for path in sorted((record / "videos" / "trained").glob("*/manifest.json")):
        made = next(iter(json.loads(path.read_text())["artefacts"].values()))
        if made["device"] != DEVICE:
            continue
        extra = made["extra"]
        operations = extra["evaluations_per_clip"] * network.forward
        rate = operations / extra["seconds_per_clip"] / GIGA / CORES
        seconds = extra["clips"] * extra["seconds_per_clip"]
        yield Measured(f"videos/{path.parent.name}", "sampling", seconds, rate, (rate,))


def percentiles(runs: Iterable[Measured], kind: str) -> tuple[float, float]:
    """The range that the rule gives: 10th and 90th percentile of all parts, GFLOP/s a core."""
    import numpy as np

    low, high = np.quantile([rate for run in runs if run.kind == kind for rate in run.parts], [0.1, 0.9])
    return float(low), float(high)


def held_out(record: Path = RECORD) -> Iterator[Measured]:
    """Trainings that no range was taken from: the reference runs of `make reproduce-table4`."""
    import pandas as pd

    network, recipe = network_of(load_scale("lab")), load_recipe("rcm")
    for path in sorted((record / "runs" / "trained" / "rcm").glob("*/log.jsonl")):
        log = pd.read_json(path, lines=True)
        if len(log) == recipe.updates:  # a whole run of today's recipe
            yield _trained(f"rcm/{path.parent.name}", recipe, log.groupby("stage")["seconds"], network)


def show_calibration() -> str:
    """Both calibrations as text."""
    rows = [("published time", "GPU", "published", "at 100 % of the peak", "share implied")]
    for one in published():
        rows.append((one.id, one.gpu or "8 to 64 A100", one.published, one.floor, _percent(one.shares)))
    text = [_table(rows), ""]
    text += [f"  {one.id}: {one.source}. {one.note[:1].upper()}{one.note[1:]}." for one in published()]
    for kind in ("sampling", "training"):
        text.append(f"{kind}: plans take {_percent(rates()['gpu'][kind])} of the dense bf16 peak")
    if not RECORD.is_dir():
        return "\n".join([*text, "", "The lab's own seconds: no committed record here (a checkout has it)."])
    rows = [("the lab, 2 cores", "kind", "seconds", "GFLOP/s a core")]
    rows += [(one.id, one.kind, f"{one.seconds:,.0f}", f"{one.rate:.1f}") for one in measured()]
    text += ["", _table(rows), ""]
    for kind in ("sampling", "training"):
        low, high = rates()["cpu"][kind]
        least, most = percentiles(measured(), kind)
        text.append(
            f"{kind}: 10th to 90th percentile {least:.1f} to {most:.1f}, plans take {low:g} to {high:g} GFLOP/s a core"
        )
    low, high = rates()["cpu"]["training"]
    rows = [("held out, training", "", "seconds", "planned")]
    for one in held_out():
        planned = f"{one.seconds * one.rate / high:,.0f} to {one.seconds * one.rate / low:,.0f}"
        rows.append((one.id, "", f"{one.seconds:,.0f}", planned))
    return "\n".join([*text, "", _table(rows)])


def _trained(name: str, recipe: Recipe, seconds: Any, network: Network) -> Measured:
    """``seconds``: of the updates, grouped by stage (pandas)."""
    scale, spent = load_scale("lab"), seconds.sum()
    operations, parts = 0.0, []
    for stage in recipe.stages:
        roles = update_calls(recipe, stage).together(stage.critic_updates)
        each = sum(operations_of(c, network, role == "teacher" and guided(scale), False) for role, c in roles.items())
        operations += stage.updates * stage.batch * each
        parts += [stage.batch * each / one / GIGA / CORES for one in seconds.get_group(stage.name)]
    whole = float(spent.sum())
    return Measured(name, "training", whole, operations / whole / GIGA / CORES, tuple(parts))


def _readings(entry: dict[str, Any]) -> list[Network]:
    model = recorded_model(entry["model"])
    return [of_model(model, *sizes, frames) for sizes in entry["sizes"] for frames in entry["frames"]]


def _distillation(entry: dict[str, Any], network: Network) -> float:
    """Operations of a whole DMD2 training: a fake score's update each time, the student's every few."""
    sample = Calls(forward=(entry["steps"] - 1) / 2, trained=1)
    one = Calls(forward=1)
    update = Update(
        {"student": sample, "fake": one, "teacher": one},
        {"student": Calls(forward=sample.forward + 1), "fake": Calls(trained=1)},
    )
    total = sum(
        times * operations_of(calls, network, role == "teacher", recomputed=True)
        for part, times in ((update.critic, 1.0), (update.student, 1 / entry["student_every"]))
        for role, calls in part.items()
    )
    return entry["updates"] * entry["batch"] * total


def _share(entry: dict[str, Any], kind: str, printed: str, floor: str, shares: tuple[float, float]) -> Share:
    return Share(entry["id"], kind, entry["gpu"], printed, floor, shares, entry["source"], entry["note"])


def _both(values: list[float], unit: str) -> str:
    low, high = (f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" for value in (min(values), max(values)))
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"


def _percent(shares: Iterable[float]) -> str:
    low, high = (f"{100 * share:.0f}" for share in shares)
    return f"{low} %" if low == high else f"{low} to {high} %"


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([shown[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *shown[1:]])
