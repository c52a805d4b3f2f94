"""Which network is compared with which: two experts with two or one, crossed ones, a mixture's second part."""

from __future__ import annotations

import pytest
import torch

from alice_repro.audit.checkpoints.layouts import open_checkpoint
from alice_repro.audit.checkpoints.pairing import pair_networks
from alice_repro.errors import UserError

EXPERTS = ("high_noise_model", "low_noise_model")


@pytest.fixture
def checkpoint(save, tmp_path):
    """`checkpoint("a", high, low)` of two experts, `checkpoint("b", weights)` of one network."""

    def make(name, *networks):
        if len(networks) == 1:
            return open_checkpoint(save(f"{name}.safetensors", networks[0]))
        for folder, tensors in zip(EXPERTS, networks, strict=True):
            save(f"{name}/{folder}/diffusion_pytorch_model.safetensors", tensors)
        return open_checkpoint(tmp_path / name)

    return make


def near(tensors, size=0.01):
    generator = torch.Generator().manual_seed(5)
    return {name: value + size * torch.randn(value.shape, generator=generator) for name, value in tensors.items()}


def names(pairs):
    return [(pair.a.name, pair.b.name) for pair in pairs]


def test_two_experts_with_two(checkpoint, weights, other_weights):
    a, b = checkpoint("a", weights, other_weights), checkpoint("b", near(weights), near(other_weights))
    pairs, notes = pair_networks(a, b)
    assert names(pairs) == [("transformer", "transformer"), ("transformer_2", "transformer_2")]
    assert not notes and not any(pair.note for pair in pairs)


def test_two_experts_in_the_other_order(checkpoint, weights, other_weights):
    a, b = checkpoint("a", weights, other_weights), checkpoint("b", near(other_weights), near(weights))
    pairs, _ = pair_networks(a, b)
    assert names(pairs) == [("transformer", "transformer_2"), ("transformer_2", "transformer")]
    assert "crosswise" in pairs[0].note


def test_one_network_with_the_nearer_of_two_experts(checkpoint, weights, other_weights):
    a, b = checkpoint("a", weights, other_weights), checkpoint("b", near(other_weights))
    pairs, notes = pair_networks(a, b)
    assert names(pairs) == [("transformer_2", "transformer")] and not notes
    assert [anchor.name for anchor in pairs[0].anchors] == ["transformer"]


def test_two_experts_made_of_one_network(checkpoint, weights, other_weights):
    pairs, _ = pair_networks(checkpoint("a", weights), checkpoint("b", near(weights), near(weights, 0.02)))
    assert names(pairs) == [("transformer", "transformer"), ("transformer", "transformer_2")]


def test_anchors_from_a_third_checkpoint(checkpoint, weights, other_weights):
    a, b, c = (checkpoint(n, w) for n, w in (("a", weights), ("b", near(weights)), ("c", other_weights)))
    pairs, _ = pair_networks(a, b, (c,))
    assert [anchor is c.networks["transformer"] for anchor in pairs[0].anchors] == [True]


def test_networks_can_be_chosen(checkpoint, weights, other_weights):
    a, b = checkpoint("a", weights, other_weights), checkpoint("b", weights, other_weights)
    pairs, _ = pair_networks(a, b, wanted=("transformer_2",))
    assert names(pairs) == [("transformer_2", "transformer_2")]
    with pytest.raises(UserError, match="did you mean 'transformer_2'"):
        pair_networks(a, b, wanted=("transformer2",))


def test_parts_of_one_side_alone_are_noted(tiny_wan, checkpoint, weights):
    a, b = open_checkpoint(tiny_wan), checkpoint("b", weights)
    pairs, notes = pair_networks(a, b)
    assert names(pairs) == [("transformer", "transformer")]
    assert len(notes) == 1 and "text_encoder" in notes[0] and "vae" in notes[0]


def test_nothing_in_common(tiny_wan, checkpoint, weights):
    with pytest.raises(UserError, match="nothing to compare"):
        pair_networks(open_checkpoint(tiny_wan / "vae"), checkpoint("b", weights))


def test_experts_that_are_one_network(checkpoint, weights, other_weights):
    a, b = checkpoint("a", weights, weights), checkpoint("b", weights, other_weights)
    _, notes = pair_networks(a, b)
    assert notes == ["A's two experts are equal in all sampled rows: one network, stored twice"]
