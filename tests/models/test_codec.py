"""The lab's codec: no motion out of stillness, quality, inverses, and diffusers' file layout."""

from __future__ import annotations

import pytest
import torch

from alice_repro.models.codec import (
    LabCodec,
    denormalise_latents,
    normalise_latents,
    to_frames,
    to_unit_range,
)


def test_a_static_clip_has_the_same_latent_in_every_group(codec, world_video):
    moving = codec.encode(world_video).latent_dist.mode()
    still = codec.encode(world_video[:, :, 5:6].expand(-1, -1, 17, -1, -1)).latent_dist.mode()

    def temporal_variance(z):
        return z.var(dim=2).mean()

    assert moving.shape[1:] == (16, 5, 8, 8)
    assert temporal_variance(still) <= 0.01 * temporal_variance(moving)
    torch.testing.assert_close(still[:, :, 0], still[:, :, 4], atol=1e-4, rtol=0)


def test_quality_on_clips_of_the_world(codec, world_video):
    decoded = codec.decode(codec.encode(world_video).latent_dist.mode()).sample
    assert decoded.shape == world_video.shape
    error = ((decoded - world_video) / 2).square().flatten(1).mean(1)
    psnr = -10 * torch.log10(error)
    assert psnr.mean() >= 27.0, f"{psnr.mean():.1f} dB"


def test_a_full_basis_loses_nothing():
    clips = torch.rand(3, 3, 5, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    codec = LabCodec(z_dim=3 * 2 * 4 * 4, scale_factor_spatial=4, scale_factor_temporal=2)
    codec.fit(clips, whitening=1.0)
    torch.testing.assert_close(codec.decode(codec.encode(clips).latent_dist.mode()).sample, clips, atol=1e-4, rtol=0)


def test_it_is_causal(codec, world_video):
    """The latents of the first groups do not change with the later frames."""
    changed = world_video[:2].clone()
    changed[:, :, 9:] = 0
    before, after = (codec.encode(v).latent_dist.mode() for v in (world_video[:2], changed))
    assert torch.equal(before[:, :, :3], after[:, :, :3]) and not torch.equal(before[:, :, 3], after[:, :, 3])


@pytest.mark.parametrize("whitening, spread", [(1.0, False), (0.0, True)])
def test_normalised_latents_have_unit_variance_on_average(world_video, whitening, spread):
    codec = LabCodec(z_dim=8)
    codec.fit(world_video, whitening)
    z = normalise_latents(codec.encode(world_video).latent_dist.mode(), codec.config)
    variance = z.transpose(0, 1).flatten(1).var(1)
    assert variance.mean() == pytest.approx(1.0, abs=0.02)
    assert (variance.max() / variance.min() > 5) == spread
    torch.testing.assert_close(denormalise_latents(z, codec.config), codec.encode(world_video).latent_dist.mode())


def test_save_and_load(codec, world_video, tmp_path):
    codec.save_pretrained(tmp_path)
    loaded = LabCodec.from_pretrained(tmp_path)
    assert loaded.config.latents_std == codec.config.latents_std
    z = codec.encode(world_video[:2]).latent_dist.mode()
    assert torch.equal(loaded.encode(world_video[:2]).latent_dist.mode(), z)
    assert torch.equal(loaded.decode(z).sample, codec.decode(z).sample)


def test_frames_and_unit_range_are_inverses():
    frames = torch.arange(256, dtype=torch.uint8).view(1, 4, 64, 1).expand(2, 4, 64, 3).reshape(2, 4, 8, 8, 3)
    video = to_unit_range(frames)
    assert video.shape == (2, 3, 4, 8, 8) and (video.min(), video.max()) == (-1, 1)
    assert torch.equal(to_frames(video), frames)
    assert to_frames(torch.tensor([-3.0, 3.0]).view(1, 1, 1, 2)).flatten().tolist() == [0, 255]


def test_sizes_that_do_not_fit_are_refused(codec):
    with pytest.raises(ValueError, match="4k \\+ 1 frames"):
        codec.encode(torch.zeros(1, 3, 16, 64, 64))
