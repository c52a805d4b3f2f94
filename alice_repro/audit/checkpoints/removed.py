"""Smaller tensors: are B's rows and columns some of A's? Then heads, hidden units or channels were removed."""

from __future__ import annotations

import numpy as np

from alice_repro.audit.checkpoints.matching import Pair
from alice_repro.audit.checkpoints.measures import plane
from alice_repro.audit.checkpoints.precision import CASTS, cast
from alice_repro.audit.checkpoints.signatures import as_array, correlations

LOOKED_AT = 24  # rows (columns) of B that are looked for
LARGEST = 1 << 27  # values of A up to which it is read whole
ALIKE = 0.99  # correlation from which on a row is the same but for a cast; of unrelated rows of 16 it is below 0.9
SHORTEST = 16


def part_of(pair: Pair) -> str | None:
    """How B's tensor is a part of A's: "rows", "columns", "rows and columns"; None if it is not, or is not told.

    Rows are looked for by their correlation where both sides have the same columns, and the other way round; where both
    differ, the values of a row must all occur in one row of A.
    """
    (rows_a, columns_a), (rows_b, columns_b) = plane(pair.a.shape), plane(pair.b.shape)
    if pair.a.size > LARGEST or rows_b > rows_a or columns_b > columns_a or not pair.b.size:
        return None
    stored = pair.a.rows(0, pair.a.row_count)
    stored = cast(stored.float(), pair.b.dtype) if pair.b.dtype in CASTS else stored
    a = as_array(stored).reshape(rows_a, columns_a)
    b = as_array(pair.b.rows(0, pair.b.row_count)).reshape(rows_b, columns_b)
    if rows_a == 1 or columns_a == 1:
        return "values" if np.isin(b, a).mean() > ALIKE else None
    if columns_a == columns_b >= SHORTEST:
        return "rows" if _found(a, b) else None
    if rows_a == rows_b >= SHORTEST:
        return "columns" if _found(a.T, b.T) else None
    return "rows and columns" if min(a.shape) >= SHORTEST and _within(a, b) else None


def _found(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether each of some rows of b is alike a row of a of its own."""
    some = b[np.linspace(0, len(b) - 1, min(LOOKED_AT, len(b))).astype(int)]
    table = correlations(some, a)
    return bool((table.max(1) >= ALIKE).all()) and len(set(table.argmax(1))) == len(some)


def _within(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether the values of each of a few rows of b all occur in one row of a, and in no other by as much."""
    for row in b[np.linspace(0, len(b) - 1, min(4, len(b))).astype(int)]:
        shares = np.sort([np.isin(row, other).mean() for other in a])
        if shares[-1] < ALIKE or shares[-2] > 0.9:
            return False
    return True
