"""Pairs that were once judged wrongly or not at all: each is a change of its own kind, made here by other code."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from alice_repro.audit.checkpoints import synthetic
from alice_repro.audit.checkpoints.command import run
from alice_repro.audit.checkpoints.demonstration import audit
from alice_repro.audit.checkpoints.remainder import repeats
from alice_repro.audit.checkpoints.whiteness import whiteness

SIDE = 96


def matrices(blocks=4, side=SIDE, seed=0):
    """Square matrices with heavy tails, three a block."""
    draw = np.random.default_rng(seed)
    values = {f"blocks.{b}.{n}.weight": draw.standard_t(4, (side, side)) / 9 for b in range(blocks) for n in "qkv"}
    return {name: torch.from_numpy(x).float() for name, x in values.items()}


def each(weights, change):
    return {name: change(x) for name, x in weights.items()}


def numbered(weights, order):
    """Blocks of `weights` in a chosen order, from 0 on."""
    return {
        f"blocks.{i}.{n}.weight": weights[f"blocks.{b}.{n}.weight"].clone() for i, b in enumerate(order) for n in "qkv"
    }


@pytest.mark.parametrize("seed", range(4))
def test_a_few_scattered_values_make_no_rectangle(seed):
    draw, d = np.random.default_rng(seed), np.zeros((60, 80))
    d[draw.integers(0, 60, 9), draw.integers(0, 80, 9)] = draw.standard_normal(9)
    assert whiteness(d).rectangles < 1
    assert abs(whiteness(d).z) < 6


@pytest.mark.parametrize(("first", "last"), [("float16", "bfloat16"), ("bfloat16", "float16")])
def test_values_that_were_rounded_twice_are_a_cast(first, last):
    a = each(matrices(), lambda x: x * 1e-3)  # near fp16's subnormals, where it holds fewer bits than bf16
    _, seen = audit(a, each(a, lambda x: x.to(getattr(torch, first)).to(getattr(torch, last))))
    assert seen.kind == "cast"


@pytest.mark.parametrize(
    ("order", "kind", "words"),
    [
        ([3, 2, 1, 0], "permuted", "another order"),
        ([0, 1, 1, 2, 3], "extended", "repeat"),
        ([0, 1, 3], "pruned", "missing"),
        ([0, 1, 2, 3], "identical", "bit-identical"),
    ],
)
def test_order_and_number_of_blocks_count(order, kind, words):
    a = matrices()
    _, seen = audit(a, numbered(a, order))
    assert seen.kind == kind
    assert words in seen.summary


def test_more_tensors_than_a_has_are_told():
    a = matrices()
    _, seen = audit(a, a | {"adapter.weight": torch.ones(40, 8)})
    assert seen.kind == "extended"
    assert "no counterpart" in seen.summary


def test_a_network_with_one_foreign_block_is_not_unrelated():
    a = matrices()
    _, seen = audit(a, a | numbered(matrices(seed=9), [0]))
    assert seen.kind == "mixed"
    assert {part.kind for part in seen.parts} == {"identical", "unrelated"}


def test_a_scale_for_each_column_is_no_noise():
    def rounded(x):
        step = x.abs().amax(0) / 127
        return (x / step).round() * step

    a = matrices()
    evidence, seen = audit(a, each(a, rounded))
    assert seen.kind == "cannot tell"
    assert min(one.repeats_z for one in evidence) > 6


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_noise_repeats_no_values(dtype):
    a, draw = matrices()["blocks.0.q.weight"].double(), torch.Generator().manual_seed(1)
    a = a.bfloat16().double() if dtype == "BF16" else a
    for size in (1e-3, 1e-2, 0.1):
        b = a + size * a.std() * torch.randn(a.shape, generator=draw)
        b = b.bfloat16().double() if dtype == "BF16" else b.float().double()
        assert repeats(b, a, dtype) < 6


def test_groups_of_16():
    def rounded(x):
        groups = x.reshape(-1, 16)
        step = groups.abs().amax(1, keepdim=True) / 127
        return ((groups / step).round() * step).reshape(x.shape)

    a = matrices()
    _, seen = audit(a, each(a, rounded))
    assert seen.kind == "quantised"
    assert "group of 16" in seen.summary


def test_scale_beneath_a_low_rank_product_is_no_noise():
    a = matrices()
    b = synthetic.scaled(synthetic.lora(a, 4, 0.05, only="q"), 0.98)
    evidence, seen = audit(a, b)
    changed = [one for one in evidence if ".q." in one.name]
    assert all(one.base.startswith("scaled") and abs(one.rank - 4) == 0 for one in changed)
    assert not any(part.kind == "low-rank" and "noise" in part.detail for part in seen.parts)
    assert "noise" not in seen.kind


def test_nothing_is_a_scaled_copy_of_zeros():
    b = matrices()
    _, seen = audit(each(b, torch.zeros_like), b)
    assert seen.kind not in ("scaled", "identical", "cast")


def test_numbers_are_written_where_others_are_given(tmp_path, capsys):
    a, c = matrices(2), matrices(2, seed=1)
    files = []
    for name, weights in {"a": a, "b": {n: 0.7 * x + 0.3 * c[n] for n, x in a.items()}, "c": c}.items():
        save_file(weights, tmp_path / f"{name}.safetensors")
        files.append(tmp_path / f"{name}.safetensors")
    found = run(files[0], files[1], [files[2]], out=tmp_path)
    assert found.networks[0].judgement.kind == "interpolated"
    written = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert written["with"] == [files[2].as_posix()]


def test_a_loose_likeness_is_no_order():
    """Columns that are far larger than the others make all rows alike, and a few find the wrong one."""

    def weights(seed):
        draw, found = np.random.default_rng(seed), matrices(3, 64, seed)
        for x in found.values():
            x[:, draw.permutation(64)[:2]] *= 6
        return found

    a, c = weights(0), weights(1)
    evidence, _ = audit(a, {name: 0.6 * x + 0.4 * c[name] for name, x in a.items()}, c)
    assert not any(one.rearranged for one in evidence)


def test_columns_of_a_convolution_in_another_order():
    draw = torch.Generator().manual_seed(0)
    a = {"patch_embedding.weight": torch.randn(64, 16, 1, 2, 2, generator=draw)}
    order = torch.randperm(64, generator=draw)
    b = {name: x.reshape(64, -1)[:, order].reshape(x.shape) for name, x in a.items()}
    (one,), _ = audit(a, b)
    assert one.rearranged == "columns"
    assert one.explained == one.size
