from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fabricate import better, outcomes, score_table

from alice_repro.errors import UserError
from alice_repro.reporting.estimates import best_of, difference, rate
from alice_repro.statistics import proportion_interval


def by_hand() -> pd.DataFrame:
    """Two captions, four sampling seeds each, in groups of two."""
    table = score_table(np.array([[0, 1, 0, 0], [1, 0, 0, 0]]), "teacher-full")
    # Caption 0: seed 0 has the better flickering but stands still, so seed 1 (right) is chosen; then seed 2 (wrong).
    # Caption 1: neither of the first two moves, so the better flickering decides: seed 1 (wrong); then a tie: seed 2.
    table["temporal_flickering"] = [0.99, 0.80, 0.9, 0.8, 0.7, 0.8, 0.5, 0.5]
    table["dynamic_degree"] = [0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]
    return table


def test_best_of_two_by_hand():
    by_measure = best_of(by_hand(), 2, "temporal_flickering")
    assert list(zip(by_measure["prompt_id"], by_measure["seed"], strict=True)) == [
        ("0", 1),
        ("0", 2),
        ("1", 1),
        ("1", 2),
    ]
    assert by_measure["endpoint"].tolist() == [1, 0, 0, 0]
    assert best_of(by_hand(), 2, "endpoint")["endpoint"].tolist() == [1, 0, 1, 0]
    assert best_of(by_hand(), 4, "endpoint")["endpoint"].tolist() == [1, 1]
    assert len(best_of(by_hand(), 3, "endpoint")) == 2  # the fourth clip of a caption is left over


def test_order_of_the_rows_does_not_matter_and_a_missing_value_loses():
    table = by_hand()
    shuffled = table.sample(frac=1.0, random_state=3)
    pd.testing.assert_frame_equal(best_of(shuffled, 2, "temporal_flickering"), best_of(table, 2, "temporal_flickering"))
    table.loc[1, "temporal_flickering"] = np.nan
    table.loc[0, "dynamic_degree"] = 1.0
    assert best_of(table, 2, "temporal_flickering")["seed"].iloc[0] == 0


def test_choosing_by_a_measure_that_is_not_there():
    with pytest.raises(UserError, match="temporal_flickering"):
        best_of(by_hand().drop(columns="temporal_flickering"), 2, "temporal_flickering")


def test_a_planted_shift_comes_back_and_missing_clips_are_counted():
    base = outcomes(0.5)
    teacher, student = score_table(base, "teacher-full").assign(run=0), score_table(better(base, 10), "s", 0)
    assert rate(student).estimate.value == pytest.approx(60.0)
    found = difference(student, teacher)
    assert found.estimate.value == pytest.approx(10.0)
    assert found.estimate.low < 10 < found.estimate.high
    student.loc[[0, 5], "endpoint"] = np.nan
    assert rate(student).missing == 2 and "(2 missing)" in rate(student).n


def test_all_wrong_has_wilsons_interval_and_no_spread_allows_no_conclusion():
    nothing = score_table(np.zeros((20, 4)), "s", 0)
    expected = proportion_interval(0, 20).scaled(100)
    assert (rate(nothing).estimate.low, rate(nothing).estimate.high) == (expected.low, expected.high)
    assert np.isnan(difference(nothing, nothing).estimate.low)


def test_no_value_at_all():
    table = score_table(np.zeros((2, 2)), "s", 0).assign(color=np.nan)
    assert rate(table, "color") is None and difference(table, table, "color") is None
