"""What is measured of a pair of tensors: sums over every value in one pass, and tests on a seeded sample of rows.

Cost: every stored byte is read once and the sampled rows twice; memory is a few chunks of 16 MB and a sample of at most
4 million values, whatever the tensor's size. Singular values are taken of at most 256 rows and columns.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from alice_repro.audit.checkpoints.explanations import FULL, Explanation, Rows, bases, candidates
from alice_repro.audit.checkpoints.matching import Pair
from alice_repro.audit.checkpoints.precision import FORMATS, cast, rounding_energy, spacing
from alice_repro.audit.checkpoints.samples import plane, sample
from alice_repro.audit.checkpoints.tensors import Tensor
from alice_repro.audit.checkpoints.whiteness import spectrum, whiteness

if TYPE_CHECKING:
    import torch

SPECTRUM_SIDE = 256
SMALLEST_SIDE = 16  # a matrix narrower than this says nothing about structure
SMALLEST_SPECTRUM = 24
GAUSSIAN = 1.2533  # deviation of a normal variable over its mean magnitude: sqrt(pi / 2)
KEEPS = 0.75  # a formula becomes the base if it leaves at most this share of the energy of b - a; half of that, if
# it has a factor for each row or column
ROUNDS = 4  # of the outliers and of what lies under them, each without the other
TRACE = 6.0  # standard errors from which on the residual has something in common with a


@dataclass(frozen=True)
class Evidence:
    """Numbers of one pair. Of all values:

    size; equal: same value in both; zeroed: how many more are 0 in b than in a; not_finite: NaN or infinite; relative:
    |b - a| / |a| (None where a is 0); cosine of a and b; explained: values that the explanation gives; rows_changed,
    columns_changed: with a value that is neither equal nor explained.

    Of the sample: explanation, detail, reverse, numbers: the formula that gives b from a (a from b); storage: a grid or
    dtype that b was rounded to; residual: |b - base| / |a| where base is "a", or what the best formula gives;
    rounding: the part of `residual` that rounding b makes by itself; spread: deviation of the residual over rms(a),
    from the size and number of the steps where rounding let few values move; changed: share
    of values with a residual; factor: of a in b by least squares, with its standard error; repeats_z: of the values
    that b repeats within its rows or columns, None where a grid is known; related_z: of the cosine
    against shuffled rows and columns; z ... remainder_z: see `whiteness`; values, null: singular values.
    """

    name: str
    how: str
    shape: tuple[int, ...]
    dtype_a: str
    dtype_b: str
    size: int
    equal: int
    zeroed: int
    not_finite: int
    relative: float | None
    energy: float
    cosine: float | None
    explained: int
    rows_changed: int
    columns_changed: int
    rearranged: str = ""
    explanation: str = ""
    detail: str = ""
    reverse: bool = False
    numbers: dict[str, Any] | None = None
    storage: str = ""
    base: str = "a"
    base_weights: tuple[float, ...] = ()
    residual: float = 0.0
    rounding: float = 0.0
    spread: float = 0.0
    changed: float = 0.0
    factor: float | None = None
    factor_error: float | None = None
    repeats_z: float | None = None
    related_z: float | None = None
    z: float | None = None
    share: float | None = None
    needed: float | None = None
    rectangles: float = 0.0
    outliers: int | None = None
    rank: int | None = None
    gap: float | None = None
    floor: float | None = None
    bulk: float | None = None
    remainder_z: float | None = None
    side: int = 0
    values: tuple[float, ...] = ()
    null: tuple[float, ...] = ()

    @property
    def matrix(self) -> bool:
        """Whether it is wide and high enough for the tests of structure."""
        return min(plane(self.shape)) >= SMALLEST_SIDE

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def measure(pair: Pair, anchors: Sequence[Tensor] = (), seed: int = 0) -> Evidence:
    """Measure one pair. anchors: tensors of other checkpoints, of the same shape, that b may be a mixture of with a."""
    anchors = tuple(anchor for anchor in anchors if anchor is not None and anchor.shape == pair.b.shape)
    rng = np.random.default_rng([seed, zlib.crc32(pair.name.encode())])
    if pair.b.size == 0:
        return _with({}, pair, _Sums(), None)
    whole, square = sample(pair, anchors, rng)
    options = list(candidates(whole))
    best = next((one for one in options if one.share >= FULL), None)
    sums = _stream(pair, anchors, best)
    found: dict[str, Any] = {}
    if best is not None:
        found |= {"explanation": best.kind, "detail": best.detail, "reverse": best.reverse, "numbers": best.numbers}
    if best is None or sums.explained < FULL * pair.b.size:
        found |= _character(whole, square, options, best, rng)
    return _with(found, pair, sums, best)


@dataclass
class _Sums:
    """Running totals over chunks."""

    equal: int = 0
    zeroed: int = 0
    not_finite: int = 0
    explained: int = 0
    aa: float = 0.0
    bb: float = 0.0
    ab: float = 0.0
    dd: float = 0.0
    rows: int = 0
    columns: Any = None


def _stream(pair: Pair, anchors: Sequence[Tensor], best: Explanation | None) -> _Sums:
    import torch

    sums = _Sums()
    same = best is None or best.kind == "identical"
    for start, stop in pair.b.chunks():
        a, b = pair.rows(start, stop)
        if a.dtype == b.dtype and _same_bits(a, b):
            a = a.float().flatten()
            sums.aa += (energy := float(a @ a))
            sums.ab, sums.bb = sums.ab + energy, sums.bb + energy
            sums.equal, sums.explained = sums.equal + a.numel(), sums.explained + a.numel()
            continue
        wide = plane(pair.b.shape)[1]
        a, b = a.float().reshape(-1, wide), b.float().reshape(-1, wide)
        equal = a == b
        sums.equal += (count := int(torch.count_nonzero(equal)))
        matched = equal
        if not same:
            matched = equal | _matches(best, a, b, [c.rows(start, stop).reshape(-1, wide) for c in anchors])
            count = int(torch.count_nonzero(matched))
        sums.explained += count
        missed = ~matched
        if count < a.numel() // 4:  # edits in places leave more than that alone
            sums.rows, touched = sums.rows + len(a), torch.ones(wide, dtype=torch.bool)
        else:
            sums.rows, touched = sums.rows + int(torch.count_nonzero(missed.any(1))), missed.any(0)
        sums.columns = touched if sums.columns is None else sums.columns | touched
        a, b = a.flatten(), b.flatten()
        d = b - a
        energy = float(d @ d)
        if not np.isfinite(energy):
            sums.not_finite += int((~torch.isfinite(d)).sum())
            keep = torch.isfinite(d)
            a, b, d = a[keep], b[keep], d[keep]
            energy = float(d @ d)
        sums.dd += energy
        sums.aa, sums.bb, sums.ab = sums.aa + float(a @ a), sums.bb + float(b @ b), sums.ab + float(a @ b)
        zeros = int(torch.count_nonzero(a)) - int(torch.count_nonzero(b))
        sums.zeroed += max(zeros, 0)
    return sums


def _matches(best: Explanation, a: torch.Tensor, b: torch.Tensor, anchors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Where the formula holds. One factor for all is tried in fp32 first, and only what it misses in fp64."""
    x, y = (b, a) if best.reverse else (a, b)
    if best.kind in ("cast", "pruned"):
        return best.matches(x, y, anchors)
    if "factor" in (best.numbers or {}):
        matched = cast(x * best.numbers["factor"], best.numbers["dtype"]) == y
        missed = ~matched
        matched[missed] = best.matches(x[missed].double(), y[missed].double(), ())
        return matched
    return best.matches(x.double(), y.double(), [c.double() for c in anchors])


