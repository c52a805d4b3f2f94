"""Tiny checkpoints in the public layouts, written by hand from their descriptions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

DIM, FFN, TEXT, FREQ, BLOCKS = 24, 32, 16, 16, 2
# Names of Wan2.1's own code (wan/modules/model.py) and of diffusers' WanTransformer3DModel, typed side by side.
BLOCK_NAMES = {
    "self_attn.q": "attn1.to_q", "self_attn.k": "attn1.to_k", "self_attn.v": "attn1.to_v",
    "self_attn.o": "attn1.to_out.0", "self_attn.norm_q": "attn1.norm_q", "self_attn.norm_k": "attn1.norm_k",
    "cross_attn.q": "attn2.to_q", "cross_attn.k": "attn2.to_k", "cross_attn.v": "attn2.to_v",
    "cross_attn.o": "attn2.to_out.0", "cross_attn.norm_q": "attn2.norm_q", "cross_attn.norm_k": "attn2.norm_k",
    "norm3": "norm2", "ffn.0": "ffn.net.0.proj", "ffn.2": "ffn.net.2",
}  # fmt: skip
OUTER_NAMES = {
    "patch_embedding": "patch_embedding", "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj", "head.head": "proj_out",
}  # fmt: skip


def original_name(name: str) -> str:
    """The name in Wan's own code of a tensor of diffusers."""
    modules = {theirs: original for original, theirs in (BLOCK_NAMES | OUTER_NAMES).items()}
    block, rest = ".".join(name.split(".")[:2]) + ".", name.split(".", 2)[-1]
    prefix, inner = (block, rest) if name.startswith("blocks.") else ("", name)
    if inner == "scale_shift_table":
        return f"{prefix}modulation" if prefix else "head.modulation"
    module, _, leaf = inner.rpartition(".")
    return f"{prefix}{modules[module]}.{leaf}"


@pytest.fixture(scope="session")
def weights() -> dict:
    """Tensors of a small random Wan transformer, by diffusers' names."""
    return _weights(0)


@pytest.fixture(scope="session")
def other_weights() -> dict:
    """Tensors of the same sizes that have nothing to do with `weights`."""
    return _weights(1)


def _weights(seed: int) -> dict:
    import torch
    from diffusers import WanTransformer3DModel

    torch.manual_seed(seed)
    model = WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, text_dim=TEXT, freq_dim=FREQ, ffn_dim=FFN, num_layers=BLOCKS
    )
    return {name: torch.randn_like(value) * 0.05 for name, value in model.state_dict().items()}


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """`save("folder/file.safetensors", tensors)`: write tensors below the test's folder; returns the path."""
    from safetensors.torch import save_file

    def write(name: str, tensors: Mapping) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({key: value.clone().contiguous() for key, value in tensors.items()}, path)
        return path

    return write


@pytest.fixture
def save_shards(save: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """`save_shards("folder", tensors, 3, index=True)`: the same in shards, with an index or without."""

    def write(folder: str, tensors: Mapping, count: int = 3, index: bool = True) -> Path:
        names = sorted(tensors)
        weight_map = {}
        for number in range(count):
            file = f"diffusion_pytorch_model-{number + 1:05}-of-{count:05}.safetensors"
            held = names[number::count]
            save(f"{folder}/{file}", {name: tensors[name] for name in held})
            weight_map |= dict.fromkeys(held, file)
        if index:
            path = tmp_path / folder / "diffusion_pytorch_model.safetensors.index.json"
            path.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
        return tmp_path / folder

    return write


@pytest.fixture
def original(weights: dict) -> dict:
    """`weights` under the names of Wan's own code."""
    return {original_name(name): value for name, value in weights.items()}
