"""Each network equals the official one, run in its own environment with the same weights (tests/parity/networks.py)."""

from __future__ import annotations

import json

import networks
import pytest
import torch
from deterministic import weights

from alice_repro.errors import UserError
from alice_repro.models.backbones import amt, raft
from alice_repro.models.backbones.aesthetic import load_aesthetic
from alice_repro.models.backbones.amt import load_amt
from alice_repro.models.backbones.clip import load_clip
from alice_repro.models.backbones.dino import DinoViT, load_dino
from alice_repro.models.backbones.musiq import load_musiq
from alice_repro.models.backbones.public_weights import load_public, read_state
from alice_repro.models.backbones.raft import load_raft

RECORD = json.loads(networks.STORE.read_text())
FAST = [name for name in RECORD if not name.endswith("-full")]
FULL = [name for name in RECORD if name.endswith("-full")]


def load(name, folder):
    """Our network, from a file in the published layout."""
    state, path = weights(RECORD[name]["layout"]), folder / "weights.pth"
    kind = name.split("-")[0]
    if kind == "clip":
        state = {f"visual.{key}": value for key, value in state.items()}
    elif kind == "raft":
        state = {f"module.{key}": value for key, value in state.items()}
    torch.save({"state_dict": state} if kind == "amt" else state, path)
    if name == "dino":  # the published file has one size only, the small one is built by hand
        with torch.device("meta"):
            network = DinoViT(**networks.CASES["dino"][0])
        return load_public(network, read_state(path), path, "small DINO")
    loaders = (load_dino, load_clip, load_aesthetic, load_musiq, load_amt, load_raft)
    return {loader.__name__.removeprefix("load_"): loader for loader in loaders}[kind](path)


def agrees(output, recorded):
    assert list(output.shape) == recorded["shape"]
    expected = torch.tensor(recorded["values"])
    assert recorded["size"] > 0
    assert (networks.stored(output) - expected).abs().max().item() <= 1e-5 * recorded["size"]


def check(name, folder):
    network, (_, cases) = load(name, folder), networks.CASES[name]
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    for size in cases:
        x = networks.inputs(name, size)
        output = network(x[:1], x[1:]) if name in ("amt", "raft") else network(x)
        recorded = RECORD[name]["outputs"]["x".join(map(str, size))]
        agrees(output[:, None] if name == "musiq" else output, recorded)
    if name == "aesthetic":
        agrees(network(networks.features()), RECORD[name]["outputs"]["features"])


@pytest.mark.parametrize("name", FAST)
def test_equals_the_official_network(name, tmp_path):
    check(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_equals_the_official_network_at_full_size(name, tmp_path):
    check(name, tmp_path)


@pytest.mark.parametrize("name", ["amt", "raft"])
def test_a_batch_of_pairs_equals_one_by_one(name, tmp_path):
    network = load(name, tmp_path)
    network.iterations = 3  # of RAFT
    (_, height, width), *_ = networks.CASES[name][1]
    x = networks.inputs(name, (3, height, width))
    one_by_one = torch.cat([network(x[i : i + 1], x[i + 1 : i + 2]) for i in range(2)])
    assert torch.allclose(network(x[:2], x[1:]), one_by_one, atol=1e-5 * one_by_one.abs().max().item())


@pytest.mark.parametrize("name", ["dino", "clip", "musiq"])
def test_a_batch_of_images_equals_one_by_one(name, tmp_path):
    network, (_, height, width) = load(name, tmp_path), networks.CASES[name][1][-1]
    x = networks.inputs(name, (3, height, width))
    one_by_one = torch.cat([network(image[None]) for image in x])
    assert torch.allclose(network(x), one_by_one, atol=1e-5 * one_by_one.abs().max().item())


def test_frames_too_small_for_a_correlation_pyramid_are_refused(tmp_path):
    for name in ("amt", "raft"):
        frames = torch.zeros(1, 3, 112, 256)
        with pytest.raises(UserError, match="128 x 128 pixels or more after padding, not 112 x 256"):
            load(name, tmp_path)(frames, frames)


@pytest.mark.parametrize("module", [amt, raft])
def test_windows_without_tables_give_the_same(module, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TABLE_BYTES", 0)
    network = load(module.__name__.split(".")[-1], tmp_path)
    network.iterations = 3
    x = networks.inputs("amt", (2, 128, 144)) * (255 if module is raft else 1)
    found = network(x[:1], x[1:])
    monkeypatch.setattr(module, "TABLE_BYTES", 2**30)
    assert torch.allclose(found, network(x[:1], x[1:]), atol=1e-5 * found.abs().max().item())


def test_the_middle_frame_does_not_depend_on_the_strips(tmp_path, monkeypatch):
    network, x = load("amt", tmp_path), networks.inputs("amt", (2, 160, 128))
    whole = network(x[:1], x[1:])
    monkeypatch.setattr(amt, "STRIP", 24)
    assert torch.allclose(network(x[:1], x[1:]), whole, atol=1e-6)


def test_features_of_a_frame_serve_both_of_its_pairs(tmp_path):
    network = load("raft", tmp_path)
    network.iterations = 3
    x = networks.inputs("raft", (3, 128, 144))
    features = network.features(x)
    shared = network(x[:2], x[1:], features=(features[:2], features[1:]))
    assert torch.allclose(shared, network(x[:2], x[1:]), atol=1e-4)
