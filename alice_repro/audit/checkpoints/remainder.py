"""What is left of b when the nearest formula is taken away, and what that is like: white, low-rank, structured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from alice_repro.audit.checkpoints.explanations import FULL, NEAREST, Explanation, Rows, bases
from alice_repro.audit.checkpoints.masks import kept
from alice_repro.audit.checkpoints.precision import FORMATS, cast, rounding_energy, spacing
from alice_repro.audit.checkpoints.whiteness import inner, spectrum, whiteness

if TYPE_CHECKING:
    import torch

SPECTRUM_SIDE = 256
SMALLEST_SIDE = 16  # a matrix narrower than this says nothing about structure
SMALLEST_SPECTRUM = 24
KEEPS = 0.75  # a formula becomes the base if it leaves at most this share of the energy of b - a; half of that, if
# it has a factor for each row or column
GAUSSIAN = 1.2533  # deviation of a normal variable over its mean magnitude: sqrt(pi / 2)
BOUNDARY = 0.75  # spacings between the fine value and the stored one: half a one if it moved before the cast
ROUNDS = 30  # at most, of the outliers and of what lies under them, each without the other;
SETTLED = 1e-7  # relative change of what lies under them that ends it
TRACE = 6.0  # standard errors from which on the residual has something in common with a


def remainder(whole: Rows, rows: Rows, options: Sequence[Explanation], rng: Any) -> dict[str, Any]:
    """What is left of b when the best formula is taken away, and whether that is white."""
    energy_a, found = float((rows.a * rows.a).sum()), {}
    size = rows.a.numel()
    masked = kept(rows.a, rows.b)
    if masked:
        found |= {"zeroed_what": masked[0], "zeroed_share": 1 - float(masked[1].double().mean())}
        rows = replace(rows, a=rows.a * masked[1])
    a, b = rows.a, rows.b
    base, weights, rest = _residual(rows)
    factor = float((a * b).sum()) / (float((a * a).sum()) or 1.0)
    if base == "a" or base.startswith("scaled by"):
        beneath = _beneath(rest.numpy(), a.numpy(), rng, fitted=base != "a")
        if beneath:
            factor = beneath + (1.0 if base == "a" else factor)
            base, rest = f"scaled by {factor:.6g}", rest - beneath * a
    found |= {"base": base, "base_weights": tuple(weights)}
    energy = float((rest * rest).sum())
    found["changed"] = float((rest != 0).double().mean())
    if energy_a > 0:
        found["factor"], found["residual"] = factor, (energy / energy_a) ** 0.5
        found["factor_error"] = (float(((b - factor * a) ** 2).sum()) / energy_a / max(size - 1, 1)) ** 0.5
        found["rounding"] = _rounding(whole, options, found) ** 0.5
        if FORMATS[rows.a_grain].bits < 23:
            some = a[::4]
            found["rounding_a"] = (rounding_energy(some, rows.a_grain) / float((some * some).sum() or 1.0)) ** 0.5
            found["bounded"] = base != "a" and _bounded(rows, weights or (factor,), rest, base.startswith("each"))
        spread, found["thinned"] = _spread(rows, base, rest, found["changed"])
        found["spread"] = spread / (energy_a / size) ** 0.5
    if min(a.shape) < SMALLEST_SIDE or energy == 0:
        return found
    if not any(one.kind == "stored" for one in options):
        found["repeats_z"] = repeats(b, b - rest, rows.b_grain)
    d, x, y = (t.numpy() for t in (rest, a, b))
    found["related_z"] = related(x, y)
    white = whiteness(d)
    # A factor too small to be the base leaves a trace of a, which is structured: the whiter of the two counts.
    common = inner(d, x) / max(inner(x, x), 1e-300)
    if _traced(common, x, d):
        without = d - common * x
        other = whiteness(without)
        if abs(other.z) < abs(white.z) / 2:
            white, d = other, without
    found |= {"z": white.z, "share": white.share, "needed": white.needed, "rectangles": white.rectangles}
    full = d[np.abs(d).max(1) > 0][:, np.abs(d).max(0) > 0]  # rows without a change say nothing of its rank
    small = full[:: max(1, len(full) // SPECTRUM_SIDE)][:SPECTRUM_SIDE, :SPECTRUM_SIDE]
    if min(small.shape) >= SMALLEST_SPECTRUM and (small != 0).any():
        made = 0.0 if found.get("thinned") else (found.get("rounding", 0.0) ** 2 + found.get("rounding_a", 0.0) ** 2)
        seen = spectrum(small, rng, made * energy_a / size)
        found |= {"outliers": seen.outliers, "rank": seen.rank, "gap": seen.gap, "floor": seen.floor, "bulk": seen.bulk}
        found |= {"remainder_z": seen.remainder_z, "side": min(small.shape), "exact": seen.exact}
        found |= {"values": tuple(map(float, seen.values)), "null": tuple(map(float, seen.null))}
    return found


def _bounded(rows: Rows, weights: Sequence[float], rest: torch.Tensor, each: bool) -> bool:
    """Whether b is a weighted sum of finer values than a's (and the anchors'), all of which were rounded since."""
    bound = spacing(rows.b, rows.b_grain)
    for weight, values in zip(weights, (rows.a, *rows.anchors), strict=False):
        bound = bound + abs(weight) * spacing(values, rows.a_grain)
    fitted = 1.2 / rest.shape[1] ** 0.5 if each else 0.0  # error of a factor that was fitted to a row
    return bool((rest.abs() <= (NEAREST + fitted) * bound).double().mean() >= FULL)


def _spread(rows: Rows, base: str, rest: torch.Tensor, changed: float) -> tuple[float, bool]:
    """Deviation of what was added, and whether it shows in few values only because the others were rounded back.

    After a cast, what was added before it moves the values near a boundary: by a spacing, as often as the mean of its
    magnitude has it. What was added to values on the grid moves those alone that it takes half a spacing away.
    """
    deviation = float((rest * rest).mean()) ** 0.5
    if changed >= 0.5 or FORMATS[rows.b_grain].bits >= 23:
        return deviation, False
    moved = rest != 0
    if rows.a_grain == rows.b_grain or (
        base.startswith("cast")
        and float(((rows.b - rows.a).abs() / spacing(rows.b, rows.b_grain))[moved].median()) > BOUNDARY
    ):
        return _thinned(rows.b, rows.b_grain, changed), True
    if base.startswith("cast"):
        return float(rest.abs().mean()) * GAUSSIAN, True
    return deviation, False


def _thinned(b: torch.Tensor, dtype: str, changed: float) -> float:
    """Deviation of the Gaussian noise that would have moved this share of values, all of which lay on b's grid before.

    A value moves if its noise is more than half a spacing: sum of P(|noise| > spacing / 2) over the values.
    """
    import torch

    half = spacing(b, dtype)[b != 0].flatten() / 2
    if not len(half) or changed <= 0:
        return 0.0
    low, high = float(half.min()) / 10, float(half.max()) * 10
    for _ in range(40):
        middle = (low * high) ** 0.5
        share = float(torch.special.erfc(half / (middle * 2**0.5)).mean())
        low, high = (middle, high) if share < changed else (low, middle)
    return low


def _residual(rows: Rows) -> tuple[str, Sequence[float], torch.Tensor]:
    """The formula nearest to b, its weights if it is a mixture, and b minus it; it must take a good part of b - a."""
    rest = rows.b - rows.a
    name, weights, energy = "a", (), float((rest * rest).sum())
    for one in bases(rows):
        other = rows.b - one.predict(rows.a, rows.anchors)
        left = float((other * other).sum())
        if left < (KEEPS if "each" not in one.detail else KEEPS / 2) * energy:
            name, weights, rest, energy = one.detail, one.numbers.get("weights", ()), other, left
    return name, weights, rest


def _beneath(d: np.ndarray, x: np.ndarray, rng: Any, fitted: bool) -> float:
    """How much of x (rows, n) is in d under what stands out of d; 0.0 unless it is most of what lies there.

    A merged product of low rank hides that everything was scaled too. Both are cut to the space beside the outliers,
    where noise that is independent of x would have nothing in common with it. fitted: d was made free of x already, by
    least squares, which a product that has something in common with x leads astray.
    """
    common = inner(d, x) / max(inner(x, x), 1e-300)
    if min(d.shape) < SMALLEST_SPECTRUM or not (fitted or _traced(common, x, d)):
        return 0.0
    every = max(1, len(d) // SPECTRUM_SIDE)
    d, x = (m[::every][:SPECTRUM_SIDE, :SPECTRUM_SIDE] for m in (d, x))
    count = spectrum(d, rng).outliers
    if count == 0 or count > min(d.shape) // 2:
        return 0.0
    share = 0.0
    for _ in range(ROUNDS):
        before = share
        left, _, right = np.linalg.svd(d - share * x, full_matrices=False)
        left, right = left[:, :count], right[:count]
        under, same = (m - left @ (left.T @ m) for m in (d, x))
        under, same = (m - (m @ right.T) @ right for m in (under, same))
        share = float(inner(under, same) / max(inner(same, same), 1e-300))
        if abs(share - before) <= SETTLED * abs(share):
            break
    remains = np.square(under - share * same).sum()
    return share if _traced(share, same, under) and remains < (1 - KEEPS) * np.square(under).sum() else 0.0


def _traced(share: float, x: np.ndarray, d: np.ndarray) -> bool:
    """Whether d has more of x than chance would give it, `share` by least squares."""
    return abs(share) * (inner(x, x) * d.size) ** 0.5 > TRACE * inner(d, d) ** 0.5


def _rounding(rows: Rows, options: Sequence[Explanation], found: dict[str, Any]) -> float:
    """Energy that storing b makes of itself over that of a: by its dtype, or by the integer grid that it lies on."""
    energy = float((rows.a * rows.a).sum())
    grids = [one for one in options if one.kind == "stored" and not one.reverse]
    if energy == 0:
        return 0.0
    if grids:
        found["storage"] = grids[0].detail
        step = grids[0].numbers["grid"].steps(rows.b)
        return float((step**2).expand_as(rows.b).sum()) / 12.0 / energy
    if FORMATS[rows.b_grain].bits < 23:
        found["storage"] = FORMATS[rows.b_grain].label
    if rows.a_grain == rows.b_grain and found["changed"] < 0.5:
        return found["residual"] ** 2  # most changes are below half a step: which values move is itself noise
    return rounding_energy(rows.b, rows.b_grain) / energy


def repeats(b: torch.Tensor, base: torch.Tensor, dtype: str) -> float:
    """z of how often b (rows, n) repeats a magnitude within a row or a column, as after rounding to a coarse grid.

    Noise that is symmetric about 0 would as likely have given base - (b - base), which is rounded to b's dtype and
    counted too. Fewer than twice as many repetitions count as none.
    """
    mirrored = cast(2 * base - b, dtype)
    found = 0.0
    for x, y in ((b, mirrored), (b.T, mirrored.T)):
        here, there = _repeated(x), _repeated(y)
        if here > 2 * there:
            found = max(found, (here - there) / (here + there) ** 0.5)
    return found


def _repeated(x: torch.Tensor) -> int:
    """How many values, 0 apart, have a neighbour of the same magnitude when their row is sorted.

    In fp32, which numpy sorts ten times faster than torch sorts fp64.
    """
    ordered = np.sort(x.abs().float().contiguous().numpy(), axis=1)
    return int(np.count_nonzero((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] > 0)))


def related(x: np.ndarray, y: np.ndarray) -> float:
    """z of the correlation of two matrices, doubly centred, against rows and columns of one of them shuffled.

    Over all permutations of rows and of columns the product of doubly centred matrices (m, n) has mean 0 and variance
    |x|^2 |y|^2 / ((m - 1) (n - 1)), exactly.
    """
    x, y = (m - m.mean(0) - m.mean(1, keepdims=True) + m.mean() for m in (x, y))
    freedom = (x.shape[0] - 1) * (x.shape[1] - 1)
    scale = inner(x, x) * inner(y, y)
    return inner(x, y) * (freedom / scale) ** 0.5 if scale > 0 else 0.0
