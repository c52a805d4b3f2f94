"""DP-DMD: the anchor on teachers whose paths are known, and which step learns from which term."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fields import Exact, column

from alice_repro.config import load_recipe
from alice_repro.distill.method import Batch, Networks, Progress
from alice_repro.distill.registry import build_method
from alice_repro.errors import UserError
from alice_repro.sampling.anchored import AnchoredVelocity, anchor_times
from alice_repro.sampling.few_step import few_step_times

RECIPE = load_recipe("dp_dmd")
STAGE = RECIPE.stages[0]
START = Progress(0, 0)


class PerStep:
    """A student with one slope for pure noise and another for all later times."""

    evaluations = 1

    def __init__(self):
        self.first, self.later = (torch.tensor(value, requires_grad=True) for value in (0.2, 0.3))
        self.times = []

    def __call__(self, x_t, t, caption):
        self.times.append(float(t[0]))
        return torch.where(column(t) == 1, self.first, self.later) * x_t


def run(term, seed=0):
    student = PerStep()
    networks = Networks(student, student, Exact([1.0], 0.5), Exact([0.0], 0.5))
    batch = Batch(torch.zeros(8, 1, 1, 1, 1), torch.zeros(8).long(), torch.Generator().manual_seed(seed))
    batch.shared.manual_seed(seed)
    terms = build_method(RECIPE, 5.0).terms(networks, batch, STAGE, START)
    assert list(terms) == ["anchor", "sample"] and terms["anchor"][0] == 0.05
    terms[term][1]()[0].backward()
    return student


def test_the_first_step_learns_from_the_anchor_alone():
    student = run("anchor")
    assert student.first.grad.abs() > 0 and not student.later.grad and student.times == [1.0]


@pytest.mark.parametrize("seed", range(6))
def test_the_later_steps_learn_from_the_score_alone(seed):
    student = run("sample", seed)
    assert student.later.grad.abs() > 0 and not student.first.grad
    expected = few_step_times(4, 5.0).float().tolist()
    assert 2 <= len(student.times) <= 4 and student.times == pytest.approx(expected[: len(student.times)])


def test_every_later_step_is_trained():
    assert {len(run("sample", seed).times) for seed in range(30)} == {2, 3, 4}


def test_a_first_step_that_leads_to_the_anchor_has_no_loss():
    options, teacher = RECIPE.options, Exact([1.0, -2.0], 0.5)
    times = anchor_times(options["anchor_steps"], options["anchor_grid"], options["anchor_shift"])
    student = AnchoredVelocity(Exact([1.0, -2.0], 0.5), times)

    def loss_of(student):
        networks = Networks(student, student, teacher, Exact([0.0], 0.5))
        batch = Batch(torch.zeros(8, 1, 1, 1, 1), torch.zeros(8).long(), torch.Generator().manual_seed(0))
        return build_method(RECIPE, 5.0).terms(networks, batch, STAGE, START)["anchor"][1]()[0].item()

    assert loss_of(student) == 0 and loss_of(lambda x, t, caption: -student(x, t, caption)) > 0.1


def test_what_cannot_be_is_refused():
    with pytest.raises(UserError, match="anchor_steps must be at most"):
        build_method(load_recipe("dp_dmd", ("anchor_steps=31",)), 5.0)
    with pytest.raises(UserError, match="2 or more steps"):
        build_method(replace(RECIPE, stages=(replace(STAGE, target_steps=1),)), 5.0)