def _same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    import torch

    return torch.equal(a.flatten().view(torch.uint8), b.flatten().view(torch.uint8)) if a.numel() else True


def _character(
    whole: Rows, rows: Rows, options: Sequence[Explanation], best: Explanation | None, rng: Any
) -> dict[str, Any]:
    """What is left of b when the best formula is taken away, and whether that is white."""

    a, b = rows.a, rows.b
    energy_a, found = float((a * a).sum()), {}
    size = a.numel()
    base, weights, rest = _residual(rows)
    if base == "a" and (beneath := _beneath(rest.numpy(), a.numpy(), rng)):
        base, rest = f"scaled by {1 + beneath:.6g}", rest - beneath * a
    found |= {"base": base, "base_weights": tuple(weights)}
    energy = float((rest * rest).sum())
    if energy_a > 0:
        factor = float((a * b).sum()) / energy_a
        found["factor"], found["residual"] = factor, (energy / energy_a) ** 0.5
        found["factor_error"] = (float(((b - factor * a) ** 2).sum()) / energy_a / max(size - 1, 1)) ** 0.5
        found["changed"] = float((rest != 0).double().mean())
        found["rounding"] = _rounding(whole, options, found) ** 0.5
        on_grid = rows.a_grain == rows.b_grain and found["changed"] < 0.5 and FORMATS[rows.b_grain].bits < 23
        mean = float(rest.abs().mean())
        deviation = _thinned(b, rows.b_grain, found["changed"]) if on_grid else mean * GAUSSIAN
        found["spread"] = deviation / (energy_a / size) ** 0.5
    found["changed"] = float((rest != 0).double().mean())
    if min(a.shape) < SMALLEST_SIDE or energy == 0:
        return found
    if not any(one.kind == "stored" for one in options):
        found["repeats_z"] = repeats(b, b - rest, rows.b_grain)
    d, x, y = (t.numpy() for t in (rest, a, b))
    found["related_z"] = related(x, y)
    white = whiteness(d)
    # A factor too small to be the base leaves a trace of a, which is structured: the whiter of the two counts.
    common = np.vdot(d, x) / max(np.vdot(x, x), 1e-300)
    if _traced(common, x, d):
        without = d - common * x
        other = whiteness(without)
        if abs(other.z) < abs(white.z) / 2:
            white, d = other, without
    found |= {"z": white.z, "share": white.share, "needed": white.needed, "rectangles": white.rectangles}
    small = d[:: max(1, len(d) // SPECTRUM_SIDE)][:SPECTRUM_SIDE, :SPECTRUM_SIDE]
    if min(small.shape) >= SMALLEST_SPECTRUM and (small != 0).any():
        seen = spectrum(small, rng)
        found |= {"outliers": seen.outliers, "rank": seen.rank, "gap": seen.gap, "floor": seen.floor, "bulk": seen.bulk}
        found |= {"remainder_z": seen.remainder_z, "side": min(small.shape)}
        found |= {"values": tuple(map(float, seen.values)), "null": tuple(map(float, seen.null))}
    return found


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


def _beneath(d: np.ndarray, x: np.ndarray, rng: Any) -> float:
    """How much of x (rows, n) is in d under what stands out of d; 0.0 unless it is most of what lies there.

    A merged product of low rank hides that everything was scaled too. Both are cut to the space beside the outliers,
    where noise that is independent of x would have nothing in common with it.
    """
    common = np.vdot(d, x) / max(np.vdot(x, x), 1e-300)
    if min(d.shape) < SMALLEST_SPECTRUM or not _traced(common, x, d):
        return 0.0
    every = max(1, len(d) // SPECTRUM_SIDE)
    d, x = (m[::every][:SPECTRUM_SIDE, :SPECTRUM_SIDE] for m in (d, x))
    count = spectrum(d, rng).outliers
    if count == 0 or count > min(d.shape) // 2:
        return 0.0
    share = 0.0
    for _ in range(ROUNDS):
        left, _, right = np.linalg.svd(d - share * x, full_matrices=False)
        left, right = left[:, :count], right[:count]
        under, same = (m - left @ (left.T @ m) for m in (d, x))
        under, same = (m - (m @ right.T) @ right for m in (under, same))
        share = float(np.vdot(under, same) / max(np.vdot(same, same), 1e-300))
    remains = np.square(under - share * same).sum()
    return share if _traced(share, same, under) and remains < (1 - KEEPS) * np.square(under).sum() else 0.0


def _traced(share: float, x: np.ndarray, d: np.ndarray) -> bool:
    """Whether d has more of x than chance would give it, `share` by least squares."""
    return abs(share) * np.linalg.norm(x) * np.sqrt(d.size) > TRACE * np.linalg.norm(d)


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
    """How many values, 0 apart, have a neighbour of the same magnitude when their row is sorted."""
    ordered = x.abs().sort(1).values
    return int(((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] > 0)).sum())


def related(x: np.ndarray, y: np.ndarray) -> float:
    """z of the correlation of two matrices, doubly centred, against rows and columns of one of them shuffled.

    Over all permutations of rows and of columns the product of doubly centred matrices (m, n) has mean 0 and variance
    |x|^2 |y|^2 / ((m - 1) (n - 1)), exactly.
    """
    x, y = (m - m.mean(0) - m.mean(1, keepdims=True) + m.mean() for m in (x, y))
    freedom = (x.shape[0] - 1) * (x.shape[1] - 1)
    scale = float(np.vdot(x, x) * np.vdot(y, y))
    return float(np.vdot(x, y)) * (freedom / scale) ** 0.5 if scale > 0 else 0.0


def _with(found: dict[str, Any], pair: Pair, sums: _Sums, best: Explanation | None) -> Evidence:
    numbers = {k: v for k, v in (found.pop("numbers", None) or {}).items() if k in ("factor", "weights", "dtype")}
    return Evidence(
        name=pair.name,
        how=pair.how,
        shape=tuple(pair.b.shape),
        dtype_a=pair.a.dtype,
        dtype_b=pair.b.dtype,
        size=pair.b.size,
        equal=sums.equal,
        zeroed=sums.zeroed,
        not_finite=sums.not_finite,
        relative=(sums.dd / sums.aa) ** 0.5 if sums.aa > 0 else (0.0 if sums.dd == 0 else None),
        energy=sums.aa,
        cosine=min(sums.ab / (sums.aa * sums.bb) ** 0.5, 1.0) if sums.aa * sums.bb > 0 else None,
        explained=sums.explained,
        rows_changed=sums.rows,
        columns_changed=int(sums.columns.sum()) if sums.columns is not None else 0,
        rearranged=" and ".join(
            what for what, order in (("rows", pair.row_order), ("columns", pair.column_order)) if order is not None
        ),
        numbers=numbers,
        **found,
    )
