from __future__ import annotations

import numpy as np
import pytest

from alice_repro.errors import UserError
from alice_repro.evaluation.metrics.temporal_flickering import temporal_flickering
from alice_repro.evaluation.vbench import normalise, suite, total
from alice_repro.media import iter_frames

DIMENSIONS = list(suite("vbench").dimensions)

# FlashVideo (arXiv 2502.05179) Table 1, percent: total, quality, semantic, then the dimensions in order.
PUBLISHED = {
    "Mochi-1": "80.13 82.64 70.08 96.99 97.28 99.40 99.02 61.85 56.94 60.64 "
    "86.51 50.47 94.60 79.73 69.24 36.99 20.33 23.65 25.15",
    "CogVideoX-5B": "81.61 82.75 77.04 96.23 96.52 98.66 96.92 70.97 61.98 62.90 "
    "85.23 62.11 99.40 82.81 66.35 53.20 24.91 25.38 27.59",
}


def published(name: str) -> tuple[list[float], dict[str, float]]:
    numbers = [float(word) for word in PUBLISHED[name].split()]
    return numbers[:3], {key: number / 100 for key, number in zip(DIMENSIONS, numbers[3:], strict=True)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_rows_add_up(name):
    """Within 0.0061 points, as the rows are rounded (CogVideoX-5B: quality 82.7560, printed 82.75)."""
    (overall, quality, semantic), scores = published(name)
    result = total(scores)
    assert result.total.exact and not result.missing and not result.impossible
    assert 100 * result.total.low == pytest.approx(overall, abs=0.0061)
    assert 100 * result.quality.low == pytest.approx(quality, abs=0.0061)
    assert 100 * result.semantic.low == pytest.approx(semantic, abs=0.0061)


def test_a_table_that_does_not_add_up_is_seen():
    """A tenth of a point more in one semantic dimension moves Semantic by 0.011: more than rounding."""
    (_, _, semantic), scores = published("Mochi-1")
    moved = total(scores | {"object_class": scores["object_class"] + 0.001})
    assert abs(100 * moved.semantic.low - semantic) > 0.0061


@pytest.mark.parametrize("missing", DIMENSIONS)
def test_missing_dimension_gives_an_interval_that_holds_the_truth_and_the_official_zero(missing):
    (overall, _, _), scores = published("CogVideoX-5B")
    official = total(scores | {missing: 0.0}).total.low
    for absent in (
        {key: value for key, value in scores.items() if key != missing},
        scores | {missing: None},
        scores | {missing: float("nan")},
    ):
        result = total(absent)
        assert result.missing == (missing,) and not result.total.exact
        assert 100 * result.total.low < overall < 100 * result.total.high
        assert result.total.low <= official + 1e-12 and official < result.total.high


def test_width_of_the_interval_is_the_weight_of_the_dimension():
    _, scores = published("Mochi-1")
    result = total(scores | {"dynamic_degree": None})
    assert result.total.high - result.total.low == pytest.approx(0.8 * 0.5 / 6.5)
    assert result.quality.high - result.quality.low == pytest.approx(0.5 / 6.5)
    assert result.semantic.exact
    result = total(scores | {"scene": None})
    assert result.total.high - result.total.low == pytest.approx(0.2 / 9 / 0.8222)


def test_nothing_known_nothing_claimed():
    result = total({})
    assert set(result.missing) == set(DIMENSIONS)
    assert result.total.low < 0.1 and result.total.high > 1


def test_suites_have_the_published_shape():
    vbench, i2v, second = suite("vbench"), suite("vbench-i2v"), suite("vbench-2.0")
    assert [len(s.dimensions) for s in (vbench, i2v, second)] == [16, 9, 18]

    def weight(chosen, group: str) -> float:
        return sum(d.weight for d in chosen.dimensions.values() if d.group == group)

    assert [weight(vbench, "quality"), weight(vbench, "semantic")] == [6.5, 9.0]
    assert [weight(i2v, "i2v"), weight(i2v, "quality")] == [pytest.approx(2.1), 5.5]
    sizes = [sum(d.group == group for d in second.dimensions.values()) for group in second.group_weights]
    assert sizes == [2, 2, 7, 3, 4]


@pytest.mark.parametrize("name", ["vbench", "vbench-i2v", "vbench-2.0"])
def test_maxima_give_one_and_minima_zero(name):
    dimensions = suite(name).dimensions
    assert total({key: d.max for key, d in dimensions.items()}, name).total == pytest.approx((1.0, 1.0))
    assert total({key: d.min for key, d in dimensions.items()}, name).total == pytest.approx((0.0, 0.0))


def test_weights_of_single_dimensions_in_the_other_suites():
    second = {key: 0.0 for key in suite("vbench-2.0").dimensions}
    assert total(second | {"diversity": 1.0}, "vbench-2.0").total.low == pytest.approx(1 / 10)
    assert total(second | {"complex_plot": 1.0}, "vbench-2.0").total.low == pytest.approx(1 / 35)
    i2v = {key: d.min for key, d in suite("vbench-i2v").dimensions.items()}
    del i2v["camera_motion"]
    assert total(i2v | {"Video-Text Camera Motion": 1.0}, "vbench-i2v").total.low == pytest.approx(0.1 / 2.1 / 2)


def test_normalisation_is_not_clipped():
    assert normalise("motion smoothness", 0.9975) == pytest.approx(1.0)
    assert normalise("motion_smoothness", 1.0) == pytest.approx(0.294 / 0.2915)
    assert normalise("Subject-Consistency", 0.0) == pytest.approx(-0.1462 / 0.8538)


def test_odd_scores_are_flagged():
    _, scores = published("Mochi-1")
    result = total(scores | {"motion_smoothness": 0.999, "color": 79.73})
    assert result.out_of_range == ("motion_smoothness", "color")
    assert result.impossible == ("color",)
    assert total(scores).out_of_range == ()


@pytest.mark.parametrize(
    ("scores", "name", "message"),
    [
        ({"subject_consistancy": 0.9}, "vbench", "subject_consistency"),
        ({"temporal flickering": 0.9}, "vbench-i2v", "valid are"),
        ({"color": 0.9, "Color": 0.8}, "vbench", "twice"),
        ({"color": float("inf")}, "vbench", "infinite"),
        ({}, "vbench2", "vbench-2.0"),
    ],
)
def test_bad_scores_are_named(scores, name, message):
    with pytest.raises(UserError, match=message):
        total(scores, name)


def test_flickering_closed_forms():
    black, grey = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 51, np.uint8)
    assert temporal_flickering([grey, grey, grey]) == 1.0
    assert temporal_flickering([black, grey]) == pytest.approx(0.8, abs=1e-7)
    assert temporal_flickering([grey, black]) == pytest.approx(0.8, abs=1e-7)  # no wrap-around of uint8
    assert temporal_flickering(iter([black, grey, grey])) == pytest.approx(0.9, abs=1e-7)
    with pytest.raises(UserError, match="two frames"):
        temporal_flickering([black])


@pytest.mark.network
@pytest.mark.parametrize(
    ("clip", "official"),
    [("bigbuckbunny.mp4", 0.9875890946855732), ("carphone_pristine.mp4", 0.9844355601890414)],
)
def test_flickering_equals_the_official_code(sample_clips, clip, official):
    """Official values: VBench 0.1.5 through its Python interface, on a CPU."""
    assert temporal_flickering(iter_frames(sample_clips / clip)) == official
