from __future__ import annotations

import numpy as np
import pytest

from alice_repro.errors import UserError
from alice_repro.statistics import (
    Estimate,
    hierarchical_bootstrap,
    mean_interval,
    paired_difference,
    proportion_interval,
    student_quantile,
)


def grid(runs: int, prompts: int) -> tuple[np.ndarray, np.ndarray]:
    run, prompt = np.meshgrid(np.arange(runs), np.arange(prompts), indexing="ij")
    return run.ravel(), prompt.ravel()


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    # The first two are the worked examples of Newcombe (1998), Table I; the others follow by hand.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775)],
)
def test_wilson_intervals(k, n, low, high):
    got = proportion_interval(k, n)
    assert got == Estimate(k / n, pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5), n)
    mirrored = proportion_interval(n - k, n)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((got.low, got.high))


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3), (0, 0)])
def test_impossible_proportions(k, n):
    with pytest.raises(UserError):
        proportion_interval(k, n)


def test_student_quantiles():
    """Tables of Student's t; with one degree of freedom it is Cauchy: tan(pi (p - 1/2))."""
    assert student_quantile(0.975, 4) == pytest.approx(2.776445, abs=1e-5)
    assert student_quantile(0.995, 9) == pytest.approx(3.249836, abs=1e-5)
    assert student_quantile(0.05, 120) == pytest.approx(-1.657651, abs=1e-5)
    assert student_quantile(0.9, 1) == pytest.approx(np.tan(0.4 * np.pi), abs=1e-5)
    assert student_quantile(0.5, 7) == 0


def test_mean_interval_closed_form():
    got = mean_interval([1, 2, 3, 4, 5])
    half = 2.776445 * np.sqrt(2.5 / 5)
    assert (got.value, got.low, got.high, got.n) == pytest.approx((3, 3 - half, 3 + half, 5))
    assert np.isnan(mean_interval([2.0]).low)


@pytest.mark.parametrize(
    ("runs", "run_effect", "prompt_effect", "noise"),
    [(5, 1.0, 0.0, 0.1), (5, 0.0, 1.0, 0.1), (5, 0.0, 0.0, 1.0), (5, 0.2, 1.0, 1.0), (1, 0.0, 1.0, 1.0)],
)
def test_interval_covers_the_truth_whatever_varies(runs, run_effect, prompt_effect, noise):
    """95 % intervals hold the true mean in 90 to 99.9 % of 250 simulated tables (binomial error 1.4 %)."""
    rng = np.random.default_rng(0)
    run, prompt = grid(runs, 30)
    hits = 0
    for seed in range(250):
        table = run_effect * rng.normal(size=(runs, 1)) + prompt_effect * rng.normal(size=(1, 30))
        table = table + noise * rng.normal(size=(runs, 30))
        got = hierarchical_bootstrap(run, prompt, table.ravel(), n_boot=200, seed=seed)
        hits += got.low <= 0 <= got.high
    assert 0.90 <= hits / 250 < 1.0


def test_width_agrees_with_students_t_where_only_runs_differ():
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    run, prompt = grid(5, 40)
    got = hierarchical_bootstrap(run, prompt, np.repeat(values, 40), n_boot=5000)
    expected = mean_interval(values)
    assert got.value == pytest.approx(3.0)
    assert got.high - got.low == pytest.approx(expected.high - expected.low, rel=0.06)


def test_width_agrees_with_students_t_where_only_prompts_differ():
    values = np.random.default_rng(0).normal(size=40)
    run, prompt = grid(5, 40)
    got = hierarchical_bootstrap(run, prompt, np.tile(values, 5), n_boot=5000)
    expected = mean_interval(values)
    assert got.high - got.low == pytest.approx(expected.high - expected.low, rel=0.06)
    alone = hierarchical_bootstrap(np.zeros(40), np.arange(40), values, n_boot=5000)
    assert alone.runs == 1 and got.runs == 5
    assert alone.high - alone.low == pytest.approx(expected.high - expected.low, rel=0.06)


def test_more_prompts_do_not_make_up_for_few_runs():
    """Runs that differ by their training keep the interval wide however many prompts they share."""
    rng = np.random.default_rng(0)
    effect = rng.normal(size=(5, 1))
    widths = []
    for prompts in (20, 2000):
        run, prompt = grid(5, prompts)
        values = (effect + 0.1 * rng.normal(size=(5, prompts))).ravel()
        got = hierarchical_bootstrap(run, prompt, values, n_boot=500)
        widths.append(got.high - got.low)
    assert widths[1] > 0.8 * widths[0]


