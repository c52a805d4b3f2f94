"""Interpolated sampling: short clips really enter the network, at the price predicted; 0 short steps change nothing."""

from __future__ import annotations

import json

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from alice_repro.errors import UserError
from alice_repro.flow.noise import ClipNoise
from alice_repro.models.flops import forward_flops, sizes_of
from alice_repro.models.half_rate import HalfRateVelocity
from alice_repro.models.interpolator import FrameInterpolator
from alice_repro.models.lab import build_transformer
from alice_repro.models.velocity import NetworkVelocity
from alice_repro.sampling.few_step import few_step_times, sample_few_step
from alice_repro.sampling.flops import interpolation_flops, sampling_flops, tokens_seen
from alice_repro.sampling.interpolated import sample_interpolated
from alice_repro.workflow.bench_interpolation import bench_interpolation
from alice_repro.workflow.stages import sample_arm

SHAPE = (4, 5, 8, 8)  # 16 tokens a frame
TEXT = 6
TIMES = few_step_times(4, 5.0)


@pytest.fixture(scope="module")
def field():
    torch.manual_seed(0)
    transformer = build_transformer(24, 2, 2, 32, 16, 4, 16).eval().requires_grad_(False)
    return NetworkVelocity(transformer, torch.randn(3, TEXT, 16))


@pytest.fixture(scope="module")
def interpolator():
    torch.manual_seed(1)
    return FrameInterpolator(4, (8, 8, 8)).eval().requires_grad_(False)


def sample(field, interpolator, short_steps, seeds=(1, 2), shape=SHAPE, **options):
    caption = torch.arange(len(seeds)) % 3
    return sample_interpolated(field, interpolator, ClipNoise(seeds), shape, caption, TIMES, short_steps, **options)


@pytest.mark.parametrize(
    ("short_steps", "tokens"), [(0, [80] * 4), (1, [48, 80, 80, 80]), (2, [48, 48, 80, 80]), (4, [48] * 4)]
)
def test_the_transformer_sees_the_short_clip(field, interpolator, short_steps, tokens):
    with tokens_seen(field.transformer) as seen:
        x0, evaluations, frames = sample(field, interpolator, short_steps)
    assert seen == tokens == [16 * n for n in frames]
    assert x0.shape == (2, *SHAPE) and evaluations == 4


def test_without_short_steps_it_is_the_few_step_sampler(field, interpolator):
    plain, evaluations = sample_few_step(field, ClipNoise([1, 2]), SHAPE, torch.tensor([0, 1]), TIMES)
    x0, spent, _ = sample(field, interpolator, 0)
    assert torch.equal(x0, plain) and spent == evaluations
    assert not torch.equal(sample(field, interpolator, 2)[0], plain)


def test_the_x0_prediction_is_interpolated_and_then_noised_at_full_length():
    """The field's x0 is a constant a step (10, 20 ...), so that what enters each step is computed by hand."""

    class Constant:
        evaluations, seen = 1, []

        def __call__(self, x_t, t, caption):
            self.seen.append(x_t.clone())
            return (x_t - 10.0 * len(self.seen)) / t.view(-1, 1, 1, 1, 1)

    class Marked(FrameInterpolator):
        def between(self, frames):
            return torch.full_like(frames[:, :, 1:], -1.0)

    field, noise = Constant(), ClipNoise([5])
    x0, _, _ = sample_interpolated(field, Marked(4), ClipNoise([5]), SHAPE, torch.tensor([0]), TIMES, 2)
    draws = [noise.draw(SHAPE) for _ in range(4)]
    t = TIMES.tolist()
    marked = torch.full((1, *SHAPE), 20.0)
    marked[:, :, 1::2] = -1.0
    expected = [
        draws[0][:, :, ::2],
        (1 - t[1]) * 10 + t[1] * draws[1][:, :, ::2],
        (1 - t[2]) * marked + t[2] * draws[2],
        (1 - t[3]) * 30 + t[3] * draws[3],
    ]
    for got, want in zip(field.seen, expected, strict=True):
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(x0, torch.full((1, *SHAPE), 40.0))


