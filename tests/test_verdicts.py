from __future__ import annotations

import numpy as np
import pytest

from alice_repro.errors import UserError
from alice_repro.statistics import Estimate
from alice_repro.verdicts import (
    Verdict,
    calibrate,
    combine_teachers,
    convergence_gate,
    equivalence_verdict,
    superiority_verdict,
)

SUPPORTS, CONTRADICTS = Verdict.LAB_SUPPORTS, Verdict.LAB_CONTRADICTS
INCONCLUSIVE, NOT_CONVERGED = Verdict.LAB_INCONCLUSIVE, Verdict.NOT_CONVERGED


def points(value: float, low: float, high: float, runs: int = 5) -> Estimate:
    return Estimate(value, low, high, 100, runs)


def test_the_nine_labels():
    assert {str(verdict) for verdict in Verdict} == {
        "reproduced",
        "not reproduced",
        "lab supports",
        "lab contradicts",
        "lab inconclusive",
        "not converged",
        "inconsistent on paper",
        "impossible on paper",
        "not testable here",
    }


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (5.0, 1.0, 9.0, SUPPORTS),
        (2.0, 0.01, 4.0, SUPPORTS),  # the value at the margin is enough
        (1.99, 0.01, 4.0, INCONCLUSIVE),  # above 0, below the margin, and may be above it
        (5.0, 0.0, 10.0, INCONCLUSIVE),  # the interval must lie above 0, not touch it
        (5.0, -0.1, 10.0, INCONCLUSIVE),
        (1.5, 1.0, 1.9, CONTRADICTS),  # surely better, surely by less than the margin
        (0.0, -1.9, 1.99, CONTRADICTS),
        (0.0, -2.0, 2.0, INCONCLUSIVE),  # the whole interval must lie below the margin
        (-9.0, -12.0, -6.0, CONTRADICTS),
        (3.0, np.nan, np.nan, INCONCLUSIVE),
    ],
)
def test_superiority(value, low, high, verdict):
    assert superiority_verdict(points(value, low, high)) is verdict


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (0.0, -1.9, 1.9, SUPPORTS),
        (1.0, 0.5, 1.5, SUPPORTS),  # surely different, by less than the margin
        (0.0, -2.0, 1.9, INCONCLUSIVE),
        (2.0, 0.1, 3.9, CONTRADICTS),
        (-2.0, -3.9, -0.1, CONTRADICTS),
        (1.9, 0.1, 3.7, INCONCLUSIVE),
        (0.0, np.nan, np.nan, INCONCLUSIVE),
    ],
)
def test_equivalence(value, low, high, verdict):
    assert equivalence_verdict(points(value, low, high)) is verdict
    assert equivalence_verdict(points(value, low, high, runs=4)) is INCONCLUSIVE
    assert equivalence_verdict(points(value, low, high), converged=False) is NOT_CONVERGED


@pytest.mark.parametrize("estimate", [(5.0, 1.0, 9.0), (-5.0, -9.0, -1.0)])
def test_four_runs_are_too_few_and_five_are_enough(estimate):
    assert superiority_verdict(points(*estimate, runs=4)) is INCONCLUSIVE
    assert superiority_verdict(points(*estimate, runs=5)) is not INCONCLUSIVE


@pytest.mark.parametrize("runs", [1, 5])
def test_no_verdict_before_convergence(runs):
    assert superiority_verdict(points(5, 1, 9, runs), converged=False) is NOT_CONVERGED


def test_margin_is_a_parameter():
    assert superiority_verdict(points(5, 1, 9), margin=5.1) is INCONCLUSIVE
    assert superiority_verdict(points(5, 1, 9), margin=9.1) is CONTRADICTS


UP, UP_SMALL, DOWN = points(5, 1, 9), points(1, -3, 5), points(-5, -9, -1)
WEAK_BELOW_ZERO, BELOW_MARGIN = points(-0.5, -4, 3), points(1, 0.5, 1.5)


