"""A teacher of two experts is asked as diffusers' WanPipeline asks it: which expert when, and with which guidance."""

from __future__ import annotations

import json
import math
import shutil

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanPipeline

from alice_repro.config import load_scale
from alice_repro.errors import UserError
from alice_repro.flow.derivative import directional_derivative
from alice_repro.flow.noise import ClipNoise
from alice_repro.models.experts import ExpertsVelocity
from alice_repro.models.loading import load_teacher
from alice_repro.models.velocity import Counted, NetworkVelocity
from alice_repro.sampling.teacher import sample_euler
from alice_repro.training.setup import teacher_velocity

SIZES = ("model.height=32", "model.width=32", "model.frames=5", "teacher.negative_prompt=bad , blurry")
PROMPTS = ["a red ball falls in the studio", "a blue box slides in the studio"]
BOUNDARY = 0.875


def scale_of(folder, *settings):
    return load_scale("smoke", (f"model.source={folder}", *SIZES, *settings))


def built(folder, *settings):
    scale = scale_of(folder, *settings)
    parts = load_teacher(scale.model)
    return parts, teacher_velocity(scale, "trained", parts, PROMPTS)


class Expert:
    """A field v = factor x_t + t that remembers the times it was asked; as a network velocity, as far as is needed."""

    def __init__(self, factor, evaluations=2):
        self.factor, self.evaluations, self.asked = factor, evaluations, []

    def __call__(self, x_t, t, caption):
        self.asked.append(t.detach())
        own = (t + caption).view(-1, 1, 1, 1, 1)
        return self.factor * x_t + own

    def features(self, x_t, t, caption, shares):
        return [share * self(x_t, t, caption).flatten(2).transpose(1, 2) for share in shares]


@pytest.fixture
def experts():
    return ExpertsVelocity(Expert(2.0), Expert(3.0), BOUNDARY)


def clips(count):
    return torch.randn(count, 3, 2, 2, 2, generator=torch.Generator().manual_seed(0)), torch.arange(count)


@pytest.mark.parametrize(
    ("t", "high"),
    [(1.0, True), (0.9, True), (BOUNDARY, True), (math.nextafter(BOUNDARY, 0), True), (0.87499, False), (0.0, False)],
)
def test_at_and_above_the_boundary_the_high_noise_expert_is_asked(experts, t, high):
    """In float32, which the time is given in: the double just below the boundary is the boundary."""
    x_t, caption = clips(3)
    v = experts(x_t, torch.full((3,), t), caption)
    assert (len(experts.high.asked), len(experts.low.asked)) == (int(high), int(not high))
    assert torch.equal(v, (experts.high if high else experts.low)(x_t, torch.full((3,), t), caption))


def test_a_mixed_batch_equals_clip_by_clip(experts):
    t = torch.tensor([0.2, 1.0, 0.874, BOUNDARY, 0.5, 0.9])
    x_t, caption = clips(6)
    v = experts(x_t, t, caption)
    assert [asked.tolist() for asked in experts.high.asked] == [t[[1, 3, 5]].tolist()]
    assert [asked.tolist() for asked in experts.low.asked] == [t[[0, 2, 4]].tolist()]
    alone = [experts(x_t[i : i + 1], t[i : i + 1], caption[i : i + 1]) for i in range(6)]
    assert torch.equal(v, torch.cat(alone))
    features = experts.features(x_t, t, caption, (0.5, 1.0))
    apart = [experts.features(x_t[i : i + 1], t[i : i + 1], caption[i : i + 1], (0.5, 1.0)) for i in range(6)]
    assert all(
        torch.equal(both, torch.cat(each)) for both, each in zip(features, zip(*apart, strict=True), strict=True)
    )


def test_a_mixed_batch_is_differentiable_forward_and_backward(experts):
    """d/dt and d/dx of factor x + t + caption, with the factor of each clip's own expert."""
    t = torch.tensor([0.2, 0.95, 0.5])
    x_t, caption = clips(3)
    factor = torch.tensor([3.0, 2.0, 3.0]).view(-1, 1, 1, 1, 1)
    value, derivative = directional_derivative(
        lambda x, time: experts(x, time, caption), (x_t, t), (torch.ones_like(x_t), torch.full_like(t, 10.0))
    )
    torch.testing.assert_close(value, experts(x_t, t, caption))
    torch.testing.assert_close(derivative, (factor + 10.0).expand_as(x_t))
    x_t.requires_grad_()
    (gradient,) = torch.autograd.grad(experts(x_t, t, caption).sum(), x_t)
    torch.testing.assert_close(gradient, factor.expand_as(x_t))


def test_a_clip_costs_one_expert(experts):
    counted = Counted(experts)
    counted(*clips(4)[:1], torch.tensor([0.1, 0.9, 0.5, 1.0]), torch.arange(4))
    assert experts.evaluations == 2 and counted.spent == 4 * 2
    with pytest.raises(ValueError, match="both experts are guided, or neither"):
        ExpertsVelocity(Expert(1.0, evaluations=2), Expert(1.0, evaluations=1), BOUNDARY)


def euler_of_diffusers(folder, boundary, guidance, guidance_2, noise, length):
    """diffusers' WanPipeline with flow-matching Euler steps: latents, times, how often each transformer was called."""
    pipeline = WanPipeline.from_pretrained(folder)
    pipeline.register_to_config(boundary_ratio=boundary)
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=12.0)
    pipeline.set_progress_bar_config(disable=True)
    calls = {"high": 0, "low": 0}
    for name, network in (("high", pipeline.transformer), ("low", pipeline.transformer_2)):
        network.register_forward_hook(lambda *_, name=name: calls.update({name: calls[name] + 1}))
    latents = pipeline(
        PROMPTS[0], negative_prompt="bad , blurry", height=32, width=32, num_frames=5, num_inference_steps=4,
        guidance_scale=guidance, guidance_scale_2=guidance_2, latents=noise, max_sequence_length=length,
        output_type="latent",
    ).frames  # fmt: skip
    return latents, pipeline.scheduler.sigmas, calls


