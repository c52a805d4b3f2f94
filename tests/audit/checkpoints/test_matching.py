"""Tensors find their counterparts by name, by place and by content; unrelated networks find none by content."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from alice_repro.audit.checkpoints.layouts import open_checkpoint
from alice_repro.audit.checkpoints.matching import block_of, match
from alice_repro.audit.checkpoints.signatures import alike, related_bound
from alice_repro.models.source import LAB_CHECKPOINT

HEADS, HEAD_WIDTH, BLOCKS, FFN = 5, 32, 5, 432


@pytest.fixture(scope="module")
def lab():
    """The shipped, trained transformer: what is to be recognised are trained weights."""
    return load_file(LAB_CHECKPOINT / "transformer/diffusion_pytorch_model.safetensors")


@pytest.fixture
def matched(save, lab):
    """`matched(tensors)`: match the shipped transformer with these tensors."""

    def run(tensors, source=lab):
        networks = [open_checkpoint(save(f"{n}.safetensors", t)).networks for n, t in (("a", source), ("b", tensors))]
        return match(*(one["transformer"] for one in networks))

    return run


def noisy(tensors, size, seed=0):
    g = torch.Generator().manual_seed(seed)
    return {n: v + size * v.square().mean().sqrt() * torch.randn(v.shape, generator=g) for n, v in tensors.items()}


def assert_near(matching, relative):
    for pair in matching.pairs:
        a, b = (side.float() for side in pair.rows(0, pair.b.row_count))
        assert float((b - a).norm()) <= relative * float(b.norm()) + 1e-7, pair.name


def pruned(tensors, keep):
    found = {}
    for name, value in tensors.items():
        block = block_of(name)
        if block is None:
            found[name] = value
        elif block[1] in keep:
            found[name.replace(f".{block[1]}.", f".{keep.index(block[1])}.", 1)] = value
    return found


def with_heads_permuted(tensors, blocks, seed=0):
    tensors, generator = dict(tensors), np.random.default_rng(seed)
    for name in [f"blocks.{b}.{attention}" for b in blocks for attention in ("attn1", "attn2")]:
        heads = np.roll(generator.permutation(HEADS), 1)
        if (heads == np.arange(HEADS)).all():
            heads = heads[::-1].copy()
        order = (heads[:, None] * HEAD_WIDTH + np.arange(HEAD_WIDTH)).ravel()
        for part in ("to_q.weight", "to_q.bias", "to_k.weight", "to_k.bias", "to_v.weight", "to_v.bias",
                     "norm_q.weight", "norm_k.weight"):  # fmt: skip
            tensors[f"{name}.{part}"] = tensors[f"{name}.{part}"][order]
        tensors[f"{name}.to_out.0.weight"] = tensors[f"{name}.to_out.0.weight"][:, order]
    return tensors


def test_by_name(matched, lab):
    matching = matched(lab)
    assert {pair.how for pair in matching.pairs} == {"name"} and len(matching.pairs) == len(lab)
    assert not matching.only_a and not matching.only_b and not matching.renumbered
    assert all(pair.row_order is None and pair.column_order is None for pair in matching.pairs)


def test_by_key_map(save, weights, original):
    a, b = (open_checkpoint(save(f"{n}.safetensors", t)).networks["transformer"] for n, t in
            (("a", weights), ("b", original)))  # fmt: skip
    matching = match(a, b)
    assert {p.how for p in matching.pairs} == {"name", "key map"} and len(matching.pairs) == len(weights)
    assert_near(matching, 0)


def test_only_in_one_and_of_another_shape(matched, lab):
    other = dict(lab)
    other["extra.weight"] = torch.randn(7, 3)
    del other["proj_out.bias"]
    other["blocks.0.norm2.weight"] = torch.ones(161)
    matching = matched(other)
    assert [t.name for t in matching.only_a] == ["proj_out.bias"]
    assert [t.name for t in matching.only_b] == ["extra.weight"]
    assert [p.name for p in matching.reshaped] == ["blocks.0.norm2.weight"]
    assert len(matching.pairs) == len(lab) - 2


@pytest.mark.parametrize("keep", [[0, 2, 4], [1, 2, 3], [4]])
@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_blocks_that_were_removed(matched, lab, keep, noise):
    matching = matched(noisy(pruned(lab, keep), noise))
    moved = {f"blocks.{j}": f"blocks.{i}" for j, i in enumerate(keep) if i != j}
    assert matching.renumbered == moved and not matching.only_b
    gone = {block_of(t.name)[1] for t in matching.only_a}
    assert gone == set(range(BLOCKS)) - set(keep)
    assert_near(matching, 1.5 * noise)


def test_a_block_that_was_copied(matched, lab):
    copied = lab | {n.replace("blocks.2.", "blocks.5."): v for n, v in lab.items() if n.startswith("blocks.2.")}
    matching = matched(copied)
    assert matching.renumbered == {"blocks.5": "blocks.2"} and not matching.only_b
    assert_near(matching, 0)


def test_blocks_that_were_added_to_a_pruned_one(matched, lab):
    """A has every other block of B: B's others have no counterpart, and are not compared with a block that has one."""
    matching = matched(lab, pruned(lab, [0, 2, 4]))
    assert matching.renumbered == {"blocks.2": "blocks.1", "blocks.4": "blocks.2"}
    assert {block_of(t.name)[1] for t in matching.only_b} == {1, 3}
    assert_near(matching, 0)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_other_names(matched, lab, noise):
    words = {"blocks.": "dit.layers.", "attn1": "sa", "attn2": "ca", "to_q": "wq", "ffn.net": "mlp", "condition_": "c_"}
    renamed = {}
    for name, value in noisy(lab, noise).items():
        for old, new in words.items():
            name = name.replace(old, new)
        renamed[name] = value
    matching = matched(renamed)
    assert not matching.only_a and not matching.only_b
    assert sum(p.how == "content" for p in matching.pairs) > 130
    assert_near(matching, 1.5 * noise)


