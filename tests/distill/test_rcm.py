"""The methods: which terms a stage has, with which weights, on which networks, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fields import Exact, GaussianStudent
from fields import setting as gaussian_setting

from alice_repro.config import load_recipe
from alice_repro.distill.method import Batch, Networks, Progress
from alice_repro.distill.registry import build_method
from alice_repro.sampling.few_step import few_step_times

RECIPE = load_recipe("rcm")
FIRST, SECOND = RECIPE.stages
START = Progress(student=0, critic=0)


class Field:
    """A velocity that counts its calls and remembers its times."""

    evaluations = 1

    def __init__(self, factor):
        self.factor, self.calls, self.times = torch.tensor(factor, requires_grad=True), 0, []

    def __call__(self, x_t, t, caption):
        self.calls += 1
        if not torch._C._functorch.is_functorch_wrapped_tensor(t):
            self.times.append(t.detach().clone())
        return self.factor * x_t + 0.1 * caption.view(-1, 1, 1, 1, 1)


def setting(count=4, seed=0):
    networks = Networks(Field(0.3), Field(0.35), Field(0.8), Field(0.5))
    generator = torch.Generator().manual_seed(seed)
    x0 = torch.randn(count, 1, 2, 2, 2, generator=generator)
    return networks, Batch(x0, torch.arange(count), generator)


def method_of(**changes):
    return build_method(load_recipe("rcm", tuple(f"{key}={value}" for key, value in changes.items())), 5.0)


def test_stage_one_is_consistency_alone():
    networks, batch = setting()
    method = method_of()
    terms = method.terms(networks, batch, FIRST, START)
    assert list(terms) == ["consistency"] and terms["consistency"][0] == 100.0
    loss, watch = terms["consistency"][1]()
    assert loss.requires_grad and "df_ds" in watch
    assert networks.fake.calls == 0 and networks.average.calls == 0 and networks.teacher.calls == 1


def test_stage_two_has_both_terms_at_100_to_1():
    method = method_of()
    networks, batch = setting()
    terms = method.terms(networks, batch, SECOND, START)
    assert {name: weight for name, (weight, _) in terms.items()} == {"consistency": 100.0, "score": 1.0}
    assert method.has_critic
    halved = load_recipe("rcm", ("stages.1.consistency=0.5", "stages.1.score=0.05")).stages[1]
    assert [weight for weight, _ in method.terms(networks, batch, halved, START).values()] == [50.0, 0.05]


@pytest.mark.parametrize("name, terms, critic", [("scm", ["consistency"], False), ("dmd", ["score"], True)])
def test_each_term_alone_is_a_method(name, terms, critic):
    recipe = load_recipe(name)
    method, stage = build_method(recipe, 5.0), recipe.stages[0]
    networks, batch = setting()
    assert list(method.terms(networks, batch, stage, START)) == terms and method.has_critic == critic
    if name == "scm":
        with pytest.raises(TypeError, match="no critic"):
            method.critic_loss(networks, batch, stage, START)


def test_the_score_term_compares_fake_and_teacher():
    networks, batch = setting()
    loss, watch = method_of().terms(networks, batch, SECOND, START)["score"][1]()
    assert networks.fake.calls == networks.teacher.calls == 1 and networks.student.calls == 1
    assert torch.equal(networks.fake.times[0], networks.teacher.times[0]) and watch["score_gap"] > 0
    assert networks.fake.factor.grad is None and loss.requires_grad
    loss.backward()
    assert networks.student.factor.grad is not None and networks.teacher.factor.grad is None


def test_score_vanishes_where_the_fake_score_is_the_teacher():
    networks, batch = setting()
    networks.fake = networks.teacher
    loss, _ = method_of().terms(networks, batch, SECOND, START)["score"][1]()
    assert loss.item() == 0


@pytest.mark.parametrize("done", range(6))
def test_roll_outs_cycle_through_one_to_four_steps(done):
    """The student's phase by the student's count, the critic's by its own."""
    times = few_step_times(4, 5.0).float()
    networks, batch = setting()
    method = method_of()
    method.terms(networks, batch, SECOND, Progress(student=done, critic=0))["score"][1]()
    assert [float(t[0]) for t in networks.student.times] == pytest.approx(times[: done % 4 + 1].tolist())
    networks, batch = setting()
    method.critic_loss(networks, batch, SECOND, Progress(student=0, critic=done))
    assert networks.student.calls == done % 4 + 1


def test_the_critic_learns_and_the_student_does_not():
    networks, batch = setting()
    method_of().critic_loss(networks, batch, SECOND, START)[0].backward()
    assert networks.fake.factor.grad is not None and networks.student.factor.grad is None


def test_the_ramp_grows_with_the_students_updates(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "alice_repro.distill.rcm.scm_loss",
        lambda student, teacher, x0, eps, s, ramp, constant: seen.append((ramp, constant)) or (x0.sum(), {}),
    )
    networks, batch = setting()
    for warmup, done in ((40, 0), (40, 10), (40, 400), (0, 0)):
        method = method_of(tangent_warmup=warmup, norm_constant=0.2)
        method.terms(networks, batch, FIRST, Progress(done, 0))["consistency"][1]()
    assert seen == [(0.0, 0.2), (0.25, 0.2), (1.0, 0.2), (1.0, 0.2)]


def test_alices_form_uses_the_average_and_the_student_for_its_own_score():
    networks, batch = setting()
    method = method_of(form="alice")
    assert not method.has_critic
    networks.fake = None
    terms = method.terms(networks, batch, SECOND, START)
    terms["consistency"][1]()
    assert networks.average.calls == 1
    before = networks.student.calls
    terms["score"][1]()
    assert networks.student.calls == before + 2  # the sample, and its "score"


def test_alices_step_size_scales_the_score():
    losses = []
    for step in (1.0, 0.5):
        networks, batch = setting()
        losses.append(method_of(step_size=step).terms(networks, batch, SECOND, START)["score"][1]()[0].item())
    assert losses[1] == pytest.approx(losses[0] / 4)


def test_terms_depend_on_the_generator_alone():
    def once(seed):
        networks, batch = setting(seed=seed)
        terms = method_of().terms(networks, batch, SECOND, START)
        return [term()[0].item() for _, term in terms.values()]

    torch.manual_seed(0)
    first = once(3)
    torch.manual_seed(1)
    assert once(3) == first != once(4)


@pytest.mark.parametrize("name", ["dmd", "rcm"])
def test_the_score_term_moves_the_student_to_the_teacher(name):
    """A Gaussian student of one step and a Gaussian teacher: with fake and teacher swapped it would run away."""
    recipe = load_recipe(name)
    method, stage = build_method(recipe, 5.0), replace(recipe.stages[-1], target_steps=1)
    student = GaussianStudent(-1.0, 0.3)
    optimizer = torch.optim.Adam(student.parameters, lr=0.03)
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 0.03 * min(1.0, 4 * (1 - step / 300))
        networks, batch = gaussian_setting(student, Exact([1.0], 0.9), torch.zeros(256), seed=step)
        optimizer.zero_grad()
        method.terms(networks, batch, stage, Progress(step, 0))["score"][1]()[0].backward()
        optimizer.step()
    assert student.mean.item() == pytest.approx(1.0, abs=0.15)
    assert student.std.item() == pytest.approx(0.9, abs=0.2)