@pytest.mark.parametrize(
    ("exact", "trained", "verdict"),
    [
        ((UP, SUPPORTS), (UP, SUPPORTS), SUPPORTS),
        ((UP, SUPPORTS), (UP_SMALL, INCONCLUSIVE), SUPPORTS),
        ((UP, SUPPORTS), (WEAK_BELOW_ZERO, INCONCLUSIVE), INCONCLUSIVE),
        ((UP, SUPPORTS), (points(0, -3, 3), INCONCLUSIVE), INCONCLUSIVE),
        ((UP, SUPPORTS), (DOWN, CONTRADICTS), INCONCLUSIVE),
        ((UP, SUPPORTS), (BELOW_MARGIN, CONTRADICTS), INCONCLUSIVE),
        ((UP_SMALL, INCONCLUSIVE), (UP_SMALL, INCONCLUSIVE), INCONCLUSIVE),
        ((DOWN, CONTRADICTS), (DOWN, CONTRADICTS), CONTRADICTS),
        ((DOWN, CONTRADICTS), (WEAK_BELOW_ZERO, INCONCLUSIVE), CONTRADICTS),
        ((DOWN, CONTRADICTS), (points(3, -1, 7), INCONCLUSIVE), INCONCLUSIVE),
        ((UP, SUPPORTS), (UP, NOT_CONVERGED), NOT_CONVERGED),
        ((UP, SUPPORTS), (points(5, 1, 9, runs=4), INCONCLUSIVE), INCONCLUSIVE),
    ],
)
def test_two_teachers(exact, trained, verdict):
    assert combine_teachers({"exact": exact, "trained": trained}) is verdict
    assert combine_teachers({"exact": trained, "trained": exact}) is verdict


def test_one_teacher_is_not_enough():
    assert combine_teachers({"exact": (UP, SUPPORTS)}) is INCONCLUSIVE
    assert combine_teachers({"trained": (DOWN, CONTRADICTS)}) is INCONCLUSIVE
    assert combine_teachers({}) is INCONCLUSIVE
    with pytest.raises(UserError, match="'exakt'"):
        combine_teachers({"exakt": (UP, SUPPORTS), "trained": (UP, SUPPORTS)})


@pytest.mark.parametrize(
    ("end", "converged"), [(60.0, True), (62.0, True), (62.01, False), (58.0, True), (57.9, False)]
)
def test_gate_compares_the_end_with_three_quarters(end, converged):
    gate = convergence_gate([25, 50, 75, 100], [10, 50, 60, end])
    assert gate.converged is converged
    assert gate.moved == pytest.approx(end - 60)


def test_gate_reports_the_spread_but_does_not_judge_it():
    gate = convergence_gate([0, 60, 80, 90, 100], [0, 60, 70, 50, 61])
    assert gate.moved == pytest.approx(61 - 67.5)  # 67.5: step 75 between 60 at step 60 and 70 at step 80
    assert gate.spread == pytest.approx(20) and not gate.converged
    swinging = convergence_gate([75, 90, 100], [60, 80, 60])
    assert swinging.converged and swinging.spread == 20
    assert convergence_gate([50, 100], [60, 60], margin=0).converged


@pytest.mark.parametrize(
    ("steps", "values"), [([80, 100], [1, 1]), ([100], [1]), ([50, 50], [1, 1]), ([50, 100], [1, np.nan])]
)
def test_gate_needs_evaluations(steps, values):
    with pytest.raises(UserError, match="gate needs"):
        convergence_gate(steps, values)


def binary_pool(prompts: int, seeds: int, rate: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """0/100 scores; prompts differ in difficulty, as real ones do."""
    rng = np.random.default_rng(0)
    chance = rng.beta(4 * rate, 4 * (1 - rate), size=(prompts, 1))
    scores = 100.0 * (rng.random((prompts, seeds)) < chance)
    return np.repeat(np.arange(prompts), seeds), scores.ravel()


def test_calibration_of_the_rules():
    """100 prompts, half the clips right: few errors (5 %, binomial error 2.2 %) and 10 points are seen."""
    got = calibrate(*binary_pool(100, 10), simulations=100, n_boot=200)
    assert got.false_verdict.value <= 0.08
    assert got.detected.value >= 0.8 and got.detected.n == 100
    assert 2.0 <= got.smallest_effect <= 10.0


def test_calibration_admits_too_little_data():
    got = calibrate(*binary_pool(12, 6), simulations=40, n_boot=100)
    assert got.detected.value < 0.6
    assert got.smallest_effect is None or got.smallest_effect > 12


def test_calibration_of_a_continuous_score():
    """Scores that hardly differ: 10 points are always seen, and equality within the margin is recognised."""
    rng = np.random.default_rng(0)
    got = calibrate(np.repeat(np.arange(50), 8), 40 + rng.normal(size=400), simulations=30, n_boot=100)
    assert got.detected.value == 1.0 and got.contradicted.value == 1.0
    assert got.smallest_effect == pytest.approx(2.0, abs=1.0)  # the margin itself limits it


def test_calibration_is_reproducible():
    pool = binary_pool(20, 6)
    assert calibrate(*pool, simulations=5, n_boot=50) == calibrate(*pool, simulations=5, n_boot=50)


def test_calibration_needs_seeds_and_room():
    with pytest.raises(UserError, match="two or more finite"):
        calibrate(np.arange(5), np.zeros(5))
    with pytest.raises(UserError, match="room"):
        calibrate(*binary_pool(20, 6, rate=0.97), simulations=5, n_boot=50)
