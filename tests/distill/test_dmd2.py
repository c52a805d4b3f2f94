"""DMD2 on a mixture of two modes, where reverse KL seeks one; its losses; who learns from which."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from fields import Exact, GaussianStudent, descend, setting

from alice_repro.config import load_recipe
from alice_repro.distill.adversarial import discriminator_loss, generator_loss
from alice_repro.distill.dmd2 import fake_loss, vsd_loss
from alice_repro.distill.method import Progress
from alice_repro.distill.registry import build_method
from alice_repro.errors import UserError

STAGE = replace(load_recipe("dmd2").stages[0], target_steps=1)
START = Progress(0, 0)
MODES = Exact([-2.0, 2.0], 0.4)


def method(**changes):
    return build_method(load_recipe("dmd2", tuple(f"{key}={value}" for key, value in changes.items())), 5.0)


def zeros(generator, count=128):
    return torch.zeros(count)


@pytest.mark.parametrize("start, mode", [(1.0, 2.0), (-1.0, -2.0)])
def test_reverse_kl_seeks_the_nearer_of_two_modes(start, mode):
    """Forward KL would cover both: mean 0, standard deviation 2.04.

    At little noise, that is: where the scores are compared under much, the two modes are one and are covered.
    """
    student = GaussianStudent(start, 0.4)
    descend(method(score_shift=0.3), STAGE, student, MODES, zeros)
    assert student.mean.item() == pytest.approx(mode, abs=0.3) and student.std.item() < 0.8
    descend(method(score_shift=3.0), STAGE, student, MODES, zeros)
    assert student.mean.item() == pytest.approx(0.0, abs=0.5) and student.std.item() > 1.5


def test_one_gaussian_is_matched_in_mean_and_scale():
    student = GaussianStudent(-1.0, 0.3)
    descend(method(), STAGE, student, Exact([1.0], 0.9), zeros)
    assert student.mean.item() == pytest.approx(1.0, abs=0.15)
    assert student.std.item() == pytest.approx(0.9, abs=0.2)


def test_loss_has_the_gradient_it_is_given():
    sample = torch.randn(3, 1, 1, 1, 2).requires_grad_()
    gradient = torch.randn(3, 1, 1, 1, 2)
    loss = vsd_loss(sample, gradient)
    assert loss.item() == pytest.approx(0.5 * gradient.square().mean().item())
    torch.testing.assert_close(torch.autograd.grad(loss, sample)[0], gradient / 6)
    gradient[1, ..., 0] = float("nan")
    through = torch.autograd.grad(vsd_loss(sample, gradient), sample)[0]
    assert through[1].abs().max() == 0 and torch.isfinite(through).all()


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_fake_losses_differ_by_the_square_of_the_time(t):
    sample, eps, time = torch.randn(4, 1, 1, 1, 3), torch.randn(4, 1, 1, 1, 3), torch.full((4,), t)
    x0, v = (fake_loss(lambda x, _: 0.3 * x, sample, eps, time, name).item() for name in ("x0", "velocity"))
    x_t = (1 - t) * sample + t * eps
    assert v == pytest.approx((0.3 * x_t - (eps - sample)).square().mean().item(), rel=1e-5)
    assert x0 == pytest.approx(t**2 * v, rel=1e-4)


@pytest.mark.parametrize("prediction", ["x0", "velocity"])
def test_the_exact_score_of_the_student_is_the_fake_scores_minimum(prediction):
    def loss_of(mean, std):
        networks, batch = setting(GaussianStudent(0.7, 0.5), MODES, torch.zeros(20_000))
        networks.fake = Exact([mean], std)
        return method(fake_prediction=prediction).critic_loss(networks, batch, STAGE, START)[0].item()

    best = loss_of(0.7, 0.5)
    assert all(loss_of(*other) > best + 1e-3 for other in [(0.5, 0.5), (0.9, 0.5), (0.7, 0.8), (0.7, 0.3)])


def test_score_vanishes_where_fake_and_teacher_agree_and_both_see_the_same_point():
    student = GaussianStudent(0.7, 0.5)
    networks, batch = setting(student, Exact([0.7], 0.5), torch.zeros(16))
    loss, watch = method().terms(networks, batch, STAGE, START)["sample"][1]()
    assert loss.item() < 1e-10 and watch["score_gap"] < 1e-4
    (fake_x, fake_t), (teacher_x, teacher_t) = networks.fake.seen[0], networks.teacher.seen[0]
    assert torch.equal(fake_x, teacher_x) and torch.equal(fake_t, teacher_t)


def test_the_critic_is_no_lesson_to_the_student():
    student = GaussianStudent(0.7, 0.5)
    networks, batch = setting(student, MODES, torch.zeros(4))
    learner = GaussianStudent(0.0, 1.0)
    networks.fake, calls = learner, MODES.calls
    method().critic_loss(networks, batch, STAGE, START)[0].backward()
    assert student.mean.grad is None and learner.mean.grad is not None
    assert networks.teacher.calls == calls


def test_a_stages_weight_scales_the_score():
    def gradient(weight):
        student = GaussianStudent(0.0, 1.0)
        networks, batch = setting(student, MODES, torch.zeros(8))
        stage = replace(STAGE, options={"score": weight})
        method().terms(networks, batch, stage, START)["sample"][1]()[0].backward()
        return student.mean.grad.item()

    assert gradient(0.3) == pytest.approx(0.3 * gradient(1.0)) != 0


class Threshold:
    """A discriminator of numbers: x_t above 0 is more like the data."""

    evaluations = 1

    def __init__(self):
        self.slope = torch.tensor(1.0, requires_grad=True)

    def __call__(self, x_t, t, caption):
        return self.slope * x_t.flatten(1).mean(1)


def test_the_adversarial_term_drives_samples_to_where_the_data_are_thought_to_be():
    student = GaussianStudent(0.7, 0.5)
    networks, batch = setting(student, Exact([0.7], 0.5), torch.zeros(64))  # the score term is at rest
    networks.discriminator = Threshold()
    loss, log = method(gan_features="fake", gan_weight=0.5).terms(networks, batch, STAGE, START)["sample"][1]()
    loss.backward()
    assert student.mean.grad < -0.01 and log["adversarial_gradient_at_sample"] > 0
    assert loss.item() == pytest.approx(0.5 * log["adversarial_loss"], rel=1e-4)


def test_the_critic_trains_the_discriminator_to_tell_data_from_samples():
    networks, batch = setting(GaussianStudent(-1.0, 0.1), MODES, torch.ones(256))
    networks.discriminator = Threshold()
    method(gan_features="fake", gan_weight=0.03).critic_loss(networks, batch, STAGE, START)[0].backward()
    loss, log = method(gan_features="fake", gan_weight=0.03).critic_loss(networks, batch, STAGE, START)
    assert loss.item() == pytest.approx(log["fake_loss"] + log["discriminator_loss"]) and log["fake_loss"] > 0
    assert networks.discriminator.slope.grad < 0  # steeper is better: the data lie above the samples


def test_adversarial_losses_at_known_logits():
    zero, one = torch.zeros(3), torch.ones(3)
    assert generator_loss(zero).item() == pytest.approx(math.log(2))
    assert discriminator_loss(zero, zero).item() == pytest.approx(2 * math.log(2))
    assert generator_loss(one).item() == pytest.approx(math.log(1 + math.exp(-1)))
    assert discriminator_loss(one, -one).item() == pytest.approx(2 * math.log(1 + math.exp(-1)))
    assert discriminator_loss(-one, one).item() == pytest.approx(2 * math.log(1 + math.e))


@pytest.mark.parametrize(
    "option, near",
    [
        ("student_input=rolout", "'rollout'"),
        ("fake_prediction=velocty", "'velocity'"),
        ("gan_features=fak", "'fake'"),
        ("gan_features=fake", "needs features and a weight above 0"),
        ("gan_weight=0.03", "needs features and a weight above 0"),
    ],
)
def test_unknown_options_are_user_errors(option, near):
    with pytest.raises(UserError, match=near):
        build_method(load_recipe("dmd2", (option,)), 5.0)
