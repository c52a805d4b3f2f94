from __future__ import annotations

import numpy as np
import pytest

from alice_repro.evaluation.preference.agreement import agreement, alpha_of, coincidences

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C: 4 observers, 12 units, values 1 to 5.
OBSERVERS = ("1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 .")
UNITS = [[int(x) - 1 for x in unit if x != "."] for unit in zip(*(row.split() for row in OBSERVERS), strict=True)]


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815)])
def test_krippendorffs_own_example(level, alpha):
    several = [unit for unit in UNITS if len(unit) > 1]
    assert float(alpha_of(coincidences(several, 5).sum(axis=0), level)) == pytest.approx(alpha, abs=5e-4)
    got = agreement(UNITS, range(12), 5, level)
    assert got.alpha.value == pytest.approx(alpha, abs=5e-4)
    assert got.units == 11 and got.alpha.low < alpha < got.alpha.high


def test_the_example_has_krippendorffs_coincidences():
    total = coincidences([unit for unit in UNITS if len(unit) > 1], 5).sum(axis=0)
    assert total.sum() == pytest.approx(40)
    assert np.diag(total) == pytest.approx([7, 10, 8, 4, 3])
    assert total[0, 1] == pytest.approx(4 / 3)


def test_full_agreement_is_one_and_chance_is_about_zero():
    assert agreement([[0, 0, 0], [2, 2, 2], [1, 1, 1]], range(3), 3).alpha.value == 1.0
    rng = np.random.default_rng(0)
    random = agreement(rng.integers(0, 3, (600, 3)).tolist(), range(600), 3)
    assert abs(random.alpha.value) < 0.06 and random.alpha.low < 0 < random.alpha.high
    assert random.raw.value == pytest.approx(1 / 3, abs=0.04)


def test_what_has_no_alpha_says_why():
    constant = agreement([[0, 0], [0, 0]], range(2), 3)
    assert constant.alpha is None and "only one answer" in constant.reason and constant.raw.value == 1.0
    alone = agreement([[0], [1]], range(2), 3)
    assert alone.alpha is None and alone.raw is None and "two raters" in alone.reason


def test_units_of_one_prompt_go_together():
    """Ten copies of each unit, of one prompt each: the interval is that of the prompts."""
    rng = np.random.default_rng(1)
    units = [[int(x)] * 2 + [int(y)] for x, y in rng.integers(0, 3, (40, 2))]
    once = agreement(units, range(40), 3).alpha
    many = agreement(units * 10, list(range(40)) * 10, 3).alpha
    assert many.value == pytest.approx(once.value, abs=0.01)
    assert many.high - many.low == pytest.approx(once.high - once.low, rel=0.1)