def test_bootstrap_invariances():
    rng = np.random.default_rng(3)
    run, prompt = grid(5, 20)
    values = rng.random(100)
    got = hierarchical_bootstrap(run, prompt, values, seed=1)
    assert got == hierarchical_bootstrap(run, prompt, values, seed=1)
    assert got != hierarchical_bootstrap(run, prompt, values, seed=2)
    order = rng.permutation(100)
    assert hierarchical_bootstrap(run[order], prompt[order], values[order], seed=1) == got
    names = np.array([f"p{i:02}" for i in range(20)])
    assert hierarchical_bootstrap(run, names[prompt], values, seed=1) == got
    moved = hierarchical_bootstrap(run, prompt, 10 + 3 * values, seed=1)
    assert (moved.value, moved.low, moved.high) == pytest.approx(
        (10 + 3 * got.value, 10 + 3 * got.low, 10 + 3 * got.high)
    )


def test_repeated_observations_of_a_cell_count_once():
    run, prompt = grid(3, 4)
    values = np.random.default_rng(0).random(12)
    once = hierarchical_bootstrap(run, prompt, values)
    thrice = hierarchical_bootstrap(np.tile(run, 3), np.tile(prompt, 3), np.tile(values, 3))
    assert (thrice.value, thrice.low, thrice.high) == pytest.approx((once.value, once.low, once.high))
    assert (once.n, thrice.n) == (12, 36)
    # One cell seen often does not drag the mean along.
    extra = hierarchical_bootstrap([0, 0, 0, 1], ["a", "a", "a", "a"], [0, 0, 0, 1])
    assert extra.value == 0.5


def test_absent_cells_are_absent_not_zero():
    run, prompt = grid(5, 20)
    keep = np.random.default_rng(0).random(100) > 0.2
    got = hierarchical_bootstrap(run[keep], prompt[keep], np.full(keep.sum(), 7.0))
    assert (got.value, got.low, got.high) == (7, 7, 7)
    varied = hierarchical_bootstrap(run[keep], prompt[keep], 7.0 + prompt[keep])
    assert 7 < varied.low < varied.value < varied.high < 27


def test_a_single_value_has_no_interval():
    got = hierarchical_bootstrap([0], ["a"], [0.5])
    assert got.value == 0.5 and np.isnan(got.low) and np.isnan(got.high)


def test_missing_values_are_refused():
    with pytest.raises(UserError, match="1 of 2 are missing"):
        hierarchical_bootstrap([0, 0], ["a", "b"], [0.5, np.nan])
    with pytest.raises(UserError, match="differ in length"):
        hierarchical_bootstrap([0], ["a", "b"], [0.5, 0.5])


def test_pairing_removes_what_the_arms_share():
    rng = np.random.default_rng(0)
    run, prompt = grid(5, 30)
    shared = 10 * rng.normal(size=30)[prompt] + 5 * rng.normal(size=5)[run]
    x, y = shared + 1 + 0.1 * rng.normal(size=150), shared + 0.1 * rng.normal(size=150)
    got = paired_difference(run, prompt, x, y)
    assert 0.9 < got.low < 1 < got.high < 1.1
    back = paired_difference(run, prompt, y, x)
    assert back.value == pytest.approx(-got.value)
    order = rng.permutation(150)
    other = paired_difference(run, prompt, x, y[order], y_run=run[order], y_prompt=prompt[order])
    assert (other.value, other.low) == pytest.approx((got.value, got.low))


def test_a_teacher_is_compared_with_every_run_its_seeds_averaged():
    run, prompt = grid(5, 3)
    x = np.array([1.0, 2.0, 3.0])[prompt] + 0.5
    teacher_prompt, teacher = [0, 0, 1, 1, 2, 2], [0.0, 2.0, 1.0, 3.0, 2.0, 4.0]
    got = paired_difference(run, prompt, x, teacher, y_run=[9] * 6, y_prompt=teacher_prompt)
    assert (got.value, got.low, got.high) == pytest.approx((0.5, 0.5, 0.5))
    assert (got.runs, got.n) == (5, 15)


def test_teacher_noise_does_not_shrink_with_more_runs():
    """Fifty students, one noisy teacher: its noise, common to all runs, stays in the interval."""
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=40)
    run, prompt = grid(50, 40)
    got = paired_difference(run, prompt, np.zeros(2000), teacher, y_run=np.zeros(40), y_prompt=np.arange(40))
    assert got.high - got.low == pytest.approx(2 * 2.02 * teacher.std(ddof=1) / np.sqrt(40), rel=0.1)


def test_pairs_must_be_whole():
    with pytest.raises(UserError, match="1 pairs, such as b"):
        paired_difference([0, 0], ["a", "b"], [1, 1], [0], y_run=[0], y_prompt=["a"])
    with pytest.raises(UserError, match="both y_run and y_prompt"):
        paired_difference([0], ["a"], [1], [0], y_run=[0])


def test_scaling():
    assert Estimate(0.1, -0.1, 0.3, 9, 5).scaled(-100) == Estimate(-10, -30, 10, 9, 5)
