"""AVD: its weights and means at known losses, the temporal loss of known clips, and what is kept for a resumed run."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from fields import Exact, GaussianStudent, setting

from alice_repro.config import load_recipe
from alice_repro.distill.avd import adaptive_weight, temporal_loss
from alice_repro.distill.method import Batch, Networks, Progress
from alice_repro.distill.registry import build_method
from alice_repro.errors import UserError
from alice_repro.sampling.few_step import few_step_times

START = Progress(0, 0)


def method(**changes):
    return build_method(load_recipe("avd", tuple(f"{key}={value}" for key, value in changes.items())), 5.0)


STAGE = replace(load_recipe("avd").stages[0], target_steps=1)


@pytest.mark.parametrize("distance, weight", [(0.0, 0.5), (0.3, 0.289050), (-0.3, 0.710950), (0.7, 0.109097)])
def test_weights_of_eq_7(distance, weight):
    """1 - sigmoid(3 d)."""
    given = adaptive_weight(torch.tensor([2.0 + distance]), torch.tensor(2.0), 3.0)
    assert given.item() == pytest.approx(weight, abs=1e-5)


@pytest.mark.parametrize("amplitude", [0.1, 1.0, 3.0])
def test_temporal_loss_of_an_alternating_clip(amplitude):
    """Frames +a, -a, +a, -a: variance a^2."""
    frames = amplitude * torch.tensor([1.0, -1.0, 1.0, -1.0])
    clip = frames.view(1, 1, 4, 1, 1).expand(2, 3, 4, 2, 2)
    assert temporal_loss(clip, -10.0).item() == pytest.approx(-math.log(amplitude**2 + 1e-6), rel=1e-5, abs=1e-6)


def test_temporal_loss_spreads_frozen_clips_and_stops_at_the_cut_off():
    clip = (0.1 * torch.randn(1, 1, 5, 2, 2, generator=torch.Generator().manual_seed(0))).requires_grad_()
    loss = temporal_loss(clip, 0.6)
    (gradient,) = torch.autograd.grad(loss, clip)
    assert temporal_loss(clip - 0.01 * gradient, 0.6) < loss  # a step down spreads the frames
    assert temporal_loss(clip, loss.item() + 0.1).item() == 0
    assert torch.autograd.grad(temporal_loss(clip, loss.item() + 0.1), clip)[0].abs().max() == 0
    frozen = torch.ones(1, 1, 5, 2, 2)
    assert temporal_loss(frozen, 0.6).item() == pytest.approx(-math.log(1e-6), rel=1e-4)


def weights(way, errors, steps):
    one = torch.ones(len(errors), dtype=torch.bool)
    _, batch = setting(GaussianStudent(0, 1), Exact([0.0], 1.0), torch.zeros(len(errors)))
    return way._weights(torch.tensor(errors), torch.tensor(steps), one, batch)


def test_the_papers_means_start_at_zero_and_weigh_before_they_move():
    way = method(form="paper")
    first = weights(way, [1.0], [2])
    assert first.item() == pytest.approx(1 / (1 + math.exp(3)))  # L - 0
    torch.testing.assert_close(way.means, torch.tensor([0.0, 0.0, 0.05, 0.0]))
    second = weights(way, [1.0], [2])
    assert second.item() == pytest.approx(1 / (1 + math.exp(3 * 0.95)))
    assert way.means[2].item() == pytest.approx(0.05 * 0.95 + 0.05)


def test_the_releases_means_start_at_the_first_loss_and_weigh_after_they_moved():
    way = method(form="release")
    assert weights(way, [1.0], [2]).item() == pytest.approx(0.5) and way.means[2] == 1.0
    second = weights(way, [2.0], [2])
    assert way.means[2].item() == pytest.approx(1.05)
    assert second.item() == pytest.approx(1 / (1 + math.exp(3 * 0.95)))  # k acts as 0.95 k
    assert way.means[[0, 1, 3]].abs().max() == 0


def test_each_clip_has_its_own_weight_and_each_step_its_own_mean():
    way = method(form="paper")
    weights(way, [1.0, 3.0, 5.0], [0, 0, 3])
    torch.testing.assert_close(way.means, 0.05 * torch.tensor([2.0, 0.0, 0.0, 5.0]))
    got = weights(way, [1.0, 3.0], [0, 3])
    expected = [1 / (1 + math.exp(3 * (1.0 - 0.1))), 1 / (1 + math.exp(3 * (3.0 - 0.25)))]
    torch.testing.assert_close(got, torch.tensor(expected))


def test_means_are_over_all_processes():
    way = method(form="release")
    _, batch = setting(GaussianStudent(0, 1), Exact([0.0], 1.0), torch.zeros(1))
    other = torch.tensor([[0.0, 9.0, 0, 0], [0.0, 2.0, 0, 0]])  # two clips of step 1 with errors that sum to 9
    batch.over_processes = lambda tensor: tensor + other
    way._weights(torch.tensor([3.0]), torch.tensor([1]), torch.tensor([True]), batch)
    assert way.means[1] == 4.0 and way.visited.tolist() == [False, True, False, False]


def test_a_broken_clip_moves_no_mean():
    way = method(form="release")
    _, batch = setting(GaussianStudent(0, 1), Exact([0.0], 1.0), torch.zeros(2))
    way._weights(torch.tensor([0.0, 2.0]), torch.tensor([1, 1]), torch.tensor([False, True]), batch)
    assert way.means[1] == 2.0


def test_the_regression_is_least_for_the_exact_denoiser():
    def loss_of(mean):
        data = 0.3 + 0.5 * torch.randn(20_000, generator=torch.Generator().manual_seed(0))
        networks, batch = setting(GaussianStudent(0, 1), None, data)
        networks.student = Exact([mean], 0.5)
        stage = replace(STAGE, target_steps=4)
        return method(adaptive="false").terms(networks, batch, stage, START)["regression"][1]()[0].item()

    best = loss_of(0.3)
    assert best < loss_of(0.1) - 1e-3 and best < loss_of(0.5) - 1e-3


def test_without_adaptation_all_clips_count_one_half():
    data = torch.randn(16, generator=torch.Generator().manual_seed(3))

    def loss_of(way):
        networks, batch = setting(GaussianStudent(0.2, 0.7), Exact([0.0], 1.0), data)
        return way.terms(networks, batch, STAGE, START)["regression"][1]()[0].item()

    flat = method(steepness=0.0)  # 1 - sigmoid(0)
    assert loss_of(method(adaptive="false")) == pytest.approx(loss_of(flat)) and loss_of(flat) > 0
    assert weights(flat, [1.0, 100.0], [0, 0]).tolist() == [0.5, 0.5]


def test_terms_and_their_weights():
    networks, batch = setting(GaussianStudent(0.0, 1.0), Exact([0.0], 1.0), torch.zeros(4))
    terms = method().terms(networks, batch, STAGE, START)
    assert {name: weight for name, (weight, _) in terms.items()} == {"sample": 1.0, "regression": 2.0}
    log = terms["sample"][1]()[1]
    assert {"score_loss", "temporal_loss", "temporal_gradient_at_sample"} <= set(log)
    bare = method(regression_weight=0.0, temporal_weight=0.0)
    assert list(bare.terms(networks, batch, STAGE, START)) == ["sample"]
    assert "temporal_loss" not in bare.terms(networks, batch, STAGE, START)["sample"][1]()[1]


def test_the_means_are_the_methods_state():
    way, other = method(form="release"), method(form="release")
    weights(way, [1.0, 4.0], [0, 2])
    other.load_state_dict(way.state_dict())
    assert torch.equal(weights(way, [2.0], [2]), weights(other, [2.0], [2])) and torch.equal(way.means, other.means)


def test_unknown_form_is_a_user_error():
    with pytest.raises(UserError, match="'release'"):
        method(form="relaese")


def test_the_regression_is_at_every_step_of_the_student():
    networks, batch = setting(GaussianStudent(0.0, 1.0), Exact([0.0], 1.0), torch.zeros(64))
    networks.student = Exact([0.0], 1.0)
    method().terms(networks, batch, replace(STAGE, target_steps=4), START)["regression"][1]()
    ((_, times),) = networks.student.seen
    assert times.unique().tolist() == pytest.approx(sorted(few_step_times(4, 5.0).tolist()))


class TwoFrames:
    """A student of one step whose two frames stand ``apart`` on either side of 0, whatever the noise."""

    evaluations = 1

    def __init__(self):
        self.apart = torch.tensor(0.5, requires_grad=True)

    def __call__(self, x_t, t, caption=None):
        frames = self.apart * torch.tensor([1.0, -1.0]).view(1, 1, 2, 1, 1)
        return (x_t - frames) / t.view(-1, 1, 1, 1, 1)


def test_the_temporal_term_drives_frames_apart():
    """With fake and teacher alike it is all that is left of the term; its gradient is -2 w / a for frames at +-a."""
    student, fields = TwoFrames(), Exact([0.0], 1.0)
    networks = Networks(student, student, fields, fields)
    batch = Batch(torch.zeros(8, 1, 2, 1, 1), torch.zeros(8).long(), torch.Generator().manual_seed(0))
    method(temporal_weight=0.05).terms(networks, batch, STAGE, START)["sample"][1]()[0].backward()
    assert student.apart.grad.item() == pytest.approx(-2 * 0.05 / 0.5, rel=1e-3)
