"""Diversity over the videos of a prompt: closed forms, what it does not depend on, and frames picked from a stream."""

from __future__ import annotations

import numpy as np
import pytest

from alice_repro.errors import UserError
from alice_repro.evaluation.diversity import (
    SpacedFrames,
    frame_positions,
    mean_diversity,
    pair_distances,
    per_frame_diversity,
    stack_videos,
)

BOTH = (mean_diversity, per_frame_diversity)


@pytest.fixture
def videos():
    return np.random.default_rng(0).normal(1.0, 1.0, (8, 5, 16))


@pytest.mark.parametrize("measure", BOTH)
def test_same_videos_have_none_and_orthogonal_ones_have_one(measure, videos):
    assert measure(np.repeat(videos[:1, :1], 8, axis=0).repeat(5, axis=1)) == pytest.approx(0.0, abs=1e-12)
    assert measure(np.repeat(np.eye(8)[:, None], 5, axis=1)) == pytest.approx(1.0, abs=1e-12)
    opposite = np.array([[[1.0, 0.0]], [[-1.0, 0.0]]])
    assert measure(opposite) == pytest.approx(2.0, abs=1e-12)


def test_every_pair_counts_once():
    angles = np.deg2rad([0.0, 30.0, 90.0])
    features = np.column_stack([np.cos(angles), np.sin(angles)])
    expected = 1 - np.cos(np.deg2rad([30.0, 90.0, 60.0]))
    np.testing.assert_allclose(pair_distances(features), expected, atol=1e-12)
    assert mean_diversity(features[:, None]) == pytest.approx(expected.mean())
    assert len(pair_distances(np.eye(8))) == 28


@pytest.mark.parametrize("measure", BOTH)
def test_neither_order_nor_length_of_features_matters(measure, videos):
    assert measure(videos[::-1]) == pytest.approx(measure(videos))
    scale = np.linspace(0.1, 9.0, 8)[:, None, None]
    assert measure(videos * scale) == pytest.approx(measure(videos))
    assert mean_diversity(videos[:, ::-1]) == pytest.approx(mean_diversity(videos))


def test_averaging_hides_what_frames_show():
    """Two videos of the same two pictures in opposite order: equal on average, orthogonal frame by frame."""
    videos = np.stack([np.eye(2), np.eye(2)[::-1]])
    assert mean_diversity(videos) == pytest.approx(0.0)
    assert per_frame_diversity(videos) == pytest.approx(1.0)
    assert per_frame_diversity(videos, "all") == pytest.approx(0.5)


def test_all_pairs_of_frames_are_those_of_a_loop(videos):
    unit = videos / np.linalg.norm(videos, axis=-1, keepdims=True)
    loop = [1 - a @ b for i in range(8) for j in range(i) for a in unit[i] for b in unit[j]]
    assert per_frame_diversity(videos, "all") == pytest.approx(np.mean(loop))


def test_a_bright_frame_outweighs_the_others_unless_frames_are_scaled():
    loud = np.array([[[100.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    assert mean_diversity(loud) == pytest.approx(1 - 1 / np.sqrt(100**2 + 1))
    assert mean_diversity(loud, unit_frames=True) == pytest.approx(1 - 1 / np.sqrt(2))


def test_what_has_no_direction_is_refused(videos):
    for bad in (0.0, np.nan):
        videos[3, 2] = bad
        with pytest.raises(UserError, match="zero or not finite"):
            per_frame_diversity(videos)
    with pytest.raises(UserError, match=r"\(5, 16\) and \(8, 16\).*same settings"):
        stack_videos([np.ones((5, 16)), np.ones((8, 16))])
    with pytest.raises(UserError, match="did you mean 'same'"):
        per_frame_diversity(videos, "sam")


def picked(length: int, count: int, spacing: str = "ends", room: int = 128) -> list[int]:
    frames = SpacedFrames(lambda frame: frame, room)
    for i in range(length):
        frames.see(np.array(i))
        assert len(frames.kept) <= room
    return [int(frame) for frame in frames.pick(count, spacing)]


def test_frames_are_evenly_spaced():
    assert picked(81, 8) == [0, 11, 23, 34, 46, 57, 69, 80]
    assert picked(80, 4, "middle") == [10, 30, 50, 70]  # halves round up
    assert picked(1, 3) == [0, 0, 0] and picked(2, 3) == [0, 1, 1]
    assert picked(9, 1, "middle") == [4]


@pytest.mark.parametrize("length", [129, 600, 5000])
def test_long_videos_are_thinned_within_bounds(length):
    for spacing in ("ends", "middle"):
        wanted = frame_positions(length, 8, spacing)
        assert np.abs(np.array(picked(length, 8, spacing)) - wanted).max() < 2 * length / 128