def test_a_clip_does_not_depend_on_its_batch(field, interpolator):
    whole = sample(field, interpolator, 2, seeds=(7, 8, 9))[0]
    for k, seed in enumerate((7, 8, 9)):
        alone = sample_interpolated(
            field, interpolator, ClipNoise([seed]), SHAPE, torch.tensor([k]), TIMES, 2
        )[0]  # fmt: skip
        torch.testing.assert_close(alone[0], whole[k], atol=2e-6, rtol=1e-5)


def test_kept_positions_are_those_of_the_full_clip(field, interpolator):
    """The rotary tables that enter the blocks: compact are a short clip's own, kept those of frames 0, 2, 4 of five."""
    tables = []
    hook = field.transformer.blocks[0].register_forward_pre_hook(lambda _, inputs: tables.append(inputs[3]))
    caption, t = torch.tensor([0]), torch.tensor([0.5])
    clip = torch.randn(1, *SHAPE)
    field(clip, t, caption)
    results = [HalfRateVelocity(field, name)(clip[:, :, ::2], t, caption) for name in ("compact", "kept")]
    field(clip[:, :, ::2], t, caption)
    hook.remove()
    full, compact, kept, after = ([table.unflatten(1, (-1, 16)) for table in pair] for pair in tables)
    for whole, short, strided, again in zip(full, compact, kept, after, strict=True):
        assert torch.equal(short, whole[:, :3]) and torch.equal(strided, whole[:, ::2])
        assert torch.equal(again, short), "the hook is gone"
    assert not torch.equal(*results)
    with pytest.raises(UserError, match="unknown positions 'keep': did you mean 'kept'"):
        HalfRateVelocity(field, "keep")


def test_short_steps_ask_their_own_field(field, interpolator):
    other = NetworkVelocity(field.transformer, field.embeddings + 1)
    default = sample(field, interpolator, 2)[0]
    assert torch.equal(sample(field, interpolator, 2, short_velocity=HalfRateVelocity(field))[0], default)
    assert not torch.equal(sample(field, interpolator, 2, short_velocity=other)[0], default)
    assert torch.equal(sample(field, interpolator, 0, short_velocity=other)[0], sample(field, interpolator, 0)[0])


def test_prediction_is_the_closed_form(field):
    """Two blocks of width 24, inner width 32, 6 tokens of text; 48 and 80 tokens of the clip. By hand, for each block:
    8 n d^2 + 4 n^2 d, 4 n d^2 + 4 m d^2 + 4 n m d, 4 n d f."""

    def block(n):
        return 8 * n * 576 + 4 * n * n * 24 + 4 * n * 576 + 4 * 6 * 576 + 4 * n * 6 * 24 + 4 * n * 24 * 32

    assert block(48) == 741_888 and block(80) == 1_473_024
    model = sizes_of(field.transformer.config, TEXT)
    assert sampling_flops(model, [48, 48, 80, 80]) == 2 * (2 * 741_888 + 2 * 1_473_024)


@pytest.mark.parametrize("frames", [3, 5])
def test_the_formula_is_what_torch_counts_in_the_blocks(field, frames):
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        field(torch.randn(1, 4, frames, 8, 8), torch.tensor([0.5]), torch.tensor([0]))
    counts = counter.get_flop_counts()
    counted = sum(sum(counts[f"WanTransformer3DModel.blocks.{k}"].values()) for k in range(2))
    assert counted == forward_flops(sizes_of(field.transformer.config, TEXT), 16 * frames)


def test_operations_of_the_interpolator(interpolator):
    """Two pairs of 8 x 8: 2 x taps x inputs x outputs for each output cell (for each input cell, if transposed)."""
    full, half, quarter = 64, 16, 4
    convolutions = 9 * (8 * 8 * full + 8 * 8 * half + 8 * 8 * quarter + 16 * 8 * half + 16 * 8 * full)
    transposed = 4 * 8 * 8 * (quarter + half)
    assert interpolation_flops(interpolator, 3, 8, 8) == 2 * 2 * (convolutions + transposed + 8 * 4 * full)


