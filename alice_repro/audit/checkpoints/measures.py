"""What is measured of a pair of tensors: sums over every value in one pass, and tests on a seeded sample of rows.

Cost: every stored byte is read once, and sampled rows twice where any bit differs; memory is a few chunks and a sample
of at most 4 million values, whatever the tensor's size. Singular values are taken of at most 256 rows and columns.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from alice_repro.audit.checkpoints.explanations import FULL, Explanation, Rows, candidates
from alice_repro.audit.checkpoints.matching import Pair
from alice_repro.audit.checkpoints.remainder import SMALLEST_SIDE, remainder
from alice_repro.audit.checkpoints.samples import plane, sample
from alice_repro.audit.checkpoints.streaming import Sums, stream
from alice_repro.audit.checkpoints.tensors import Tensor


@dataclass(frozen=True)
class Evidence:
    """Numbers of one pair. Of all values:

    size; equal: same value in both; zeroed: how many more are 0 in b than in a; not_finite: NaN or infinite; relative:
    |b - a| / |a| (None where a is 0); cosine of a and b; explained: values that the explanation gives; rows_changed,
    columns_changed: with a value that is neither equal nor explained.

    Of the sample: explanation, detail, reverse, numbers: the formula that gives b from a (a from b); storage: a grid or
    dtype that b was rounded to; zeroed_what, zeroed_share: what of a was set to 0 before anything else, and how much;
    residual: |b - base| / |a| where base is "a", or what the best formula gives; rounding: the part of `residual` that
    rounding b makes by itself; rounding_a: what rounding a would have left, if b came from finer values; bounded: the
    residual is no more than these two; thinned: both lie on one coarse dtype, in which few values moved; spread:
    deviation of the residual over rms(a), from the size and number of the steps where it was thinned; changed: share of
    values with a residual; factor: of a in b by least squares, with its standard error; repeats_z: of the values that b
    repeats within its rows or columns, None where a grid is known; related_z: of the cosine against shuffled rows and
    columns; z ... exact: see `whiteness`; values, null: singular values.
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
    rounding_a: float = 0.0
    zeroed_what: str = ""
    zeroed_share: float = 0.0
    bounded: bool = False
    thinned: bool = False
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
    exact: bool = False
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
        return _with({}, pair, Sums())
    looked: list[tuple[Rows, Rows, list[Explanation], Explanation | None]] = []

    def explain() -> Explanation | None:
        whole, square = sample(pair, anchors, rng)
        options = list(candidates(whole))
        best = next((one for one in options if one.share >= FULL), None)
        looked.append((whole, square, options, best))
        return best

    sums = stream(pair, anchors, explain)
    if not looked:
        return _with({"explanation": "identical", "detail": "bit-identical"}, pair, sums)
    (whole, square, options, best), found = looked[0], {}
    if best is not None:
        found |= {"explanation": best.kind, "detail": best.detail, "reverse": best.reverse, "numbers": best.numbers}
    if best is None or sums.explained < FULL * pair.b.size:
        found |= remainder(whole, square, options, rng)
    return _with(found, pair, sums)


def _with(found: dict[str, Any], pair: Pair, sums: Sums) -> Evidence:
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
        columns_changed=sums.columns_changed,
        rearranged=" and ".join(
            what for what, order in (("rows", pair.row_order), ("columns", pair.column_order)) if order is not None
        ),
        numbers=numbers,
        **found,
    )
