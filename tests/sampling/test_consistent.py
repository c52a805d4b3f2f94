"""The solved consistency function, on fields whose paths are known."""

from __future__ import annotations

import math

import pytest
import torch

from alice_repro.flow.noise import ClipNoise
from alice_repro.flow.schedule import x0_from_velocity
from alice_repro.models.velocity import Counted, ExactVelocity
from alice_repro.sampling.agreement import prediction_spread, trajectory_points
from alice_repro.sampling.consistent import ConsistentVelocity
from alice_repro.sampling.few_step import few_step_times, sample_few_step
from alice_repro.sampling.teacher import sample_euler

CAPTION = torch.zeros(4).long()


class Decay:
    """dx/dt = x: the path from x at t ends in x exp(-t)."""

    evaluations = 2

    def __call__(self, x_t, t, caption):
        return x_t


@pytest.mark.parametrize("t", [1.0, 0.625, 0.3])
def test_it_predicts_the_end_of_the_path(t):
    x, times = torch.randn(4, 1, 2, 2, 2), torch.full((4,), t)
    v = ConsistentVelocity(Decay(), 4000, 1.0)(x, times, CAPTION)
    torch.testing.assert_close(x0_from_velocity(x, v, times), x * math.exp(-t), rtol=1e-3, atol=1e-5)


def test_one_step_of_it_is_the_teachers_own_sample():
    torch.manual_seed(0)
    teacher = ExactVelocity(torch.randn(1, 5, 2, 2, 2, 2), 0.05)
    eps = torch.randn(4, 2, 2, 2, 2)
    expected, _ = sample_euler(teacher, eps, CAPTION, 50, 5.0)
    counted = Counted(teacher)
    v = ConsistentVelocity(counted, 50, 5.0)(eps, torch.ones(4), CAPTION)
    torch.testing.assert_close(eps - v, expected, rtol=1e-4, atol=1e-4)
    assert counted.spent == 50 * 4


def test_its_predictions_agree_along_the_teachers_path_and_the_teachers_do_not():
    torch.manual_seed(0)
    teacher = ExactVelocity(torch.randn(1, 5, 2, 2, 2, 2), 0.05)
    times = few_step_times(4, 5.0).tolist()
    points = trajectory_points(teacher, torch.randn(4, 2, 2, 2, 2), CAPTION, times, 400)
    solved = prediction_spread(ConsistentVelocity(teacher, 400, 1.0), points, CAPTION, times)
    own = prediction_spread(teacher, points, CAPTION, times)
    assert solved.max() < 0.05 < 0.5 * own.mean()


def test_a_few_steps_of_it_give_clips_of_the_teachers_distribution():
    torch.manual_seed(0)
    clips = torch.randn(1, 5, 2, 2, 2, 2)
    solved = ConsistentVelocity(ExactVelocity(clips, 0.01), 200, 5.0)
    clean, _ = sample_few_step(solved, ClipNoise([1, 2, 3, 4]), (2, 2, 2, 2), CAPTION, few_step_times(4, 5.0))
    nearest = (clean[:, None] - clips[0]).flatten(2).norm(dim=2).min(dim=1).values
    assert nearest.max() < 0.3