def euler_of_ours(velocity, sigmas, noise):
    """On diffusers' times, which are of its 1000 discrete ones."""
    x = noise
    with torch.no_grad():
        for now, following in zip(sigmas[:-1], sigmas[1:], strict=True):
            x = x + (following - now) * velocity(x, now.view(1), torch.tensor([0]))
    return x


@pytest.mark.parametrize("where", ["between", "at", "just above"])
def test_euler_sampling_is_the_pipelines_own(tiny_wan22, where):
    """Both transformers take part, each with its own guidance; also where the boundary is a time of the grid."""
    parts, velocity = built(tiny_wan22, "teacher.guidance=[4.0, 2.0]")
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=12.0)
    scheduler.set_timesteps(4)
    third = float(scheduler.timesteps[2])
    boundary = {"between": BOUNDARY, "at": third / 1000, "just above": (third + 1e-3) / 1000}[where]
    noise = ClipNoise([3]).draw((16, 2, 4, 4))
    theirs, sigmas, calls = euler_of_diffusers(tiny_wan22, boundary, 4.0, 2.0, noise, 16)
    assert calls == ({"high": 6, "low": 2} if where == "at" else {"high": 4, "low": 4})
    ours = euler_of_ours(ExpertsVelocity(velocity.high, velocity.low, boundary), sigmas, noise)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    swapped = euler_of_ours(ExpertsVelocity(velocity.low, velocity.high, boundary), sigmas, noise)
    assert (swapped - theirs).abs().max() > 0.01


def test_each_expert_has_its_own_guidance(tiny_wan22):
    parts, velocity = built(tiny_wan22, "teacher.guidance=[4.0, 3.0]")
    assert type(velocity) is ExpertsVelocity and velocity.boundary == parts.boundary == BOUNDARY
    assert (velocity.high.guidance, velocity.low.guidance) == (4.0, 3.0) and velocity.evaluations == 2
    assert (velocity.high.transformer, velocity.low.transformer) == (parts.transformer, parts.transformer_2)
    one = built(tiny_wan22, "teacher.guidance=4.0")[1]  # as WanPipeline without guidance_scale_2
    assert (one.high.guidance, one.low.guidance) == (4.0, 4.0)
    assert built(tiny_wan22, "teacher.guidance=[1.0, 1.0]")[1].evaluations == 1
    x = ClipNoise([1]).draw((16, 2, 4, 4))
    for t, same in ((0.9, True), (0.5, False)):
        args = x, torch.tensor([t]), torch.tensor([0])
        with torch.no_grad():
            assert torch.equal(velocity(*args), one(*args)) == same
    _, evaluations = sample_euler(velocity, x, torch.tensor([0]), 3, 12.0)
    assert evaluations == 6


def test_both_experts_are_frozen_and_move_together(tiny_wan22):
    parts, velocity = built(tiny_wan22)
    for network in (parts.transformer, parts.transformer_2):
        assert not network.training and not any(p.requires_grad for p in network.parameters())
    there = velocity.to("meta")
    assert type(there) is ExpertsVelocity and there.boundary == BOUNDARY and there.evaluations == 2
    assert {p.device.type for e in (there.high, there.low) for p in e.transformer.parameters()} == {"meta"}
    assert there.high.embeddings.device.type == there.low.embeddings.device.type == "meta"


def test_a_teacher_of_one_network_is_as_before(tiny_wan):
    parts, velocity = built(tiny_wan)
    assert type(velocity) is NetworkVelocity and parts.transformer_2 is None and parts.boundary is None


@pytest.mark.parametrize(
    ("source", "guidance", "message"),
    [
        ("tiny_wan", "[4.0, 3.0]", "has 1 network.* give one number"),
        ("tiny_wan22", "[4.0, 3.0, 2.0]", r"has 2 network.* \[high, low\]"),
        ("tiny_wan22", "[4.0]", r"has 2 network.* \[high, low\]"),
        ("tiny_wan22", "[4.0, 1.0]", "guide both experts, or neither"),
    ],
)
def test_guidance_that_does_not_fit_is_refused(source, guidance, message, request):
    with pytest.raises(UserError, match=message):
        built(request.getfixturevalue(source), f"teacher.guidance={guidance}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boundary_ratio": None}, "has transformer_2 but no boundary_ratio"),
        ({"transformer_2": None}, "has boundary_ratio but no transformer_2"),
        ({"transformer_2": [None, None]}, "has boundary_ratio but no transformer_2"),
        ({"boundary_ratio": 875}, "between 0 and 1, not 875"),
    ],
)
def test_half_a_teacher_of_two_experts_is_refused(change, message, tiny_wan22, tmp_path):
    shutil.copytree(tiny_wan22, tmp_path / "wan")
    path = tmp_path / "wan" / "model_index.json"
    index = {key: value for key, value in (json.loads(path.read_text()) | change).items() if value is not None}
    path.write_text(json.dumps(index))
    with pytest.raises(UserError, match=message):
        load_teacher(scale_of(tmp_path / "wan").model)


def test_a_missing_second_expert_is_named(tiny_wan22, tmp_path):
    shutil.copytree(tiny_wan22, tmp_path / "wan")
    shutil.rmtree(tmp_path / "wan" / "transformer_2")
    with pytest.raises(UserError, match="its part transformer_2 is missing"):
        load_teacher(scale_of(tmp_path / "wan").model)
