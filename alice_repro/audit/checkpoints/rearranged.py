"""Rows and columns in another order: heads that were permuted, hidden units that were sorted.

A pair is searched where some of its sampled rows are not alike the rows in their places. Each row (then each column) of
both gets a sketch, its product with `SKETCH` random directions; each row of b goes to the row of a with the most alike
sketch. Of unrelated rows these choices are independent and collide: of n, 37 % stay unchosen. They are taken for an
order where at least `DISTINCT` of n >= `LEAST` are distinct (for n = 16, by chance in 1 of 10^6), they are not in their
places, and other directions confirm that what moves is nearer there. An order that is found in a block is tried on the
other tensors of that block, biases and norms among them; it is taken where b is then nearer to a. The search ends after
`GIVE_UP` blocks without any order: networks that have nothing to do with each other would otherwise be read twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from alice_repro.audit.checkpoints.signatures import (
    as_array,
    correlations,
    fisher,
    normal_bound,
    sample_rows,
    signature,
)
from alice_repro.audit.checkpoints.tensors import Tensor

if TYPE_CHECKING:
    from alice_repro.audit.checkpoints.matching import Pair

SKETCH = 64
DISTINCT = 0.95
LEAST = 16
GIVE_UP = 3
_NEARER = 0.5  # a rearranged tensor's distance, against that without the order: of unrelated ones both are the same
_AT_ONCE = 1 << 24  # entries of the table of likeness held at once


def rearranged(pairs: Iterable[Pair]) -> list[Pair]:
    """The pairs, those that are rearrangements with their orders."""
    from alice_repro.audit.checkpoints.matching import block_of

    pairs = list(pairs)
    blocks: dict[object, list[int]] = {}
    for place, pair in enumerate(pairs):
        blocks.setdefault(block_of(pair.name), []).append(place)
    failures = 0
    for places in blocks.values():
        suspects = [place for place in places if _suspect(pairs[place])]
        if not suspects or failures >= GIVE_UP:
            continue
        orders: list[np.ndarray] = []
        for place in sorted(suspects, key=lambda place: pairs[place].b.size):
            pairs[place] = _searched(pairs[place], orders)
        failures += not orders
        for place in places:
            if orders and pairs[place].row_order is None and pairs[place].column_order is None:
                pairs[place] = _tried(pairs[place], orders)
    return pairs


def _suspect(pair: Pair) -> bool:
    """Whether some sampled row of b is not alike the row of a in its place."""
    if len(pair.b.shape) < 2 or pair.b.row_count < LEAST or pair.b.size < LEAST * LEAST:
        return False
    a, b = signature(pair.a), signature(pair.b)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    r = np.divide((a * b).sum(1), norms, out=np.ones(len(a)), where=norms > 0)
    return bool((fisher(r, a.shape[1] - 1) < normal_bound(len(r))).any()) and a.shape[1] > 8


def _searched(pair: Pair, orders: list[np.ndarray]) -> Pair:
    """The pair with an order of its rows or columns or both, if there is one; new orders are added to the list."""
    known = _tried(pair, orders)
    if known is not pair:
        return known
    for axis, name in ((0, "row_order"), (1, "column_order")):
        order = _order(_sketch(pair.a, axis), _sketch(pair.b, axis))
        if order is not None and _confirmed(pair, axis, order):
            orders.append(order)
            return replace(pair, **{name: order})
    return pair


def _order(a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """The places in a of b's sketches, a permutation; None if there is none, or all are in their places."""
    count = len(b)
    if count < LEAST:
        return None
    best = np.empty(count, dtype=np.int64)
    step = max(1, _AT_ONCE // count)
    for start in range(0, count, step):
        best[start : start + step] = correlations(b[start : start + step], a).argmax(1)
    _, first = np.unique(best, return_index=True)
    if len(first) < DISTINCT * count or (best == np.arange(count)).all():
        return None
    order = np.full(count, -1)
    order[first] = best[first]
    order[order < 0] = np.setdiff1d(np.arange(count), best[first])
    return order


def _confirmed(pair: Pair, axis: int, order: np.ndarray) -> bool:
    """Whether what the order moves is nearer there, by other directions than those by which it was found.

    Where b is only loosely like a, a few rows find the wrong row of a by chance; they are nearer to their own.
    """
    a, b = (_sketch(tensor, axis, seed=1) for tensor in (pair.a, pair.b))
    moved = np.flatnonzero(order != np.arange(len(order)))
    there, here = (np.square(b[moved] - a[places]).sum(1) for places in (order[moved], moved))
    return len(moved) > 0 and bool((there < here).mean() >= DISTINCT)


def _sketch(tensor: Tensor, axis: int, seed: int = 0) -> np.ndarray:
    """Sketches (rows or columns of the tensor, `SKETCH`), reading it in chunks."""
    generator = np.random.default_rng(seed)
    columns = tensor.size // tensor.row_count
    if axis == 0:
        directions = generator.standard_normal((columns, SKETCH), dtype=np.float32)
        parts = [as_array(tensor.rows(*bounds)) @ directions for bounds in tensor.chunks()]
        return np.concatenate(parts)
    total = np.zeros((columns, SKETCH), dtype=np.float32)
    for start, stop in tensor.chunks():
        total += as_array(tensor.rows(start, stop)).T @ generator.standard_normal((stop - start, SKETCH), np.float32)
    return total


def _tried(pair: Pair, orders: list[np.ndarray]) -> Pair:
    """The pair under whichever of the orders brings b nearest to a, of rows, columns or both; itself if none does."""
    rows = sample_rows(pair.b)
    b = as_array(pair.b.take(rows) if len(pair.b.shape) > 1 else pair.b.rows(0, pair.b.row_count))
    plain = _distance(pair, rows, b, None, None)
    best, choice = _NEARER * plain, pair
    of_rows = [None, *(o for o in orders if len(o) == pair.b.row_count)]
    of_columns = [None, *(o for o in orders if len(pair.b.shape) == 2 and len(o) == pair.b.shape[1])]
    for row_order in of_rows:
        for column_order in of_columns:
            distance = _distance(pair, rows, b, row_order, column_order)
            if distance < best:
                best, choice = distance, replace(pair, row_order=row_order, column_order=column_order)
    return choice


def _distance(
    pair: Pair, rows: list[int], b: np.ndarray, row_order: np.ndarray | None, column_order: np.ndarray | None
) -> float:
    places = np.arange(pair.a.row_count) if row_order is None else row_order
    a = as_array(pair.a.take(places[rows] if len(pair.a.shape) > 1 else places))
    return float(np.linalg.norm(b - (a if column_order is None else a[:, column_order])))
