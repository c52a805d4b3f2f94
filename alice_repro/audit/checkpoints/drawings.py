"""Figures of a comparison, as SVG: change by depth and kind of tensor, histogram of changes, spectra of differences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from alice_repro.audit.checkpoints.matching import block_of, kind_of
from alice_repro.reporting.figures import image_bytes, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from alice_repro.audit.checkpoints.measures import Evidence

SPECTRA = 6
_SMALLEST = 1e-7  # relative changes below are drawn there: a float32 keeps no smaller one
_SEEN, _NULL = "#d55e00", "#8c8c8c"


def by_depth(evidence: Sequence[Evidence]) -> str:
    """Relative change of every tensor in a block: kinds down, blocks across; "" without blocks.

    Equal tensors are white; those that A has no value to compare with (all zeros) are hatched out.
    """
    stack = _deepest(evidence)
    if stack is None:
        return ""
    cells = {(kind_of(e.name), block_of(e.name)[1]): e for e in evidence if (block_of(e.name) or [None])[0] == stack}
    kinds = sorted({kind for kind, _ in cells})
    blocks = sorted({block for _, block in cells})
    table = np.full((len(kinds), len(blocks)), np.nan)
    for (kind, block), one in cells.items():
        if one.relative:
            table[kinds.index(kind), blocks.index(block)] = np.log10(max(one.relative, _SMALLEST))
    import matplotlib.pyplot as plt

    with styled():
        figure, axes = plt.subplots(figsize=(7.6, 0.9 + 0.17 * len(kinds)))
        low, high = _range(table)
        image = axes.imshow(table, aspect="auto", cmap="viridis_r", vmin=low, vmax=high, interpolation="nearest")
        axes.set_yticks(range(len(kinds)), kinds, fontsize=7)
        step = max(1, len(blocks) // 20)
        axes.set_xticks(range(0, len(blocks), step), blocks[::step])
        axes.set_xlabel(f"number in {stack}; white: equal")
        axes.set_title("Relative change |b - a| / |a|")
        bar = figure.colorbar(image, ax=axes, pad=0.02)
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{10**value:.1e}")
        bar.ax.tick_params(labelsize=7)
    return _svg(figure)


def histogram(evidence: Sequence[Evidence]) -> str:
    """Relative changes of matrices and of vectors, each weighted alike; equal tensors are counted in the title."""
    import matplotlib.pyplot as plt

    changed = {"matrices": _changes(evidence, True), "vectors": _changes(evidence, False)}
    values = np.concatenate([np.asarray(found, dtype=float) for found in changed.values()])
    equal = sum(e.relative == 0 for e in evidence)
    if not len(values):
        return ""
    low, high = np.floor(values.min() * 4) / 4, np.ceil(values.max() * 4) / 4
    edges = np.arange(low, max(high, low + 0.5) + 0.01, max(0.05, (high - low) / 40))
    with styled():
        figure, axes = plt.subplots(figsize=(7.6, 2.2))
        axes.hist(list(changed.values()), edges, stacked=True, color=("#0072b2", "#56b4e9"), label=list(changed))
        axes.set_xlabel("relative change |b - a| / |a|")
        axes.set_ylabel("tensors")
        axes.xaxis.set_major_formatter(lambda value, _: f"{10**value:.1e}")
        axes.set_title(f"{len(values)} tensors that changed; {equal} are equal")
        axes.legend()
    return _svg(figure)


def spectra(evidence: Sequence[Evidence]) -> str:
    """Singular values of a few differences against those of the same differences under random signs; "" if none."""
    chosen = chosen_spectra(evidence)
    if not chosen:
        return ""
    import matplotlib.pyplot as plt

    columns = min(3, len(chosen))
    rows = -(-len(chosen) // columns)
    with styled():
        figure, grid = plt.subplots(rows, columns, figsize=(7.6, 2.1 * rows), squeeze=False)
        for axes, one in zip(grid.flat, chosen, strict=False):
            axes.plot(np.arange(1, len(one.values) + 1), one.values, color=_SEEN, label="difference")
            axes.plot(
                np.arange(1, len(one.null) + 1),
                one.null,
                color=_NULL,
                linestyle="--",
                label="its bulk under random signs",
            )
            axes.set_xscale("log")
            axes.set_ylim(bottom=0)
            axes.set_title(_short(one.name), fontsize=7.5)
            axes.tick_params(labelsize=7)
        for axes in list(grid.flat)[len(chosen) :]:
            axes.set_axis_off()
        grid[0][0].legend(fontsize=7)
        for axes in grid[-1]:
            axes.set_xlabel("number of the singular value")
        figure.tight_layout()
    return _svg(figure)


def chosen_spectra(evidence: Sequence[Evidence]) -> list[Evidence]:
    """The tensors whose spectra are drawn: of each kind the one in the middle of the depth, largest kinds first."""
    by_kind: dict[str, list[Evidence]] = {}
    for one in evidence:
        if one.values and one.null:
            by_kind.setdefault(kind_of(one.name), []).append(one)
    kinds = sorted(by_kind.values(), key=lambda found: (-len(found), -sum(e.size for e in found)))
    return [found[len(found) // 2] for found in kinds[:SPECTRA]]


def _changes(evidence: Iterable[Evidence], matrices: bool) -> list[float]:
    return [np.log10(max(e.relative, _SMALLEST)) for e in evidence if e.relative and e.matrix == matrices]


def _deepest(evidence: Sequence[Evidence]) -> str | None:
    """The stack with the most tensors: "blocks"."""
    stacks = [block[0] for block in map(block_of, (e.name for e in evidence)) if block]
    return max(sorted(set(stacks)), key=stacks.count) if stacks else None


def _range(table: np.ndarray) -> tuple[float, float]:
    if np.isnan(table).all():
        return -1.0, 0.0
    low, high = float(np.nanmin(table)), float(np.nanmax(table))
    return (low, high) if high - low > 0.2 else (low - 0.1, high + 0.1)


def _short(name: str) -> str:
    return name.removesuffix(".weight")


def _svg(figure: Figure) -> str:
    import matplotlib.pyplot as plt

    text = image_bytes(figure, "svg").decode()
    plt.close(figure)
    return text[text.index("<svg") :]
