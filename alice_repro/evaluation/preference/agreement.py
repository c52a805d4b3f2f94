"""How far raters agree: Krippendorff's alpha and the plain share of agreeing pairs of raters.

Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011). Alpha is 1 where all agree, 0 where they agree no
better than by chance. It is low by construction where one answer is nearly always given: read it with the plain share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from alice_repro.errors import UserError
from alice_repro.statistics import Estimate

Level = Literal["nominal", "ordinal"]


@dataclass(frozen=True)
class Agreement:
    """`alpha` and `raw` (share of rater pairs that agree) with intervals over clusters; None and the `reason` if none.

    `units`: pairs with two votes or more.
    """

    alpha: Estimate | None
    raw: Estimate | None
    units: int
    reason: str = ""


def coincidences(ratings: Sequence[Sequence[int]], values: int) -> np.ndarray:
    """Coincidences of each unit, (units, values, values): its ordered pairs of ratings over (its ratings - 1).

    Args:
        ratings: of each unit, the answers it got, as 0 ... values - 1 in their order; units with one count as 0.
    """
    counts = np.stack([np.bincount(np.asarray(unit, dtype=int), minlength=values) for unit in ratings]).astype(float)
    ordered = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(values)
    return ordered / np.maximum(counts.sum(axis=1) - 1, 1)[:, None, None]


def alpha_of(total: np.ndarray, level: Level = "nominal") -> np.ndarray:
    """Krippendorff's alpha of summed coincidences (..., values, values); NaN where only one answer was ever given."""
    margins = total.sum(axis=-1)
    n = margins.sum(axis=-1)
    if level == "ordinal":
        below = np.cumsum(margins, axis=-1) - margins / 2  # midranks: their differences are Krippendorff's sums
        distance = (below[..., :, None] - below[..., None, :]) ** 2
    else:
        distance = np.broadcast_to(1.0 - np.eye(total.shape[-1]), total.shape)
    observed = (total * distance).sum(axis=(-1, -2))
    expected = (margins[..., :, None] * margins[..., None, :] * distance).sum(axis=(-1, -2))
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1.0 - (n - 1) * observed / expected


def agreement(
    ratings: Sequence[Sequence[int]],
    cluster: ArrayLike,
    values: int,
    level: Level = "nominal",
    n_boot: int = 2000,
    seed: int = 0,
) -> Agreement:
    """Agreement of raters on units, with percentile intervals: clusters (prompts) are drawn with all their units.

    Args:
        ratings: as in `coincidences`.
        cluster: (units,) the prompt of each.
        values: how many answers there are.
        level: "ordinal" where the answers have an order (worse, same, better).
    """
    if len(ratings) != len(np.asarray(cluster)):
        raise UserError(f"{len(ratings)} rated units, {len(np.asarray(cluster))} clusters")
    several = np.array([len(unit) > 1 for unit in ratings], dtype=bool)
    units = int(several.sum())
    if units == 0:
        return Agreement(None, None, 0, "no pair was judged by two raters")
    table = coincidences([unit for unit, keep in zip(ratings, several, strict=True) if keep], values)
    groups, member = np.unique(np.asarray(cluster)[several], return_inverse=True)
    by_group = np.zeros((len(groups), values, values))
    np.add.at(by_group, member, table)
    total = by_group.sum(axis=0)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(groups), np.full(len(groups), 1 / len(groups)), size=n_boot)
    replicates = np.einsum("bg,gij->bij", weights, by_group)
    raw = _estimate(_raw(total), _raw(replicates), units, len(groups))
    value = float(alpha_of(total, level))
    if not np.isfinite(value):
        return Agreement(None, raw, units, "only one answer was ever given, which leaves nothing to agree on")
    return Agreement(_estimate(value, alpha_of(replicates, level), units, len(groups)), raw, units)


def _raw(total: np.ndarray) -> np.ndarray:
    return np.trace(total, axis1=-2, axis2=-1) / total.sum(axis=(-1, -2))


def _estimate(value: float, replicates: np.ndarray, units: int, groups: int) -> Estimate:
    finite = replicates[np.isfinite(replicates)]
    if groups < 2 or len(finite) < 0.9 * len(replicates):  # too little to say
        return Estimate(float(value), np.nan, np.nan, units)
    low, high = np.quantile(finite, [0.025, 0.975])
    return Estimate(float(value), float(low), float(high), units)
