"""The figures of a comparison: endpoint along the training, and losses and gradient norms of each method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alice_repro.config import UNTRAINED
from alice_repro.reporting.arms import ENDPOINT
from alice_repro.reporting.comparison import Methods
from alice_repro.reporting.figures import COLOURS, styled
from alice_repro.reporting.ledger import Run, read_curve

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, then the same again with broken lines.
_TONES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_LINES = ("-", "--", ":")
_DECADE = 10.0  # a narrower range is easier to read without logarithms
_LOSS, _NORM = ("_loss",), ("_gradient", "_gradient_at_sample")


def endpoint_curves(methods: Methods) -> Figure:
    """Correct and sound clips at each checkpoint, a column a teacher: the mean of an arm's runs, and each run thinly.

    The first row has one arm of every recipe; below, a row for each recipe that has several.
    """
    from matplotlib.figure import Figure

    rows = _rows(methods)
    with styled():
        figure = Figure(figsize=(4.8 * len(methods.teachers), 3.2 * len(rows)), layout="constrained")
        panels = figure.subplots(len(rows), len(methods.teachers), squeeze=False, sharex=True, sharey=True)
        for row, arms in zip(panels, rows, strict=True):
            for axes, teacher in zip(row, methods.teachers, strict=True):
                for number, arm in enumerate(arms):
                    _draw_arm(axes, methods, teacher, arm, number)
            row[0].set_ylabel("correct and sound, %")
            handles = {
                label: line for axes in row for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
            }
            row[-1].legend(handles.values(), handles, loc="center left", bbox_to_anchor=(1.22, 0.5))
        for axes, teacher in zip(panels.T, methods.teachers, strict=True):
            axes[0].set_title(f"{teacher} teacher")
            axes[-1].set_xlabel("student updates")
            for each in axes:
                _draw_untrained(each, methods, teacher)
    return figure


def training_curves(methods: Methods, teacher: str) -> Figure:
    """Losses and gradient norms of the first run of every arm, a row an arm, as running medians."""
    from matplotlib.figure import Figure

    arms = methods.arms(teacher)
    with styled():
        figure = Figure(figsize=(7.2, 1.5 * len(arms)), layout="constrained")
        panels = figure.subplots(len(arms), 2, squeeze=False, sharex=True)
        for row, arm in zip(panels, arms, strict=True):
            curve = read_curve(methods.ledger, Run(teacher, arm, methods.of(teacher, arm)[0]["seed"]))
            terms = list(dict.fromkeys(_term(name) for name in curve if _term(name)))
            drawn = {}
            for axes, endings in zip(row, (_LOSS, _NORM), strict=True):
                names = [name for name in curve if name.endswith(endings)]
                medians = [_running_median(curve, name) for name in names]
                for name, median in zip(names, medians, strict=True):
                    term = _term(name)
                    tone = _TONES[terms.index(term)]
                    (drawn[term],) = axes.plot(median.index, median, color=tone, linewidth=0.9)
                low = min((median.min() for median in medians), default=0.0)
                if low > 0 and max(median.max() for median in medians) > _DECADE * low:
                    axes.set_yscale("log")
            row[0].set_ylabel(arm)
            row[-1].legend(drawn.values(), drawn, loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=6)
        figure.align_ylabels(panels[:, 0])
        panels[0][0].set_title("loss")
        panels[0][1].set_title("gradient norm, weighted terms")
        for axes in panels[-1]:
            axes.set_xlabel("student update")
    return figure


def _rows(methods: Methods) -> list[list[str]]:
    """The first arm of each recipe, then all arms of each recipe that has several, as far as there are runs."""
    recipes: dict[str, list[str]] = {}
    for arm in methods.comparison.arms:
        entry = next((methods.of(teacher, arm)[0] for teacher in methods.teachers if methods.has(teacher, arm)), None)
        if entry:
            recipes.setdefault(entry["config"]["recipe"]["name"], []).append(arm)
    return [[arms[0] for arms in recipes.values()], *(arms for arms in recipes.values() if len(arms) > 1)]


def _draw_arm(axes: Axes, methods: Methods, teacher: str, arm: str, number: int) -> None:
    if not methods.has(teacher, arm):
        return
    tone, line = _TONES[number % len(_TONES)], _LINES[number // len(_TONES) % len(_LINES)]
    steps = methods.checkpoints(teacher, arm)
    runs = [methods.scores(teacher, arm, at).groupby("run")[ENDPOINT].mean() * 100 for at in steps]
    for run in runs[0].index:
        axes.plot(steps, [values[run] for values in runs], color=tone, linewidth=0.5, alpha=0.35)
    axes.plot(steps, [values.mean() for values in runs], color=tone, linestyle=line, marker="o", ms=3, label=arm)


def _draw_untrained(axes: Axes, methods: Methods, teacher: str) -> None:
    """A line for each arm without training, named at the right; names that would meet are moved apart."""
    found = {arm: methods.mean(teacher, arm, ENDPOINT) for arm in UNTRAINED if methods.has(teacher, arm)}
    low, high = axes.get_ylim()
    free = low
    for arm, level in sorted(found.items(), key=lambda item: item[1]):
        axes.axhline(level, color=COLOURS[arm], linewidth=0.8, linestyle="-.")
        place = max(level, free)
        free = place + 0.045 * (high - low)
        axes.annotate(f"{arm} {level:.1f}", (1.01, place), xycoords=("axes fraction", "data"), fontsize=6, va="center")


def _running_median(curve: pd.DataFrame, name: str) -> pd.Series:
    """A column of a training log by update, over a twentieth of the training."""
    shown = curve.set_index("update")[name].dropna()
    return shown.rolling(max(1, len(curve) // 20), center=True, min_periods=1).median()


def _term(name: str) -> str:
    """The term that a column of a curve is of; "" for other columns."""
    ending = next((ending for ending in (*_LOSS, *_NORM) if name.endswith(ending)), None)
    return name.removesuffix(ending) if ending else ""
