"""Ranking of arms from paired comparisons with ties: Bradley and Terry (1952) as extended by Davidson (1970).

    P(i beats j) = s_i / (s_i + s_j + nu sqrt(s_i s_j)),   P(tie) = nu sqrt(s_i s_j) / (same)

Strengths are log s, with mean 0 over the arms. The likelihood is concave in (log s, log nu). Its maximum is finite only
where no direction makes every vote likelier or as likely (Albert and Anderson 1984), which is checked first: for two
arms it takes a win of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linprog
from scipy.sparse.csgraph import connected_components

from alice_repro.errors import UserError
from alice_repro.statistics import Estimate, student_quantile

FIRST, TIE, SECOND = 0, 1, 2
_STEPS, _SMALL = 100, 1e-10


@dataclass(frozen=True)
class Ranking:
    """Strength of each arm (log scale, mean 0) with its interval over clusters, and nu; None and the `reason` if none.

    `covariance`: of the strengths, (arms, arms), for differences between arms; NaN with a single cluster.
    """

    strengths: dict[str, Estimate] | None
    nu: float | None
    covariance: np.ndarray | None = None
    reason: str = ""


def rank_arms(
    arms: Sequence[str], i: ArrayLike, j: ArrayLike, outcome: ArrayLike, cluster: ArrayLike, level: float = 0.95
) -> Ranking:
    """Fit the model by maximum likelihood; intervals from the sandwich variance over clusters, Student's t.

    Args:
        arms: their names.
        i, j: (n,) index of the first and second arm of each vote.
        outcome: (n,) 0 first wins, 1 tie, 2 second wins.
        cluster: (n,) the prompt of each vote.
    """
    i, j, outcome = (np.asarray(x, dtype=int) for x in (i, j, outcome))
    if len(arms) < 2 or len(i) == 0:
        raise UserError("a ranking needs two arms and a vote")
    reason = unidentified(arms, i, j, outcome)
    if reason:
        return Ranking(None, None, reason=reason)
    ties = bool((outcome == TIE).any())
    design = _design(len(arms), i, j, ties)
    chosen = outcome if ties else outcome // 2
    # Strengths that sum to 0 are the arms' contrasts; log nu stands free.
    contrasts = np.linalg.qr(np.eye(len(arms)) - 1 / len(arms))[0][:, : len(arms) - 1]
    basis = np.zeros((design.shape[2], len(arms) - 1 + ties))
    basis[: len(arms), : len(arms) - 1] = contrasts
    if ties:
        basis[-1, -1] = 1.0
    features = design @ basis
    parameters = _maximise(features, chosen)
    spread = _sandwich(features, chosen, parameters, np.asarray(cluster))
    covariance = contrasts @ spread[: len(arms) - 1, : len(arms) - 1] @ contrasts.T
    values = contrasts @ parameters[: len(arms) - 1]
    groups = len(np.unique(np.asarray(cluster)))
    t = student_quantile(0.5 + level / 2, groups - 1) if groups > 1 else np.nan
    half = t * np.sqrt(np.diag(covariance))
    votes = np.bincount(np.concatenate([i, j]), minlength=len(arms))
    strengths = {
        arm: Estimate(float(values[k]), float(values[k] - half[k]), float(values[k] + half[k]), int(votes[k]))
        for k, arm in enumerate(arms)
    }
    return Ranking(strengths, float(np.exp(parameters[-1])) if ties else 0.0, covariance)


def unidentified(arms: Sequence[str], i: np.ndarray, j: np.ndarray, outcome: np.ndarray) -> str:
    """Why these votes fix no ranking, as a sentence; "" if they do."""
    count = len(arms)
    met = np.zeros((count, count), dtype=int)
    met[i, j] = 1
    parts, label = connected_components(met, directed=False)
    if parts > 1:
        groups = [", ".join(arms[k] for k in range(count) if label[k] == part) for part in range(parts)]
        return f"no comparison connects these groups of arms: {' | '.join(groups)}; compare across them"
    if (outcome == TIE).all():
        return "every vote is a tie, which says that no arm is ahead but fixes no strengths"
    direction = _separation(count, i, j, outcome)
    if direction is not None:
        ahead = direction > direction.max() - 1e-6
        names, others = (", ".join(arms[k] for k in range(count) if ahead[k] == side) for side in (True, False))
        return f"{names} never lost a vote to {others}: no finite strength fits that"
    return ""


def _separation(count: int, i: np.ndarray, j: np.ndarray, outcome: np.ndarray) -> np.ndarray | None:
    """Changes of log s, (arms,), that make no vote less likely and some vote likelier, however far; None if none do."""
    votes = np.unique(np.stack([i, j, outcome], axis=1), axis=0)
    ties = bool((outcome == TIE).any())
    design = _design(count, votes[:, 0], votes[:, 1], ties)
    chosen = votes[:, 2] if ties else votes[:, 2] // 2
    gains = (design[np.arange(len(votes)), chosen][:, None] - design).reshape(-1, design.shape[2])
    found = linprog(-gains.sum(axis=0), A_ub=-gains, b_ub=np.zeros(len(gains)), bounds=(-1, 1))
    return found.x[:count] if -found.fun > 1e-9 else None


def _design(count: int, i: np.ndarray, j: np.ndarray, ties: bool) -> np.ndarray:
    """Log weight of each outcome, linear in (log s, log nu): (n, outcomes, parameters)."""
    rows = np.arange(len(i))
    design = np.zeros((len(i), 3, count + 1))
    design[rows, FIRST, i] = 1.0
    design[rows, SECOND, j] = 1.0
    design[rows, TIE, i] = design[rows, TIE, j] = 0.5
    design[:, TIE, count] = 1.0
    return design if ties else design[:, [FIRST, SECOND], :count]


def _probabilities(features: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    logits = features @ parameters
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def _scores(features: np.ndarray, chosen: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Gradient of each vote's log likelihood, (n, parameters)."""
    return features[np.arange(len(chosen)), chosen] - np.einsum("no,nok->nk", p, features)


