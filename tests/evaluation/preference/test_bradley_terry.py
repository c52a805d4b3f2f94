from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from alice_repro.evaluation.preference.bradley_terry import rank_arms


def votes(*counts):
    """(i, j, wins, ties, losses) ... as arrays i, j, outcome."""
    rows = [(i, j, o) for i, j, *numbers in counts for o, n in enumerate(numbers) for _ in range(n)]
    return tuple(np.array(column) for column in zip(*rows, strict=True))


def test_two_arms_have_a_closed_form():
    """Davidson (1970): s1 / s2 = wins / losses and nu = ties / sqrt(wins losses)."""
    i, j, outcome = votes((0, 1, 48, 20, 12))
    fit = rank_arms(["x", "y"], i, j, outcome, np.arange(80))
    assert fit.strengths["x"].value == pytest.approx(np.log(48 / 12) / 2)
    assert fit.strengths["y"].value == pytest.approx(-np.log(48 / 12) / 2)
    assert fit.nu == pytest.approx(20 / np.sqrt(48 * 12))
    # Independent votes: log(wins / losses) has variance 1 / wins + 1 / losses.
    half = 1.990 * np.sqrt(1 / 48 + 1 / 12) / 2 * np.sqrt(80 / 79)
    assert fit.strengths["x"].high - fit.strengths["x"].value == pytest.approx(half, rel=1e-3)


def test_three_arms_reach_the_likelihoods_maximum():
    i, j, outcome = votes((0, 1, 14, 5, 9), (0, 2, 17, 3, 6), (1, 2, 11, 8, 10))

    def loss(parameters):
        s = np.exp([parameters[0], parameters[1], 0.0])
        tie = np.exp(parameters[2]) * np.sqrt(s[i] * s[j])
        weights = np.stack([s[i], tie, s[j]])
        return -np.log(weights[outcome, np.arange(len(i))] / weights.sum(axis=0)).sum()

    best = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000}).x
    fit = rank_arms(["x", "y", "z"], i, j, outcome, np.arange(len(i)))
    wanted = np.array([best[0], best[1], 0.0]) - best[:2].sum() / 3
    assert [fit.strengths[a].value for a in "xyz"] == pytest.approx(wanted, abs=1e-5)
    assert fit.nu == pytest.approx(np.exp(best[2]), abs=1e-5)


def test_without_ties_it_is_bradley_and_terrys_model():
    i, j, outcome = votes((0, 1, 30, 0, 10), (1, 2, 30, 0, 10))
    fit = rank_arms(["x", "y", "z"], i, j, outcome, np.arange(80))
    assert [fit.strengths[a].value for a in "xyz"] == pytest.approx([np.log(3), 0, -np.log(3)])
    assert fit.nu == 0.0


def test_repeated_votes_on_a_prompt_do_not_narrow_the_interval():
    i, j, outcome = votes((0, 1, 20, 10, 12))
    once = rank_arms(["x", "y"], i, j, outcome, np.arange(42)).strengths["x"]
    five = rank_arms(["x", "y"], *(np.tile(a, 5) for a in (i, j, outcome)), np.tile(np.arange(42), 5)).strengths["x"]
    assert five.value == pytest.approx(once.value)
    assert five.high - five.low == pytest.approx(once.high - once.low)


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ([(0, 1, 5, 2, 4), (2, 3, 5, 2, 4)], "x, y | z, w"),
        ([(0, 1, 5, 0, 0), (1, 2, 3, 0, 3), (2, 3, 3, 0, 3)], "x never lost a vote to y, z, w"),
        ([(0, 1, 0, 5, 0), (1, 2, 0, 3, 0), (2, 3, 0, 3, 0)], "every vote is a tie"),
    ],
)
def test_votes_that_fix_no_ranking_say_so(counts, why):
    i, j, outcome = votes(*counts)
    fit = rank_arms(["x", "y", "z", "w"], i, j, outcome, np.arange(len(i)))
    assert fit.strengths is None and fit.nu is None
    assert why in fit.reason


def test_ties_alone_do_not_tie_a_winner_down():
    """With nu free, an arm of two that ties and wins but never loses has no finite strength; among more it may."""
    alone = rank_arms(["x", "y"], *votes((0, 1, 5, 3, 0)), np.arange(8))
    assert alone.strengths is None and "x never lost a vote to y" in alone.reason
    among = rank_arms(["x", "y", "z"], *votes((0, 1, 5, 3, 0), (1, 2, 3, 1, 3)), np.arange(15))
    assert among.strengths is not None  # the ties of y and z fix nu


@pytest.mark.slow
def test_interval_covers_the_truth():
    rng = np.random.default_rng(0)
    theta = np.array([0.5, 0.0, -0.5])
    prompt = np.repeat(np.arange(40), 3)
    i, j = np.tile([0, 0, 1], 40), np.tile([1, 2, 2], 40)
    inside = 0
    for _ in range(200):
        strength = theta + rng.normal(0, 0.4, (40, 3))  # each prompt favours some arm: its votes go together
        s, r = (np.exp(strength[prompt, k]) for k in (i, j))
        weights = np.stack([s, 0.7 * np.sqrt(s * r), r])
        outcome = (rng.random(120) > np.cumsum(weights / weights.sum(axis=0), axis=0)).sum(axis=0)
        fit = rank_arms(["x", "y", "z"], i, j, outcome, prompt)
        inside += fit.strengths["x"].low <= 0.5 <= fit.strengths["x"].high
    assert 0.91 <= inside / 200 <= 0.99
