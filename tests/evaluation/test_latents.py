"""Motion in latents: AVD Eq. 8 by hand and as the training loss has it, adjacent frames, and denoising stages."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from alice_repro.distill.avd import temporal_loss as trained_loss
from alice_repro.errors import UserError
from alice_repro.evaluation.latents import (
    CUTOFFS,
    StageSimilarity,
    adjacent_similarity,
    encode_clips,
    latent_scores,
    similarity_by_stage,
    stored_latents,
    temporal_loss,
    temporal_variance,
)
from alice_repro.flow.noise import ClipNoise
from alice_repro.models.codec import normalise_latents
from alice_repro.models.velocity import Watched
from alice_repro.sampling.few_step import few_step_times, sample_few_step
from alice_repro.world.captions import Caption
from alice_repro.world.clips import draw_scene, make_clip


@pytest.fixture
def latents():
    return torch.randn(3, 4, 5, 6, 6, generator=torch.Generator().manual_seed(0))


def test_variance_along_time_by_hand():
    still = torch.randn(1, 2, 1, 3, 3).expand(-1, -1, 4, -1, -1)
    ramp = torch.arange(4.0).view(1, 1, 4, 1, 1).expand(1, 2, 4, 3, 3)  # population variance (n^2 - 1) / 12
    found = temporal_variance(torch.cat([still, ramp, 2 * ramp + 7]))
    torch.testing.assert_close(found, torch.tensor([0.0, 1.25, 5.0]))
    assert temporal_loss(found[:1]) == pytest.approx(-math.log(1e-6))
    assert temporal_loss(found[1:]) == pytest.approx(-math.log((1.25 + 5.0) / 2 + 1e-6))


def test_the_loss_is_what_training_sees(latents):
    for scale in (0.3, 0.6, 0.7, 1.0):  # losses of about 2.6, 1.2, 0.9 and 0.2: on both sides of the cut-offs
        clips = scale * latents
        variance = temporal_variance(clips)
        assert temporal_loss(variance) == pytest.approx(float(trained_loss(clips, -math.inf)), rel=1e-5)
        for cutoff in CUTOFFS.values():
            assert temporal_loss(variance, cutoff) == pytest.approx(float(trained_loss(clips, cutoff)), rel=1e-5)
    between = torch.tensor([math.exp(-0.7)])
    assert temporal_loss(between, CUTOFFS["release"]) == 0 < temporal_loss(between, CUTOFFS["paper"])


def test_adjacent_frames_by_hand():
    frames = torch.zeros(2, 1, 3, 1, 2)
    frames[0, 0, :, 0] = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    frames[1, 0, :, 0] = torch.tensor([[1.0, 0.0], [-5.0, 0.0], [-1.0, 0.0]])
    root = 1 / math.sqrt(2)
    torch.testing.assert_close(
        adjacent_similarity(frames), torch.tensor([[0.0, root], [-1.0, 1.0]], dtype=torch.float64)
    )
    for bad, message in ((frames[:, :, :1], "T >= 2"), (0 * frames, "zero or not finite"), (frames / 0, "not finite")):
        with pytest.raises(UserError, match=message):
            adjacent_similarity(bad)


def test_stages_are_told_apart(latents):
    """Predictions that sharpen from a still mean to a moving clip grow less alike from step to step."""
    mean = latents.mean(dim=2, keepdim=True)
    stages = [mean + share * (latents - mean) for share in (0.1, 0.5, 1.0)]
    table = similarity_by_stage(stages, [1.0, 0.8, 0.5])
    assert table.shape == (3 * 3 * 4, 5) and list(table.columns) == ["step", "t", "clip", "pair", "similarity"]
    means = table.groupby("step")["similarity"].mean()
    assert means[0] > means[1] > means[2] and table.groupby("step")["t"].first().tolist() == [1.0, 0.8, 0.5]
    one = table.query("step == 2 and clip == 1 and pair == 3")["similarity"].item()
    assert one == pytest.approx(float(adjacent_similarity(latents)[1, 3]))
    with pytest.raises(UserError, match="3 steps of predictions, but 2 times"):
        similarity_by_stage(stages, [1.0, 0.8])
    with pytest.raises(UserError, match="no denoising step"):
        StageSimilarity().table()


class Towards:
    """A velocity that leads from anywhere to one clip a caption."""

    evaluations = 1

    def __init__(self, clips):
        self.clips = clips

    def __call__(self, x_t, t, caption):
        return (x_t - self.clips[caption]) / t.view(-1, 1, 1, 1, 1)


def test_a_sampler_shows_its_predictions(latents):
    times, shape, stages = few_step_times(4, 5.0), tuple(latents.shape[1:]), StageSimilarity()
    field, seen = Towards(latents), []
    watched = Watched(Watched(field, stages.see), lambda t, x0: seen.append((t, x0)))
    for batch in (torch.tensor([0, 1]), torch.tensor([2])):
        plain, _ = sample_few_step(field, ClipNoise(batch.tolist()), shape, batch, times)
        clean, evaluations = sample_few_step(watched, ClipNoise(batch.tolist()), shape, batch, times)
        assert torch.equal(plain, clean) and evaluations == 4
        torch.testing.assert_close(seen[-1][1], clean)
        stages.next_batch()
    assert [t for t, _ in seen[:4]] == pytest.approx(times.tolist())
    table = stages.table()
    assert sorted(table["clip"].unique()) == [0, 1, 2] and sorted(table["step"].unique()) == [0, 1, 2, 3]
    last = table.query("step == 3").sort_values(["clip", "pair"])["similarity"].to_numpy().reshape(3, 4)
    np.testing.assert_allclose(last, adjacent_similarity(latents).numpy(), atol=1e-5)


def test_clips_of_the_world_through_an_autoencoder(codec):
    """A moving clip varies, a frozen one at most a hundredth of it, and flicker shows as change."""
    scene = Caption("red", "ball", "fall", "studio")
    kinds = (None, "frozen", "flicker")
    clips = np.stack([make_clip(draw_scene(scene, 5, 2, defect)).frames for defect in kinds])
    scores = latent_scores(
        encode_clips(clips, lambda video: normalise_latents(codec.encode(video).latent_dist.mode(), codec.config))
    )
    moving, frozen, flicker = scores["temporal_variance"]
    assert frozen < 0.01 * moving and flicker > moving
    assert scores["temporal_loss"][1] > scores["temporal_loss"][0] > scores["temporal_loss"][2] - 0.5
    assert scores["adjacent_similarity"][1] > 0.999 > scores["adjacent_similarity"][0]


def test_stored_latents_are_read_and_checked(latents, tmp_path):
    path = tmp_path / "samples.safetensors"
    save_file({"latents": latents.half(), "caption": torch.zeros(3)}, path)
    torch.testing.assert_close(stored_latents(path), latents, atol=2e-3, rtol=1e-3)
    with pytest.raises(UserError, match="no tensor 'latent'; it has caption, latents"):
        stored_latents(path, "latent")
    with pytest.raises(UserError, match=r"must be \(B, C, T >= 2, h, w\), not \(3,\)"):
        stored_latents(path, "caption")
    save_file({"latents": latents / 0}, path)
    with pytest.raises(UserError, match="not finite"):
        stored_latents(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match="truncated"):
        stored_latents(path)
    with pytest.raises(UserError, match="no such file"):
        stored_latents(tmp_path / "none.safetensors")
