"""DMD on Gaussians: its sign, its fixed point, the fake score's minimiser, and the roll-out."""

from __future__ import annotations

import math

import pytest
import torch

from alice_repro.distill.dmd import dmd_gradient, dmd_loss, draw_score_time, fake_score_loss, roll_out
from alice_repro.flow.noise import ClipNoise
from alice_repro.flow.schedule import add_noise, x0_from_velocity
from alice_repro.sampling.few_step import few_step_times, sample_few_step

TEACHER = (torch.tensor([0.8, -0.5]), torch.tensor([0.5, 1.5]))  # mean and standard deviation of two numbers


def column(t):
    return t.view(-1, 1, 1, 1, 1)


def denoise(x_t, t, mean, std):
    """E[x0 | x_t] of independent Gaussians in the last dimension."""
    t = column(t)
    return mean + (1 - t) * std**2 / ((1 - t) ** 2 * std**2 + t**2) * (x_t - (1 - t) * mean)


def draw(count, seed=0):
    return torch.randn(count, 1, 1, 1, 2, generator=torch.Generator().manual_seed(seed))


def test_no_gradient_where_fake_and_teacher_agree():
    x0 = draw(3)
    assert dmd_gradient(x0, x0, draw(3, 1)).abs().max() == 0


def test_gradient_of_the_loss_and_its_normaliser():
    sample, fake, teacher = draw(3), draw(3, 1), draw(3, 2)
    gradient = dmd_gradient(fake, teacher, sample)
    for k in range(3):
        torch.testing.assert_close(gradient[k], (fake[k] - teacher[k]) / (sample[k] - teacher[k]).abs().mean())
    sample.requires_grad_()
    loss = dmd_loss(sample, gradient, step_size=0.5)
    assert loss.item() == pytest.approx((0.5 * gradient).square().sum().item() / 3)
    torch.testing.assert_close(torch.autograd.grad(loss, sample)[0], 2 * 0.5 * gradient / 3)
    same = draw(1)
    assert dmd_gradient(same + 1e-3, same, same).max().item() == pytest.approx(1e-3 / 1e-5, rel=1e-3), "floor, no 0/0"


def test_descent_moves_the_students_mean_and_scale_to_the_teachers():
    mean, log_std = torch.tensor([-1.0, 1.0]), torch.tensor([0.5, -1.0])
    parameters = [mean.requires_grad_(), log_std.requires_grad_()]
    optimizer, generator = torch.optim.Adam(parameters, lr=0.03), torch.Generator().manual_seed(0)

    def error():
        return ((mean - TEACHER[0]).norm() + (log_std.exp() - TEACHER[1]).norm()).item()

    before = error()
    for step in range(300):
        if step == 220:
            optimizer.param_groups[0]["lr"] = 0.005
        sample = mean + log_std.exp() * torch.randn(128, 1, 1, 1, 2, generator=generator)
        t = draw_score_time(128, 3.0, generator)
        with torch.no_grad():
            x_t = add_noise(sample, torch.randn(sample.shape, generator=generator), t)
            fake = denoise(x_t, t, mean, log_std.exp())  # the exact fake score
            gradient = dmd_gradient(fake, denoise(x_t, t, *TEACHER), sample)
        optimizer.zero_grad()
        dmd_loss(sample, gradient).backward()
        optimizer.step()
    assert before > 2.5 and error() < 0.35, error()


def test_fake_score_is_minimal_at_the_posterior_mean_with_the_weight_of_a_velocity():
    mean, std = torch.tensor([0.3, -0.2]), torch.tensor([0.6, 1.2])
    sample, eps = mean + std * draw(20_000), draw(20_000, 1)
    t = torch.full((20_000,), 0.4)

    def loss_at(offset, factor=1.0):
        def fake(x_t, time):
            return (x_t - (denoise(x_t, time, mean + offset, std * factor))) / column(time)

        return fake_score_loss(fake, sample, eps, t).item()

    best = loss_at(0.0)
    assert all(loss_at(*other) > best + 1e-3 for other in [(0.2,), (-0.2,), (0.0, 1.3), (0.0, 0.7)])
    # At the minimum: the posterior variance over sin^2 s, tan s = t / (1 - t).
    posterior = std**2 * 0.4**2 / (0.6**2 * std**2 + 0.4**2)
    assert best == pytest.approx(posterior.sum().item() / math.sin(math.atan2(0.4, 0.6)) ** 2, rel=0.03)


