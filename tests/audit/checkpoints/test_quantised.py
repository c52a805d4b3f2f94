"""Quantised tensors are read multiplied by the scales beside them, for every convention that is known."""

from __future__ import annotations

import pytest
import torch

from alice_repro.audit.checkpoints.layouts import open_checkpoint
from alice_repro.audit.checkpoints.matching import match

NAME = "blocks.0.ffn.net.0.proj"


def int8(weight, scale):
    return (weight / scale).round().clamp(-127, 127).to(torch.int8)


def fp8(weight, scale):
    return (weight / scale).to(torch.float8_e4m3fn)


def per_row(weight):
    return weight.abs().amax(1, keepdim=True)


def blocks(weight, side=128):
    """Largest magnitude of each block, and the same spread over the matrix."""
    rows, columns = (-(-n // side) for n in weight.shape)
    padded = torch.zeros(rows * side, columns * side)
    padded[: weight.shape[0], : weight.shape[1]] = weight
    top = padded.reshape(rows, side, columns, side).abs().amax((1, 3)) / 448
    spread = top.repeat_interleave(side, 0).repeat_interleave(side, 1)
    return top, spread[: weight.shape[0], : weight.shape[1]]


def comfy(w):
    scale = w.abs().max() / 448
    marker = {"scaled_fp8": torch.zeros(2).to(torch.float8_e4m3fn), f"{NAME}.scale_input": torch.ones(1)}
    return {f"{NAME}.weight": fp8(w, scale), f"{NAME}.scale_weight": scale} | marker


def compressed(w):
    return {f"{NAME}.weight": int8(w, per_row(w) / 127), f"{NAME}.weight_scale": per_row(w) / 127}


def deepseek(w):
    scale, spread = blocks(w)
    return {f"{NAME}.weight": fp8(w, spread), f"{NAME}.weight_scale_inv": scale}


def quanto(w):
    return {f"{NAME}.weight._data": int8(w, per_row(w) / 127), f"{NAME}.weight._scale": per_row(w) / 127}


def bitsandbytes(w):
    return {f"{NAME}.weight": int8(w, per_row(w) / 127), f"{NAME}.SCB": per_row(w)[:, 0]}


@pytest.mark.parametrize("store", [comfy, compressed, deepseek, quanto, bitsandbytes])
def test_scales_are_applied(save, store):
    weight = torch.randn(200, 300, generator=torch.Generator().manual_seed(0))
    network = open_checkpoint(save("model.safetensors", store(weight))).networks["transformer"]
    assert list(network.tensors) == [f"{NAME}.weight"]
    tensor = network.tensors[f"{NAME}.weight"]
    read = torch.cat([tensor.rows(0, 70), tensor.rows(70, 200)])
    assert read.dtype == torch.float32 and tensor.dtype in ("I8", "F8_E4M3")
    # Half a step of int8 at the largest magnitude; 2^-4 of the value in e4m3, which has three bits of fraction.
    bound = per_row(weight) / 254 if tensor.dtype == "I8" else weight.abs() / 16 + 1e-4
    assert bool(((read - weight).abs() <= bound * 1.001).all())


def test_a_bare_quantised_tensor_is_noted(save):
    tensors = {f"{NAME}.weight": torch.ones(4, 4).to(torch.float8_e5m2), f"{NAME}.bias": torch.ones(4)}
    checkpoint = open_checkpoint(save("model.safetensors", tensors))
    assert any("without a scale" in note and "F8_E5M2" in note for note in checkpoint.notes)
    assert checkpoint.networks["transformer"].tensors[f"{NAME}.weight"].rows(0, 4).dtype == torch.float8_e5m2


def test_a_scale_that_fits_nothing_is_kept_and_noted(save):
    tensors = {f"{NAME}.weight": torch.ones(4, 6).to(torch.int8), f"{NAME}.weight_scale": torch.ones(5)}
    checkpoint = open_checkpoint(save("model.safetensors", tensors))
    assert any("no known convention" in note for note in checkpoint.notes)
    assert f"{NAME}.weight_scale" in checkpoint.networks["transformer"].tensors


def test_a_quantised_copy_matches_its_original(save, weights, original):
    name = "blocks.0.ffn.0.weight"
    scale = original[name].abs().max() / 448
    stored = original | {name: fp8(original[name], scale), "blocks.0.ffn.0.scale_weight": scale}
    b = open_checkpoint(save("b.safetensors", stored)).networks["transformer"]
    a = open_checkpoint(save("a.safetensors", weights)).networks["transformer"]
    matching = match(a, b)
    assert len(matching.pairs) == len(weights) and not matching.only_a and not matching.only_b