def test_bad_input_is_told(field, interpolator, tiny_scale, tmp_path):
    for short_steps in (5, -1):
        with pytest.raises(UserError, match=f"short_steps is {short_steps}, but the sampler has 4 steps"):
            sample(field, interpolator, short_steps)
    with pytest.raises(UserError, match="4 latent frames cannot be halved.*such as 3 or 5"):
        sample(field, interpolator, 2, shape=(4, 4, 8, 8))
    with pytest.raises(UserError, match="latents of 16 channels, these have 4"):
        sample(field, FrameInterpolator(16).eval(), 2)
    transformer = tmp_path / "student"
    field.transformer.save_pretrained(transformer)
    for student, folder, steps in ((None, tmp_path, 2), (transformer, tmp_path, 0), (transformer, None, 2)):
        arm = "rcm-seed0" if student else "teacher-full"
        with pytest.raises(UserError, match="takes a student, an interpolator's folder and short_steps above 0"):
            sample_arm(tiny_scale, "trained", arm, tmp_path / "v", student, interpolator=folder, short_steps=steps)
    with pytest.raises(UserError, match="2 latent frames cannot be halved"):
        sample_arm(
            tiny_scale, "trained", "rcm-seed0", tmp_path / "v", transformer, interpolator=tmp_path, short_steps=2
        )


@pytest.fixture(scope="module")
def odd_scale(tiny_lab):
    """The smoke scale on the tiny lab pipeline, with 9 frames of 32 x 32: 3 latent frames."""
    from alice_repro.config import load_scale

    sizes = ("model.height=32", "model.width=32", "model.frames=9", "prompts.evaluate=2", "prompts.seeds=1")
    return load_scale("smoke", (f"model.source={tiny_lab}", *sizes))


def test_an_arm_is_sampled_with_interpolation(odd_scale, tiny_lab, tmp_path):
    FrameInterpolator(16, (8, 8, 8)).save_pretrained(tmp_path / "net")
    student, made = tiny_lab / "transformer", tmp_path / "videos"
    sample_arm(odd_scale, "trained", "rcm-seed3", made, student, 3, tmp_path / "net", 2, "kept")
    entry = json.loads((made / "manifest.json").read_text())["artefacts"]["."]
    assert entry["extra"]["latent_frames_a_step"] == [2, 2, 3, 3] and entry["extra"]["evaluations_per_clip"] == 4
    assert entry["config"]["short_steps"] == 2 and entry["config"]["positions"] == "kept"
    assert "interpolator" in entry["inputs"] and len(list(made.glob("*.mp4"))) == 2
    with pytest.raises(UserError, match="interpolator .*missing does not exist"):
        sample_arm(odd_scale, "trained", "rcm-seed3", tmp_path / "v", student, 3, tmp_path / "missing", 2)


def test_the_benchmark_counts_and_predicts(odd_scale, tmp_path):
    cases = bench_interpolation(odd_scale, 2, 2, tmp_path)
    assert [case.tokens for case in cases] == [
        (8, 8, 12, 12),
        (176, 176, 336, 336),
        (17160, 17160, 32760, 32760),  # 11 and 21 latent frames of 30 x 52 tokens
    ]
    # The UNet of the lab costs more than two steps of the tiny transformer; on real sizes it is next to nothing.
    assert cases[0].predicted > 1 and cases[0].unet_share > 0.5 and cases[2].unet_share < 1e-4
    assert cases[0].measured.value > 0 and cases[2].measured is None
    # By hand for Wan2.1 1.3B, a token: 12 d^2 + 4 d f + 4 n d + 4 m d, and 4 m d^2 a block for the text.
    d, f, m = 1536, 8960, 512
    half, full = (n * (12 * d * d + 4 * d * f + 4 * n * d + 4 * m * d) + 4 * m * d * d for n in (17160, 32760))
    assert cases[2].predicted == pytest.approx((2 * half + 2 * full) / (4 * full), abs=1e-4)
    assert (tmp_path / "interpolation.csv").read_text().count("\n") == 4 and (tmp_path / "manifest.json").exists()