@pytest.mark.parametrize("t", [0.1, 0.5, 0.95])
def test_weight_of_the_fake_score(t):
    sample, eps = draw(1), draw(1, 1)
    loss = fake_score_loss(lambda x, time: torch.zeros_like(x), sample, eps, torch.tensor([t]))
    x_t = add_noise(sample, eps, t)
    sin = t / math.hypot(t, 1 - t)
    assert loss.item() == pytest.approx((sample - x_t).square().sum().item() / sin**2, rel=1e-5)


def test_a_broken_clip_counts_nothing_and_spoils_no_other():
    sample = draw(3).requires_grad_()
    gradient = draw(3, 1)
    gradient[1, ..., 0] = float("nan")
    loss = dmd_loss(sample, gradient)
    assert loss.item() == pytest.approx(gradient[[0, 2]].square().sum().item() / 3)
    through = torch.autograd.grad(loss, sample)[0]
    assert through[1].abs().max() == 0 and torch.isfinite(through).all() and through[0].abs().min() > 0

    weight = torch.tensor(0.5, requires_grad=True)
    mask = torch.ones(3)
    mask[1] = float("inf")
    fake = fake_score_loss(
        lambda x, t: weight * x.detach() + column(mask) - 1, draw(3), draw(3, 2), torch.full((3,), 0.5)
    )
    alone = fake_score_loss(lambda x, t: weight * x, draw(3)[[0, 2]], draw(3, 2)[[0, 2]], torch.full((2,), 0.5))
    torch.testing.assert_close(fake, alone * 2 / 3)
    torch.testing.assert_close(torch.autograd.grad(fake, weight)[0], torch.autograd.grad(alone, weight)[0] * 2 / 3)


def test_score_times_are_shifted_uniform_off_the_ends():
    t = draw_score_time(20_000, 5.0, torch.Generator().manual_seed(0))
    assert 0.02 <= t.min() and t.max() <= 0.98
    assert abs(t.median().item() - 5 * 0.5 / (1 + 4 * 0.5)) < 0.01


class Student:
    """A velocity with a weight for each call, so that a gradient tells which call it came through."""

    evaluations = 1

    def __init__(self, steps):
        self.weights, self.calls = torch.ones(steps, requires_grad=True), 0

    def __call__(self, x, t, caption=None):
        self.calls += 1
        return torch.sin(x) * self.weights[self.calls - 1] + column(t)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_roll_out_is_the_students_sampler_with_gradient_through_the_last_step(steps):
    times, student = few_step_times(4, 5.0)[:steps], Student(steps)
    sample = roll_out(student, ClipNoise([5, 6, 7]), (1, 1, 1, 2), times)
    expected, _ = sample_few_step(Student(steps), ClipNoise([5, 6, 7]), (1, 1, 1, 2), torch.zeros(3).long(), times)
    torch.testing.assert_close(sample.detach(), expected, rtol=0, atol=0)
    gradient = torch.autograd.grad(sample.sum(), student.weights)[0]
    assert gradient[-1] != 0 and (gradient[:-1] == 0).all()


def test_roll_out_ends_at_the_x0_of_the_last_time():
    """Two steps by hand."""
    times = few_step_times(4, 5.0)[:2]
    noise = ClipNoise([3])
    first, second = noise.draw((1, 1, 1, 2)), noise.draw((1, 1, 1, 2))
    field = lambda x, t: torch.sin(x)  # noqa: E731
    x0 = x0_from_velocity(first, torch.sin(first), 1.0)
    x = add_noise(x0, second, float(times[1]))
    expected = x0_from_velocity(x, torch.sin(x), float(times[1]))
    torch.testing.assert_close(roll_out(field, ClipNoise([3]), (1, 1, 1, 2), times), expected)
