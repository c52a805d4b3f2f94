"""The frame interpolator: originals come through untouched, 2F - 1 frames, a round trip, and damage that is named."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file, save_file

from alice_repro.errors import UserError
from alice_repro.models.interpolator import FrameInterpolator, load_interpolator


@pytest.fixture(scope="module")
def network():
    """A random interpolator whose batch norms have seen some data."""
    torch.manual_seed(0)
    network = FrameInterpolator(4, (8, 16, 32))
    for _ in range(3):
        network(2 * torch.randn(8, 8, 8, 8) + 1)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("frames", [1, 2, 3, 11])
@pytest.mark.parametrize("size", [(8, 8), (7, 10)])
def test_originals_are_copied_exactly_between_new_frames(network, frames, size):
    clip = torch.randn(2, 4, frames, *size)
    longer = network.interpolate(clip)
    assert longer.shape == (2, 4, 2 * frames - 1, *size)
    assert torch.equal(longer[:, :, ::2], clip)
    for k in range(frames - 1):  # the network's own answer for each pair, earlier frame first
        pair = torch.cat([clip[:, :, k], clip[:, :, k + 1]], dim=1)
        torch.testing.assert_close(longer[:, :, 2 * k + 1], network(pair), atol=1e-6, rtol=1e-5)


def test_a_new_frame_knows_its_two_neighbours_alone(network):
    clip = torch.randn(1, 4, 4, 8, 8)
    other = clip.clone()
    other[:, :, 3] += 1
    first, second = network.interpolate(clip), network.interpolate(other)
    assert torch.equal(first[:, :, :5], second[:, :, :5]) and not torch.equal(first[:, :, 5], second[:, :, 5])


def test_size_is_that_of_the_released_network():
    """The released layers for 16 channels: 3 x 3 convolutions without bias, norms, 2 x 2 transposed ones, 1 x 1."""
    convolutions = 9 * (32 * 32 + 32 * 64 + 64 * 128 + 128 * 64 + 64 * 32)
    norms = 2 * (32 + 64 + 128 + 64 + 32)
    transposed = 4 * (128 * 64 + 64 * 32) + 64 + 32
    assert FrameInterpolator().num_parameters() == convolutions + norms + transposed + 32 * 16 + 16


def test_save_and_load_give_the_same_frames(network, tmp_path):
    network.save_pretrained(tmp_path / "net")
    assert sorted(path.name for path in (tmp_path / "net").iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]
    clip = torch.randn(2, 4, 3, 8, 8)
    loaded = load_interpolator(tmp_path / "net")
    assert not loaded.training and tuple(loaded.config.widths) == (8, 16, 32)
    assert torch.equal(loaded.interpolate(clip), network.interpolate(clip))


def test_linear_motion_is_learnt(network):
    """A blob that moves at a constant speed, by up to 6 cells between the frames that are given."""

    def clips(count, generator):
        """(count, 4, 3, 12, 12): frame k is a blob at start + k velocity."""
        start = 3 + 6 * torch.rand(count, 2, generator=generator)
        speed = (torch.rand(count, 2, generator=generator) - 0.5) * 6
        cell = torch.arange(12.0)
        place = start[:, None] + torch.tensor([-1.0, 0, 1])[None, :, None] * speed[:, None]
        blob = torch.exp(-(cell[:, None, None, None] - place).square() / 3)  # (12, count, 3, 2)
        image = torch.einsum("hnk,wnk->nkhw", blob[..., 0], blob[..., 1])
        return image[:, None] * torch.tensor([1.0, -1.0, 0.5, 2.0]).view(1, 4, 1, 1, 1)

    torch.manual_seed(0)
    learner, generator = FrameInterpolator(4, (8, 16, 32)), torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-2)
    for _ in range(80):
        batch = clips(16, generator)
        loss = (learner.between(batch[:, :, ::2]) - batch[:, :, 1::2]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    test = clips(200, torch.Generator().manual_seed(2))
    with torch.no_grad():
        made = learner.eval().interpolate(test[:, :, ::2])[:, :, 1]
    truth, before, after = test[:, :, 1], test[:, :, 0], test[:, :, 2]
    error, nearest, linear = ((guess - truth).square().mean().item() for guess in (made, before, (before + after) / 2))
    assert error < 0.5 * linear < 0.5 * nearest


def test_bad_input_is_told(network, tmp_path):
    with pytest.raises(UserError, match="latents of 4 channels, these have 16"):
        network.interpolate(torch.randn(1, 16, 3, 8, 8))
    with pytest.raises(UserError, match="does not exist; make one: alice-repro train-interpolator"):
        load_interpolator(tmp_path / "missing")


def test_another_model_or_damaged_weights_are_refused(network, tmp_path):
    other = WanTransformer3DModel(num_attention_heads=1, attention_head_dim=12, ffn_dim=16, num_layers=1, text_dim=8)
    other.save_pretrained(tmp_path / "wan")
    with pytest.raises(UserError, match="holds a WanTransformer3DModel"):
        load_interpolator(tmp_path / "wan")
    network.save_pretrained(tmp_path / "net")
    path = tmp_path / "net" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["out.bias"][0] = float("nan")
    save_file(weights, path)
    with pytest.raises(UserError, match="'out.bias' holds numbers that are not finite"):
        load_interpolator(tmp_path / "net")
    assert json.loads((tmp_path / "net" / "config.json").read_text())["_class_name"] == "FrameInterpolator"
