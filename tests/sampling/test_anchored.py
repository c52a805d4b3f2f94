"""The anchor of DP-DMD's first step, on fields whose paths are known."""

from __future__ import annotations

import torch

from alice_repro.flow.noise import ClipNoise
from alice_repro.flow.schedule import euler_times
from alice_repro.models.velocity import Counted
from alice_repro.sampling.anchored import AnchoredVelocity, anchor_velocity
from alice_repro.sampling.few_step import few_step_times, sample_few_step
from alice_repro.sampling.teacher import euler_path

CAPTION = torch.zeros(2).long()


def test_a_straight_path_is_its_own_anchor():
    eps, slope = torch.randn(3, 1, 1, 1, 2), torch.randn(3, 1, 1, 1, 2)
    target = anchor_velocity(lambda x, t: slope, eps, euler_times(30, 3.0)[:6])
    torch.testing.assert_close(target, slope)


def test_the_anchor_lies_on_the_teachers_own_grid():
    """v = x: each Euler step multiplies by 1 + dt."""
    times = euler_times(30, 3.0)[:6]
    eps, factor = torch.randn(2, 1, 1, 1, 1), 1.0
    for now, following in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        factor *= 1 + following - now
    torch.testing.assert_close(euler_path(lambda x, t: x, eps, times), factor * eps)
    expected = eps * (1 - factor) / (1 - float(times[-1]))
    torch.testing.assert_close(anchor_velocity(lambda x, t: x, eps, times), expected)


class Constant:
    evaluations = 1

    def __call__(self, x_t, t, caption):
        return torch.full_like(x_t, 0.5)


class Growing:
    """dx/dt = x."""

    evaluations = 1

    def __call__(self, x_t, t, caption):
        return x_t


def draw(velocity, steps=4):
    noise = ClipNoise([3, 4])
    return sample_few_step(velocity, noise, (1, 1, 1, 2), CAPTION, few_step_times(steps, 5.0), "euler")[0]


def test_along_a_straight_field_the_anchor_changes_nothing():
    torch.testing.assert_close(draw(AnchoredVelocity(Constant(), euler_times(30, 3.0)[:6])), draw(Constant()))


def test_only_the_first_step_goes_to_the_anchor():
    times, grid = few_step_times(4, 5.0).tolist(), euler_times(30, 3.0)[:6]
    counted = Counted(Growing())
    seen = draw(AnchoredVelocity(counted, grid))
    eps = ClipNoise([3, 4]).draw((1, 1, 1, 2))
    x = eps + (times[1] - 1) * anchor_velocity(lambda x, t: x, eps, grid)
    for now, following in zip(times[1:], [*times[2:], 0.0], strict=True):
        x = x * (1 + following - now)
    torch.testing.assert_close(seen, x)
    assert counted.spent == (5 + 3) * 2
