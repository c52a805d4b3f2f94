"""Agreement of predictions along a path, on fields whose predictions are known."""

from __future__ import annotations

import pytest
import torch

from alice_repro.sampling.agreement import prediction_spread, trajectory_points

TIMES = [1.0, 0.9375, 0.8333, 0.625]
CAPTION = torch.zeros(3).long()


class Straight:
    """Every point flows straight to one clip: dx/dt = (x - clip) / t, whose prediction is the clip at every time."""

    evaluations = 1

    def __init__(self, clip):
        self.clip = clip

    def __call__(self, x_t, t, caption):
        return (x_t - self.clip) / t.view(-1, 1, 1, 1, 1)


def test_a_consistent_field_has_no_spread_and_its_path_is_straight():
    clip, eps = torch.randn(3, 1, 2, 2, 2), torch.randn(3, 1, 2, 2, 2)
    points = trajectory_points(Straight(clip), eps, CAPTION, TIMES, 50)
    for t, x in zip(TIMES, points, strict=True):
        torch.testing.assert_close(x, (1 - t) * clip + t * eps, rtol=1e-4, atol=1e-5)
    assert prediction_spread(Straight(clip), points, CAPTION, TIMES).max() < 1e-4


def test_the_spread_of_known_predictions():
    """Predictions c, c, -c, -c and then c, c, c, -c: mean 0.5 c, mean square distance 0.75 c^2."""
    values = iter([1.0, 1.0, 1.0, -1.0])

    def field(x_t, t, caption):
        return (x_t - next(values) * torch.ones_like(x_t)) / t.view(-1, 1, 1, 1, 1)

    spread = prediction_spread(field, [torch.randn(3, 1, 1, 1, 2)] * 4, CAPTION, TIMES)
    torch.testing.assert_close(spread, torch.full((3,), 0.75**0.5 / 0.5))


def test_another_networks_path_may_be_used():
    """The student is asked on the teacher's path: the spread is that of its own predictions."""
    points = trajectory_points(Straight(torch.zeros(3, 1, 1, 1, 2)), torch.randn(3, 1, 1, 1, 2), CAPTION, TIMES, 20)
    assert prediction_spread(Straight(torch.ones(3, 1, 1, 1, 2)), points, CAPTION, TIMES).max() == pytest.approx(
        0, abs=1e-5
    )
