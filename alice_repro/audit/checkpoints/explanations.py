"""Deterministic changes: does one formula give every value of b from a, to the last bit that b's dtype can hold?

Each explanation is fitted on a sample of whole rows and then counted on the whole tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from alice_repro.audit.checkpoints.grids import Grid, find_grid
from alice_repro.audit.checkpoints.precision import CASTS, DOUBLE_CASTS, FORMATS, cast, grain, spacing, stored

if TYPE_CHECKING:
    import torch

# Half a spacing is what rounding to the nearest may leave; the rest is for the fitted factor's own error. A whole
# spacing would let a step up or down pass, which is all that small noise leaves in bf16.
NEAREST = 0.52
FULL = 0.999  # share of a sample that an explanation must give exactly; the rest may be edits and is counted
LEVELS = 8  # different values that a tensor must have for its rounding to fp8 to say anything
APART = 8  # values that differ after a cast; so few or fewer agree with a fitted factor by chance (2^-8)
FEW = 1 << 14  # values that are tried first;
BOTH = "rounding of both"
SAME = 1e-4  # from 1: a factor that is none; what then differs is how the same values were rounded
HOPEFUL = 0.95  # an explanation that gives fewer of them is not tried on the rest
Match = Callable[["torch.Tensor", "torch.Tensor", Sequence["torch.Tensor"]], "torch.Tensor"]


@dataclass(frozen=True)
class Explanation:
    """A formula for b. kind: one of identical, cast, scaled, quantised, pruned, interpolated; detail: in words.

    reverse: it gives a from b: B holds the finer values. matches(a, b, anchors): where it holds, for whole rows;
    predict(a, anchors): its values, None where it has none of its own (quantised).
    """

    kind: str
    detail: str
    share: float
    matches: Match = field(repr=False)
    predict: Callable | None = field(default=None, repr=False)
    reverse: bool = False
    numbers: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Rows:
    """Sampled whole rows of a pair, float64, (rows, n). a_grain, b_grain: the dtypes that their values really need."""

    a: torch.Tensor
    b: torch.Tensor
    anchors: tuple[torch.Tensor, ...]
    a_grain: str
    b_grain: str


def grains(a: torch.Tensor, b: torch.Tensor, a_dtype: str, b_dtype: str) -> tuple[str, str]:
    """The coarsest dtypes that hold the values of a and of b; equal values need none looked for."""
    if a_dtype == b_dtype and bool((a == b).all()):
        return (stored(a_dtype),) * 2
    return grain(a, a_dtype), grain(b, b_dtype)


def candidates(rows: Rows) -> Iterator[Explanation]:
    """Explanations with the share of the sample that they give, from simple to elaborate."""
    a, b, anchors = rows.a, rows.b, rows.anchors

    def found(kind: str, detail: str, matches: Match, predict=None, reverse: bool = False, **numbers) -> Explanation:
        x, y = (b, a) if reverse else (a, b)
        few = max(1, FEW // a.shape[1])
        share = float(matches(x[:few], y[:few], [c[:few] for c in anchors]).double().mean())
        if share >= HOPEFUL and few < len(a):
            share = float(matches(x, y, anchors).double().mean())
        return Explanation(kind, detail, share, matches, predict, reverse, numbers)

    yield found("identical", "bit-identical", lambda a, b, _: a == b, lambda a, _: a)
    if bool((a == b).all()):
        return
    for reverse in (False, True):
        source, target = (rows.b_grain, rows.a_grain) if reverse else (rows.a_grain, rows.b_grain)
        kept = a if reverse else b
        telling = len(kept.unique()) >= LEVELS  # a constant is the fp8 rounding of anything near it
        for dtype in CASTS:
            if _coarser(dtype, source) and not _coarser(target, dtype) and (telling or FORMATS[dtype].bits > 3):
                yield found("cast", f"cast to {FORMATS[dtype].label}", _cast_matches(dtype),
                            lambda a, _, dtype=dtype: cast(a, dtype), reverse, dtype=dtype)  # fmt: skip
        for first, last in DOUBLE_CASTS:
            fits = telling and _coarser(first, source) and _coarser(last, source)
            if fits and bool((cast(kept, last) == kept).all()):
                twice = partial(_cast_twice, first, last)
                yield found("cast", f"cast to {FORMATS[first].label}, then to {FORMATS[last].label}",
                            lambda a, b, _, twice=twice: twice(a) == b, lambda a, _, twice=twice: twice(a),
                            reverse, dtype=last)  # fmt: skip
    zeros = (b == 0) & (a != 0)
    if float(zeros.double().mean()) > 0.005:
        c = float((a * b).sum()) / max(float((a * a)[b != 0].sum()), 1e-300)
        for dtype in ("", rows.b_grain):
            yield found("pruned", "values set to 0, the others equal", _pruned_matches(dtype), None, dtype=dtype)
        yield found("pruned", f"values set to 0, the others scaled by {c:.4g}",
                    lambda a, b, _: (b == 0) | _near(b, c * a, rows.b_grain), None, dtype=rows.b_grain)  # fmt: skip
    apart = int((cast(a, rows.b_grain) != b).sum())
    for reverse in (False, True) if apart >= APART else ():
        source, target, dtype = (b, a, rows.a_grain) if reverse else (a, b, rows.b_grain)
        yield from (found(*one[:4], reverse, **one[4]) for one in _scalings(source, target, dtype))
    if anchors and apart >= APART:
        weights = fit_weights(rows)
        yield found("interpolated", weights_text(weights), _interpolation_matches(weights, rows.b_grain),
                    lambda a, anchors: _mix(weights, a, anchors), weights=weights)  # fmt: skip
    if a.shape[0] * a.shape[1] >= 256:
        for reverse in (False, True):
            source, target, dtype = (b, a, rows.a_grain) if reverse else (a, b, rows.b_grain)
            grid = find_grid(target, source, dtype)
            if grid:
                nearest = partial(_grid_matches, grid, dtype)
                yield found("quantised", f"rounded to {grid.label}, and back", nearest, None, reverse)
                yield Explanation("stored", grid.label, 0.0, lambda a, b, _: a == b, None, reverse, {"grid": grid})


def bases(rows: Rows) -> Iterator[Explanation]:
    """Formulas with values of their own, to be taken away from b before what is left is looked at."""
    for dtype in CASTS:
        if _coarser(dtype, rows.a_grain) and not _coarser(rows.b_grain, dtype):
            yield Explanation("cast", f"cast to {FORMATS[dtype].label}", 0.0, _cast_matches(dtype),
                              lambda a, _, dtype=dtype: cast(a, dtype))  # fmt: skip
    for kind, detail, matches, predict, numbers in _scalings(rows.a, rows.b, rows.b_grain):
        if predict:
            yield Explanation(kind, detail, 0.0, matches, predict, False, numbers)
    if rows.anchors:
        weights = fit_weights(rows)
        yield Explanation("interpolated", weights_text(weights), 0.0, _interpolation_matches(weights, rows.b_grain),
                          lambda a, anchors: _mix(weights, a, anchors), numbers={"weights": weights})  # fmt: skip


def fit_weights(rows: Rows) -> tuple[float, ...]:
    """Least squares of b on a and the anchors, (1 + anchors,): differences to a first, which keeps small ones exact."""
    import torch

    columns = torch.stack([rows.a.flatten(), *((c - rows.a).flatten() for c in rows.anchors)], 1)
    solution = torch.linalg.lstsq(columns, (rows.b - rows.a).flatten()[:, None], driver="gelsd").solution.flatten()
    others = [float(w) for w in solution[1:]]
    return (1.0 + float(solution[0]) - sum(others), *others)


def weights_text(weights: Sequence[float]) -> str:
    """Weights in words: of A, then of each other checkpoint given."""
    names = ["A", *(f"C{i}" if len(weights) > 2 else "C" for i in range(1, len(weights)))]
    return " + ".join(f"{w:.4g} {name}" for w, name in zip(weights, names, strict=True))


def _coarser(dtype: str, other: str) -> bool:
    """Whether casting from `other` to `dtype` can lose anything."""
    return FORMATS[dtype].bits < FORMATS[other].bits or FORMATS[dtype].smallest > FORMATS[other].smallest


def _cast_matches(dtype: str) -> Match:
    return lambda a, b, _: cast(a, dtype) == b


def _cast_twice(first: str, last: str, a: torch.Tensor) -> torch.Tensor:
    return cast(cast(a, first), last)


def _pruned_matches(dtype: str) -> Match:
    return lambda a, b, _: (b == 0) | (b == (cast(a, dtype) if dtype else a))


def _grid_matches(grid: Grid, dtype: str, a: torch.Tensor, b: torch.Tensor, _: Sequence[torch.Tensor]) -> torch.Tensor:
    return grid.nearest(a, b, dtype)


def _near(b: torch.Tensor, predicted: torch.Tensor, dtype: str, slack: float = 0.0) -> torch.Tensor:
    """Whether b is `predicted` rounded to the dtype; in fp32 two or three roundings on the way are forgiven."""
    spacings = 2.0 if FORMATS[dtype].bits >= 23 else NEAREST
    return (b - predicted).abs() <= (spacings + slack) * spacing(b, dtype)


def _scalings(a: torch.Tensor, b: torch.Tensor, dtype: str) -> Iterator[tuple]:
    """One factor for the tensor, one a row, one a column: (kind, detail, matches, predict, numbers)."""
    energy = float((a * a).sum())
    if energy == 0 or not bool(b.any()):  # 0 is no scaled copy
        return
    if FORMATS[dtype].bits <= 3 and len(b.unique()) < LEVELS:
        return
    c = float((a * b).sum()) / energy
    if abs(c - 1) < SAME:
        yield ("cast", BOTH, lambda a, b, _: _near(b, a, dtype), None, {"dtype": dtype})
    yield ("scaled", f"scaled by {c:.6g}", lambda a, b, _: _near(b, c * a, dtype), lambda a, _: c * a,
           {"factor": c, "dtype": dtype})  # fmt: skip

    def by_row(a, b, _):
        factors = (a * b).sum(1, keepdim=True) / (a * a).sum(1, keepdim=True).clamp(min=1e-300)
        return _near(b, factors * a, dtype, 1.2 / a.shape[1] ** 0.5)

    if a.shape[1] >= 8 and a.shape[0] > 1:
        own = (a * b).sum(1, keepdim=True) / (a * a).sum(1, keepdim=True).clamp(min=1e-300)
        yield "scaled", "each row scaled by a factor of its own", by_row, lambda a, _: own * a, {"dtype": dtype}
    if a.shape[0] >= 16 and a.shape[1] > 1:
        factors = (a * b).sum(0) / (a * a).sum(0).clamp(min=1e-300)
        slack = 1.2 / a.shape[0] ** 0.5
        by_column = lambda a, b, _: _near(b, factors * a, dtype, slack)  # noqa: E731
        yield (
            "scaled",
            "each column scaled by a factor of its own",
            by_column,
            lambda a, _: factors * a,
            {"dtype": dtype},
        )


def _mix(weights: Sequence[float], a: torch.Tensor, anchors: Sequence[torch.Tensor]) -> torch.Tensor:
    return sum((w * c for w, c in zip(weights[1:], anchors, strict=True)), weights[0] * a)


def _interpolation_matches(weights: Sequence[float], dtype: str) -> Match:
    def matches(a, b, anchors):
        sizes = sum((abs(w) * c.abs() for w, c in zip(weights[1:], anchors, strict=True)), abs(weights[0]) * a.abs())
        # The parts may each have been rounded to fp32, and to b's dtype, before they were added.
        parts = sizes * (2.0**-22) if FORMATS[dtype].bits >= 23 else sizes * 2.0 ** -(FORMATS[dtype].bits + 1)
        return (b - _mix(weights, a, anchors)).abs() <= NEAREST * spacing(b, dtype) + parts

    return matches