def _information(features: np.ndarray, p: np.ndarray) -> np.ndarray:
    mean = np.einsum("no,nok->nk", p, features)
    return np.einsum("no,nok,nol->kl", p, features, features, optimize=True) - mean.T @ mean


def _maximise(features: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Newton's method with halved steps; the likelihood is concave and its maximum finite."""

    def likelihood(at: np.ndarray) -> float:
        return float(np.log(_probabilities(features, at)[np.arange(len(chosen)), chosen]).sum())

    parameters = np.zeros(features.shape[2])
    value = likelihood(parameters)
    for _ in range(_STEPS):
        p = _probabilities(features, parameters)
        gradient = _scores(features, chosen, p).sum(axis=0)
        step = np.linalg.solve(_information(features, p), gradient)
        if np.abs(gradient).max() < _SMALL * len(chosen):
            return parameters
        size = 1.0
        while (better := likelihood(parameters + size * step)) < value and size > 1e-6:
            size /= 2
        parameters, value = parameters + size * step, better
    raise UserError("the ranking's likelihood could not be maximised; the votes are too one-sided")


def _sandwich(features: np.ndarray, chosen: np.ndarray, parameters: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    p = _probabilities(features, parameters)
    scores = _scores(features, chosen, p)
    groups, member = np.unique(cluster, return_inverse=True)
    totals = np.zeros((len(groups), scores.shape[1]))
    np.add.at(totals, member, scores)
    if len(groups) < 2:
        return np.full((scores.shape[1], scores.shape[1]), np.nan)
    bread = np.linalg.inv(_information(features, p))
    return bread @ (totals.T @ totals * len(groups) / (len(groups) - 1)) @ bread
