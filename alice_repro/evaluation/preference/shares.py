"""Shares of votes with intervals that know that votes on one prompt, and of one rater, go together."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from alice_repro.errors import UserError
from alice_repro.statistics import Estimate, proportion_interval, student_quantile


def clustered_variance(values: ArrayLike, *clusters: ArrayLike) -> tuple[float, int]:
    """Variance of the mean of `values`, whose members of one cluster are dependent, and the degrees of freedom.

    One way of clustering: G / (G - 1) times the sum of squared cluster totals of the residuals, over n^2 (the
    linearised ratio estimator). Two ways (prompts and raters): the sum of both less that of their crossing (Cameron,
    Gelbach and Miller 2011), not less than the larger one. Degrees of freedom: the smaller number of clusters less 1.

    Returns:
        NaN and 0 where some way of clustering has a single cluster.
    """
    values = np.asarray(values, dtype=np.float64)
    residual = values - values.mean()
    codes = [np.unique(np.asarray(cluster), return_inverse=True)[1] for cluster in clusters]
    groups = min(code.max() + 1 for code in codes)
    if groups < 2:
        return np.nan, 0
    parts = [_one_way(residual, code) for code in codes]
    if len(parts) == 1:
        return parts[0], groups - 1
    crossing = codes[0] * (codes[1].max() + 1) + codes[1]
    return max(sum(parts) - _one_way(residual, np.unique(crossing, return_inverse=True)[1]), *parts), groups - 1


def share(hits: ArrayLike, *clusters: ArrayLike, level: float = 0.95) -> Estimate:
    """Share of votes that are hits, with an interval inside [0, 1].

    Wilson's interval at the effective number of votes, p (1 - p) / variance, adjusted to Student's t (Korn and Graubard
    1998, with Wilson's in place of the exact interval: Dean and Pagano 2015). Where all votes agree, the clusters are
    what counts.

    Args:
        hits: (n,) of 0 or 1, a vote each.
        clusters: one or two arrays (n,): the prompt, perhaps the rater.
    """
    hits = np.asarray(hits, dtype=np.float64)
    if len(hits) == 0:
        raise UserError("a share needs a vote")
    variance, df = clustered_variance(hits, *clusters)
    p, n = float(hits.mean()), len(hits)
    if df == 0:
        return Estimate(p, np.nan, np.nan, n)
    groups = df + 1
    effective = min(p * (1 - p) / variance, n) if variance > 1e-12 else groups
    upper = 0.5 + level / 2
    effective *= (student_quantile(upper, n - 1) / student_quantile(upper, df)) ** 2
    effective = max(effective, 1.0)
    wilson = proportion_interval(p * effective, effective, level)
    return Estimate(p, min(wilson.low, p), max(wilson.high, p), n)


def mean_share(values: ArrayLike, *clusters: ArrayLike, level: float = 0.95) -> Estimate:
    """Mean of votes counted -1, 0, 1 (a win rate less a loss rate), Student's t interval over the clusters."""
    values = np.asarray(values, dtype=np.float64)
    variance, df = clustered_variance(values, *clusters)
    mean = float(values.mean())
    if df == 0:
        return Estimate(mean, np.nan, np.nan, len(values))
    half = student_quantile(0.5 + level / 2, df) * np.sqrt(variance)
    return Estimate(mean, max(mean - half, -1.0), min(mean + half, 1.0), len(values))


def _one_way(residual: np.ndarray, code: np.ndarray) -> float:
    totals = np.bincount(code, weights=residual)
    groups = len(totals)
    return float((totals**2).sum() / len(residual) ** 2 * groups / (groups - 1))
