from __future__ import annotations

import numpy as np
import pytest

from alice_repro.evaluation.preference.shares import clustered_variance, mean_share, share
from alice_repro.statistics import proportion_interval


def test_independent_votes_get_about_wilsons_interval():
    hits = np.arange(200) % 4 == 0
    ours, wilson = share(hits, np.arange(200)), proportion_interval(50, 200)
    assert ours.value == wilson.value == 0.25
    assert (ours.low, ours.high) == pytest.approx((wilson.low, wilson.high), abs=0.003)


def test_votes_that_repeat_their_prompt_add_nothing():
    hits = np.arange(60) % 3 == 0
    once, thrice = share(hits, np.arange(60)), share(np.repeat(hits, 3), np.repeat(np.arange(60), 3))
    assert thrice.n == 180
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high), abs=0.004)


def test_unanimous_votes_have_an_interval_that_counts_prompts():
    """Wilson, 10 of 10: 1 / (1 + z^2 / 10) = 0.722; with Student's t of 9 degrees 0.661 or a bit more."""
    got = share(np.ones(300), np.repeat(np.arange(10), 30))
    assert got.value == got.high == 1.0
    assert 0.60 < got.low < 0.73
    none = share(np.zeros(300), np.repeat(np.arange(10), 30))
    assert (none.low, none.high) == pytest.approx((0.0, 1 - got.low))


def test_a_single_prompt_has_no_interval():
    assert np.isnan(share([1, 0, 1], ["p"] * 3).low)
    assert np.isnan(mean_share([1, 0, 1], ["p"] * 3).low)


def test_variance_of_the_mean_by_hand():
    """Residuals 0.5, 0.5 | -0.5, -0.5 in two clusters: 2 / 1 * (1 + 1) / 16."""
    assert clustered_variance([1, 1, 0, 0], [0, 0, 1, 1]) == (pytest.approx(0.25), 1)
    # Two ways: prompts 0.25; raters cancel, 0; crossing 4 / 3 * (4 * 0.25) / 16; not less than the larger one.
    assert clustered_variance([1, 1, 0, 0], [0, 0, 1, 1], [0, 1, 0, 1])[0] == pytest.approx(0.25)


def test_two_way_variance_finds_both_effects():
    """Crossed random effects, 12 raters x 40 prompts: variance s_r^2 / 12 + s_p^2 / 40 + s_e^2 / 480."""
    rng = np.random.default_rng(0)
    rater, prompt = np.repeat(np.arange(12), 40), np.tile(np.arange(40), 12)
    got = []
    for _ in range(200):
        values = rng.normal(0, 0.5, 12)[rater] + rng.normal(0, 0.5, 40)[prompt] + rng.normal(0, 1, 480)
        got.append(clustered_variance(values, prompt, rater)[0])
    assert np.mean(got) == pytest.approx(0.25 / 12 + 0.25 / 40 + 1 / 480, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_interval_covers_the_truth(p):
    """Three votes a prompt, prompts of beta-distributed appeal: 95 % intervals hold the share that often."""
    rng = np.random.default_rng(1)
    prompt = np.repeat(np.arange(40), 3)
    inside = 0
    for _ in range(400):
        appeal = rng.beta(2 * p, 2 * (1 - p), 40)
        got = share(rng.random(120) < appeal[prompt], prompt)
        inside += got.low <= p <= got.high
    assert 0.92 <= inside / 400 <= 0.985
