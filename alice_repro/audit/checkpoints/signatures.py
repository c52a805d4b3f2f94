"""A few rows that stand for a tensor, and how alike two are: enough to recognise weights, cheap enough for all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from alice_repro.audit.checkpoints.tensors import Tensor

ROWS, COLUMNS = 16, 512
ALPHA = 1e-6  # that anything at all is taken for related in a pair of unrelated networks


def sample_rows(tensor: Tensor) -> list[int]:
    """Numbers of up to `ROWS` rows, spread evenly."""
    count = min(ROWS, tensor.row_count)
    return [(2 * k + 1) * tensor.row_count // (2 * count) for k in range(count)]


def signature(tensor: Tensor) -> np.ndarray:
    """Sampled values (rows, columns) in float32, of at most `ROWS` x `COLUMNS`, spread evenly; each row centred."""
    rows = as_array(tensor.take(sample_rows(tensor)))
    columns = min(COLUMNS, rows.shape[1])
    if not rows.size:
        return rows
    chosen = rows[:, (2 * np.arange(columns) + 1) * rows.shape[1] // (2 * columns)]
    return chosen - chosen.mean(1, keepdims=True)


def as_array(values) -> np.ndarray:
    """A tensor as a matrix (rows, the rest) in float32; what is not finite counts as 0."""
    flat = values.float().reshape(len(values), math.prod(values.shape[1:])).numpy()
    return np.nan_to_num(flat, nan=0.0, posinf=0.0, neginf=0.0)


def correlations(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Cosines (rows, others) of row vectors; 0 where one is constant."""
    return _unit(rows) @ _unit(others).T


def alike(rows: Sequence[np.ndarray], columns: Sequence[np.ndarray]) -> np.ndarray:
    """Fisher's z of the correlation of each signature in `rows` with each in `columns`: Normal(0, 1) if unrelated."""
    r = correlations(*(np.stack([s.ravel() for s in side]) for side in (rows, columns)))
    return fisher(r, rows[0].size - len(rows[0]))


def fisher(r: np.ndarray, freedom: int) -> np.ndarray:
    """atanh(r) sqrt(n - 3), of a correlation of n values less the means taken off."""
    return np.arctanh(np.clip(r.astype(np.float64), -1 + 1e-12, 1 - 1e-12)) * np.sqrt(max(freedom - 3, 1))


def normal_bound(comparisons: int) -> float:
    """What the largest of so many Normal(0, 1) exceeds with probability `ALPHA`, at most."""
    return -NormalDist().inv_cdf(ALPHA / comparisons)


def related_bound(z: np.ndarray, comparisons: int) -> float:
    """What z exceeds by chance with probability `ALPHA` in so many comparisons.

    Weights that are structured alike without being related spread more than Normal(0, 1): the spread of the lower half
    of |z|, which holds the unrelated ones wherever there are two or more a row, widens the bound where it is larger.
    """
    lower = np.sort(np.abs(z), axis=1)[:, : max(z.shape[1] // 2, 1)] if z.shape[1] > 1 else np.zeros(1)
    spread = float(np.sqrt((lower**2).mean())) / 0.38  # that of the lower half of |Normal(0, 1)|
    return normal_bound(comparisons) * max(1.0, spread)


def _unit(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
