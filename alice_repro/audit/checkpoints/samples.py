"""What is looked at closely of a pair of tensors: a seeded, bounded sample of rows, read as bands of neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from alice_repro.audit.checkpoints.explanations import Rows, grains
from alice_repro.audit.checkpoints.matching import Pair
from alice_repro.audit.checkpoints.tensors import Tensor

if TYPE_CHECKING:
    import torch

SAMPLE_VALUES = 1 << 22  # that are read of each tensor, at most, where its rows are longer than
LONGEST_ROW = 1 << 14
WHOLE_VALUES = 1 << 17  # in whole rows, on which formulas are tried
BANDS = 16  # the rows are drawn as bands of neighbours, which a disk reads faster
SIDE = 512  # of the square that the rectangle statistic sees


def plane(shape: Sequence[int]) -> tuple[int, int]:
    """The matrix that a tensor is read as: leading ones dropped, the first dimension against all the others."""
    sides = list(shape)
    while len(sides) > 2 and sides[0] == 1:
        sides.pop(0)
    rows = sides[0] if len(sides) > 1 else 1
    size = int(np.prod(shape, dtype=np.int64)) if shape else 1
    return rows, size // max(rows, 1) if rows else 0


def _bands(count: int, wanted: int, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Disjoint bands of rows, about `wanted` rows in all, spread over the tensor."""
    if wanted >= count:
        yield 0, count
        return
    bands = min(BANDS, wanted)
    height = max(1, wanted // bands)
    edges = np.linspace(0, count, bands + 1).astype(int)
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        start = int(rng.integers(low, max(low, high - height) + 1))
        yield start, min(start + height, int(high))


def sample(pair: Pair, anchors: Sequence[Tensor], rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Whole rows, for what depends on a row's other values, and a square of more rows and fewer columns; float64.

    A value that is not finite in a or b is 0 in both.
    """
    import torch

    height, wide = plane(pair.b.shape)
    first = pair.b.row_count
    square = min(SIDE, first) if first == height else first
    keep = max(1, WHOLE_VALUES // wide)  # rows that are kept whole, evenly among those read
    if wide > LONGEST_ROW and first == height:
        square = min(square, max(1, SAMPLE_VALUES // wide))
    columns = torch.from_numpy(np.sort(rng.choice(wide, min(wide, SIDE), replace=False))) if height > 1 else None
    read = list(_bands(first, square if height > 1 else first, rng))
    count = sum(stop - start for start, stop in read) * height // first
    every = -(-count // keep)
    whole: list[list[torch.Tensor]] = [[] for _ in range(2 + len(anchors))]
    some: list[list[torch.Tensor]] = [[] for _ in range(2 + len(anchors))]
    seen = 0
    for start, stop in read:
        parts = [*pair.rows(start, stop), *(pair.placed(anchor, start, stop) for anchor in anchors)]
        for place, part in enumerate(parts):
            part = part.reshape(-1, wide)
            whole[place].append(part[-seen % every :: every].double())
            some[place].append((part if columns is None else part[:, columns]).double())
        seen += len(part)
    return _rows(whole, pair), _rows(some, pair)


def _rows(parts: Sequence[Sequence[torch.Tensor]], pair: Pair) -> Rows:
    import torch

    a, b, *others = (torch.cat(list(part)) for part in parts)
    bad = ~(torch.isfinite(a) & torch.isfinite(b))
    if bool(bad.any()):
        a, b = a.masked_fill(bad, 0.0), b.masked_fill(bad, 0.0)
    return Rows(a, b, tuple(others), *grains(a, b, pair.a.dtype, pair.b.dtype))