@pytest.mark.parametrize(("blocks", "noise"), [(range(BLOCKS), 0.0), ([3], 0.0), (range(BLOCKS), 0.1)])
def test_permuted_heads(matched, lab, blocks, noise):
    matching = matched(noisy(with_heads_permuted(lab, blocks), noise))
    rows = {p.name for p in matching.pairs if p.row_order is not None}
    columns = {p.name for p in matching.pairs if p.column_order is not None}
    attentions = [f"blocks.{b}.{a}" for b in blocks for a in ("attn1", "attn2")]
    assert {f"{a}.{m}.weight" for a in attentions for m in ("to_q", "to_k", "to_v")} <= rows
    assert columns == {f"{a}.to_out.0.weight" for a in attentions}
    assert {block_of(name)[1] for name in rows} == set(blocks)
    # Biases and norms follow unless the noise hides their order; then they are compared as they stand.
    assert_near(matching, 0 if noise == 0 else 0.8)


def test_permuted_hidden_units(matched, lab):
    changed, order = dict(lab), torch.randperm(FFN, generator=torch.Generator().manual_seed(2))
    name = "blocks.1.ffn.net"
    for part in ("0.proj.weight", "0.proj.bias"):
        changed[f"{name}.{part}"] = lab[f"{name}.{part}"][order]
    changed[f"{name}.2.weight"] = lab[f"{name}.2.weight"][:, order]
    matching = matched(changed)
    pair = next(p for p in matching.pairs if p.name == f"{name}.0.proj.weight")
    assert (pair.row_order == order.numpy()).all()
    assert_near(matching, 0)


def test_unrelated_networks_match_by_name_alone(matched, lab):
    g = torch.Generator().manual_seed(3)
    matching = matched({n: torch.randn(v.shape, generator=g) * 0.02 for n, v in lab.items()})
    assert {p.how for p in matching.pairs} == {"name"} and not matching.renumbered
    assert all(p.row_order is None and p.column_order is None for p in matching.pairs)


def test_the_null_of_likeness():
    """Of 200 pairs of unrelated networks of 12 blocks none finds a counterpart; z has mean 0 and variance 1."""
    generator, highest, values = np.random.default_rng(0), [], []
    for _ in range(200):
        sides = [[generator.standard_normal((16, 40)).astype(np.float32) for _ in range(12)] for _ in range(2)]
        z = alike(*[[s - s.mean(1, keepdims=True) for s in side] for side in sides])
        values.append(z)
        highest.append(z.max() / related_bound(z, z.size))
    assert max(highest) < 1
    assert abs(np.mean(values)) < 0.02 and abs(np.std(values) - 1) < 0.02
