"""The figures of a comparison: endpoint along the training, and losses and gradient norms of each method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alice_repro.config import UNTRAINED
from alice_repro.reporting.arms import ENDPOINT
from alice_repro.reporting.comparison import Methods
from alice_repro.reporting.figures import COLOURS, styled
from alice_repro.reporting.ledger import Run, read_curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, then the same again with broken lines.
_TONES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_LINES = ("-", "--", ":")
_LOSS, _NORM = ("_loss",), ("_gradient", "_gradient_at_sample")


def endpoint_curves(methods: Methods) -> Figure:
    """Correct and sound clips at each checkpoint, a panel a teacher: the mean of an arm's runs, and each run thinly."""
    from matplotlib.figure import Figure

    with styled():
        figure = Figure(figsize=(4.6 * len(methods.teachers), 3.4), layout="constrained")
        panels = figure.subplots(1, len(methods.teachers), squeeze=False, sharey=True)[0]
        for axes, teacher in zip(panels, methods.teachers, strict=True):
            for number, arm in enumerate(methods.arms(teacher)):
                tone, line = _TONES[number % len(_TONES)], _LINES[number // len(_TONES) % len(_LINES)]
                steps = methods.checkpoints(teacher, arm)
                runs = [methods.scores(teacher, arm, at).groupby("run")[ENDPOINT].mean() * 100 for at in steps]
                for run in runs[0].index:
                    axes.plot(steps, [values[run] for values in runs], color=tone, linewidth=0.5, alpha=0.35)
                axes.plot(steps, [v.mean() for v in runs], color=tone, linestyle=line, marker="o", ms=3, label=arm)
            for arm in (arm for arm in UNTRAINED if methods.has(teacher, arm)):
                level = 100 * methods.scores(teacher, arm)[ENDPOINT].mean()
                axes.axhline(level, color=COLOURS[arm], linewidth=0.8, linestyle="-.")
                axes.annotate(arm, (1, level), xycoords=("axes fraction", "data"), fontsize=6, ha="right", va="bottom")
            axes.set(title=f"{teacher} teacher", xlabel="student updates")
        panels[0].set_ylabel("correct and sound, %")
        panels[-1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
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
            for axes, endings in zip(row, (_LOSS, _NORM), strict=True):
                names = [name for name in curve if name.endswith(endings)]
                for name in names:
                    shown = curve[["update", name]].dropna()
                    median = shown[name].rolling(max(1, len(curve) // 20), center=True, min_periods=1).median()
                    tone = _TONES[terms.index(_term(name))]
                    axes.plot(shown["update"], median, color=tone, label=_term(name), linewidth=0.9)
                if names and not (curve[names] <= 0).any(axis=None):
                    axes.set_yscale("log")
            row[0].set_ylabel(arm)
            row[0].legend(loc="center right", bbox_to_anchor=(-0.22, 0.5), fontsize=6)
        panels[0][0].set_title("loss")
        panels[0][1].set_title("gradient norm, weighted terms")
        for axes in panels[-1]:
            axes.set_xlabel("student update")
    return figure


def _term(name: str) -> str:
    """The term that a column of a curve is of; "" for other columns."""
    ending = next((ending for ending in (*_LOSS, *_NORM) if name.endswith(ending)), None)
    return name.removesuffix(ending) if ending else ""
