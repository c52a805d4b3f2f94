"""Regression: its minimiser is the mean, and at which times the student is asked."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fields import Exact, GaussianStudent, descend

from alice_repro.config import load_recipe
from alice_repro.distill.method import Batch, Networks, Progress
from alice_repro.distill.registry import build_method
from alice_repro.distill.regression import regression_loss
from alice_repro.distill.student_input import student_sample
from alice_repro.errors import UserError
from alice_repro.sampling.few_step import few_step_times

RECIPE = load_recipe("regression")
STAGE = RECIPE.stages[0]
TIMES = few_step_times(4, 5.0).float()


def two_modes(generator, count=256):
    """-1 with probability 1/4, 3 with 3/4, a little spread: the mean is 2."""
    return torch.where(torch.rand(count, generator=generator) < 0.25, -1.0, 3.0)


def method(student_input):
    return build_method(load_recipe("regression", (f"student_input={student_input}",)), 5.0)


def test_loss_is_the_squared_distance():
    x0 = torch.zeros(2, 1, 1, 1, 2)
    sample = torch.tensor([[1.0, 2.0], [3.0, 0.0]]).view(2, 1, 1, 1, 2).requires_grad_()
    loss = regression_loss(sample, x0)
    assert loss.item() == (1 + 4 + 9) / 2
    torch.testing.assert_close(torch.autograd.grad(loss, sample)[0], sample.detach())
    broken = torch.tensor([[1.0, float("nan")], [3.0, 0.0]]).view(2, 1, 1, 1, 2)
    assert regression_loss(broken, x0).item() == 9 / 2


def test_from_noise_the_student_ends_at_the_mean_and_gives_one_answer():
    student = GaussianStudent(-1.0, 1.0)
    one_step = replace(STAGE, target_steps=1)
    descend(method("rollout"), one_step, student, None, two_modes, steps=250, rate=0.08)
    assert student.mean.item() == pytest.approx(2.0, abs=0.15) and student.std.item() < 0.15


def test_the_exact_denoiser_is_the_minimiser():
    def loss_of(field):
        data = two_modes(torch.Generator().manual_seed(0), 20_000).view(-1, 1, 1, 1, 1)
        batch = Batch(data, torch.zeros(len(data)).long(), torch.Generator().manual_seed(1))
        networks = Networks(field, field, None, None)
        return method("noised").terms(networks, batch, STAGE, Progress(0, 0))["regression"][1]()[0].item()

    # An even mixture of -1, 3, 3, 3.
    best = loss_of(Exact([-1.0, 3.0, 3.0, 3.0], 1e-3))
    for other in ([-1.0, 3.0], [-0.8, 3.2, 3.2, 3.2], [2.0]):
        assert loss_of(Exact(other, 1e-3)) > best + 0.02, other


class Watched:
    evaluations = 1

    def __init__(self):
        self.times = []

    def __call__(self, x_t, t, caption):
        self.times.append(t)
        return 0.5 * x_t


def sample_once(student_input, seed, count=200):
    student, generator = Watched(), torch.Generator().manual_seed(seed)
    batch = Batch(torch.zeros(count, 1, 1, 1, 1), torch.zeros(count).long(), generator)
    batch.shared.manual_seed(seed)
    student_sample(Networks(student, student, None, None), batch, 4, 5.0, student_input)
    return [sorted(set(t.tolist())) for t in student.times]


def test_noised_clips_have_the_times_of_all_steps_in_one_call():
    assert sample_once("noised", 0) == [sorted(TIMES.tolist())]


def test_a_roll_out_stops_at_a_step_that_the_shared_generator_draws():
    lengths = []
    for seed in range(40):
        seen = sample_once("rollout", seed, 2)
        assert seen == [[t] for t in TIMES.tolist()[: len(seen)]]
        lengths.append(len(seen))
    assert set(lengths) == {1, 2, 3, 4}


def test_unknown_input_is_a_user_error():
    with pytest.raises(UserError, match="'rollout'"):
        method("roll_out")


def test_there_is_no_critic():
    assert not method("noised").has_critic
    with pytest.raises(TypeError, match="method regression has no critic"):
        method("noised").critic_loss(None, None, STAGE, Progress(0, 0))
