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

from alice_repro.audit.checkpoints.explanations import FULL, Explanation, candidates
from alice_repro.audit.checkpoints.matching import Pair
from alice_repro.audit.checkpoints.precision import cast
from alice_repro.audit.checkpoints.remainder import SMALLEST_SIDE, remainder
from alice_repro.audit.checkpoints.samples import plane, sample
from alice_repro.audit.checkpoints.tensors import Tensor

if TYPE_CHECKING:
    import torch


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
        found |= remainder(whole, square, options, best, rng)
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
