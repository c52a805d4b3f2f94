"""DFD on Gaussians: what the two readings of Eq. 8 do at the optimum, what reaches the teacher, and how often."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from fields import Exact, GaussianStudent, descend, setting

from alice_repro.config import load_recipe
from alice_repro.distill.dfd import dfd_gradient
from alice_repro.distill.method import Batch, Networks, Progress
from alice_repro.distill.registry import build_method
from alice_repro.errors import UserError
from alice_repro.flow.schedule import add_noise

START = Progress(0, 0)
NUMBERS = 4096  # in a clip, so that mean|G - x0_teacher| is its expectation


def method(form="x0", **changes):
    settings = (f"form={form}", *(f"{key}={value}" for key, value in changes.items()))
    return build_method(load_recipe("dfd", settings), 5.0)


def stage(p, steps=1):
    recipe = load_recipe("dfd", (f"stages.1.data_forcing={p}",))
    return replace(recipe.stages[1], target_steps=steps)


@pytest.mark.parametrize("form, shift", [("x0", 0.0), ("score", -1.0)])
@pytest.mark.parametrize("t", [0.3, 0.6, 0.9])
def test_drift_of_the_scale_at_the_optimum(form, shift, t):
    """Student and data N(0, 1), independent: E[g z] is (1-t)^2 / ((1-t)^2 + t^2), in the score form that less 1.

    DMD's is 0. So the mean of Delta being 0 (DFD Eq. 11) does not make the gradient unbiased: x0 shrinks, score
    spreads.
    """
    generator = torch.Generator().manual_seed(0)
    z, x, eps = (torch.randn(32, 1, 1, 1, NUMBERS, generator=generator) for _ in range(3))
    networks = Networks(None, None, Exact([0.0], 1.0), Exact([0.0], 1.0))
    batch, time = Batch(x, torch.zeros(32).long(), generator), torch.full((32,), t)
    g, watch = method(form).gradient(networks, batch, stage(1.0), z, eps, time)
    spread = (1 - t) ** 2 + t**2
    scale = math.sqrt(2 / math.pi) * math.sqrt(1 + (1 - t) ** 2 / spread)
    assert float((g * z).mean()) * scale == pytest.approx((1 - t) ** 2 / spread + shift, abs=0.01)
    assert watch["validity"] == pytest.approx(2.0, abs=0.02)
    dmd, _ = method(form).gradient(networks, batch, stage(0.0), z, eps, time)
    assert float((dmd * z).mean()) == pytest.approx(0.0, abs=1e-6)


def test_the_teacher_sees_the_clip_and_the_fake_score_the_sample_with_the_same_noise():
    networks = Networks(None, None, Exact([0.0], 1.0), Exact([0.5], 1.0))
    sample, x, eps, t = torch.zeros(3, 1, 1, 1, 2), torch.ones(3, 1, 1, 1, 2), torch.randn(3, 1, 1, 1, 2), torch.rand(3)
    batch = Batch(x, torch.zeros(3).long(), torch.Generator())
    method().gradient(networks, batch, stage(1.0), sample, eps, t)
    assert torch.equal(networks.teacher.seen[0][0], add_noise(x, eps, t))
    assert torch.equal(networks.fake.seen[0][0], add_noise(sample, eps, t))
    assert torch.equal(networks.teacher.seen[0][1], networks.fake.seen[0][1])


def test_the_forms_differ_by_the_distance_of_sample_and_clip():
    fake, teacher, sample, x = (torch.randn(2, 1, 1, 1, 5) for _ in range(4))
    x0, score = (dfd_gradient(fake, teacher, sample, x, form) for form in ("x0", "score"))
    scale = (sample - teacher).abs().mean((1, 2, 3, 4), keepdim=True)
    torch.testing.assert_close(x0, (fake - teacher) / scale)
    torch.testing.assert_close(score, (fake - teacher - (sample - x)) / scale)


@pytest.mark.parametrize("p, end", [(0.0, 2.0), (1.0, -1.4)])
def test_data_forcing_leaves_the_mode_that_dmd_keeps(p, end):
    """From the smaller mode of a 3 : 1 mixture, scores at little noise: DMD stays, data draw it to the larger mode.

    Not to their mean: divided by mean|G - x0_teacher|, every clip pulls alike, however far it is, as for a median.
    """
    student = GaussianStudent(2.0, 0.4)

    def mostly_the_other(generator, count=128):
        return torch.where(torch.rand(count, generator=generator) < 0.75, -2.0, 2.0)

    settings = ("student_input=rollout", "score_shift=0.3")
    teacher = Exact([-2.0, -2.0, -2.0, 2.0], 0.4)
    descend(build_method(load_recipe("dfd", settings), 5.0), stage(p), student, teacher, mostly_the_other)
    assert student.mean.item() == pytest.approx(end, abs=0.4) and student.std.item() < 1.0


def test_the_share_of_forced_updates_is_p_and_is_drawn_from_what_all_processes_share():
    def forced(seed, private):
        networks, batch = setting(GaussianStudent(0.0, 1.0), Exact([0.0], 1.0), torch.zeros(2), seed=private)
        batch.shared.manual_seed(seed)
        return method().terms(networks, batch, stage(0.5), START)["sample"][1]()[1]["data_forcing"]

    drawn = [forced(seed, 0) for seed in range(200)]
    assert 0.4 < sum(drawn) / 200 < 0.6
    assert drawn[:20] == [forced(seed, 1) for seed in range(20)]


def test_a_perfect_pair_leaves_dmd():
    """x = G: the teacher sees the same point, and both readings are DMD2."""
    sample, eps, t = torch.randn(4, 1, 1, 1, 3), torch.randn(4, 1, 1, 1, 3), torch.rand(4).clamp(0.1, 0.9)
    networks = Networks(None, None, Exact([1.0], 1.0), Exact([0.0], 1.0))
    batch = Batch(sample, torch.zeros(4).long(), torch.Generator())
    dmd, _ = method().gradient(networks, batch, stage(0.0), sample, eps, t)
    for form in ("x0", "score"):
        g, watch = method(form).gradient(networks, batch, stage(1.0), sample, eps, t)
        torch.testing.assert_close(g, dmd)
        assert watch["validity"] == 0


def test_what_is_no_probability_or_no_form_is_refused():
    with pytest.raises(UserError, match="stage dfd: 'data_forcing' must be from 0 to 1"):
        build_method(load_recipe("dfd", ("stages.1.data_forcing=1.5",)), 5.0)
    with pytest.raises(UserError, match="'score'"):
        method("scor")
