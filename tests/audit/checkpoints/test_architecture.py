"""Sizes from shapes alone, against known counts, configs and what the documents state."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from alice_repro.audit.checkpoints.architecture import architecture_of, compare_config, compare_stated, experts
from alice_repro.audit.checkpoints.layouts import open_checkpoint
from alice_repro.audit.run import load_records

WAN_14B = {"width": 5120, "inner": 13824, "blocks": 40}


def write_sparse(path: Path, width: int, inner: int, blocks: int, text: int = 4096, cells: int = 16) -> Path:
    """A file with the header of a whole Wan transformer in bf16, and a hole for its data."""
    d, f, block = width, inner, {}
    for attention in ("self_attn", "cross_attn"):
        for part in "qkvo":
            block |= {f"{attention}.{part}.weight": (d, d), f"{attention}.{part}.bias": (d,)}
        block |= {f"{attention}.norm_q.weight": (d,), f"{attention}.norm_k.weight": (d,)}
    block |= {"norm3.weight": (d,), "norm3.bias": (d,), "ffn.0.weight": (f, d), "ffn.0.bias": (f,)}
    block |= {"ffn.2.weight": (d, f), "ffn.2.bias": (d,), "modulation": (1, 6, d)}
    shapes = {f"blocks.{n}.{name}": shape for n in range(blocks) for name, shape in block.items()}
    linear = {"text_embedding.0": (d, text), "text_embedding.2": (d, d), "time_embedding.0": (d, 256),
              "time_embedding.2": (d, d), "time_projection.1": (6 * d, d), "head.head": (4 * cells, d)}  # fmt: skip
    for name, shape in linear.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    shapes |= {
        "patch_embedding.weight": (d, cells, 1, 2, 2),
        "patch_embedding.bias": (d,),
        "head.modulation": (1, 2, d),
    }
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2
        for side in shape:
            size *= side
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text_header = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(len(text_header).to_bytes(8, "little") + text_header)
        stream.truncate(8 + len(text_header) + end)
    return path


@pytest.mark.parametrize(("sizes", "parameters"), [  # counts of the public checkpoints, see models.flops
    ({"width": 1536, "inner": 8960, "blocks": 30}, 1_418_996_800), (WAN_14B, 14_288_491_584),
])  # fmt: skip
def test_public_sizes(tmp_path, sizes, parameters):
    """The public checkpoints' own layout, sizes and counts; no data are read, so 28 GB of holes take a moment."""
    network = open_checkpoint(write_sparse(tmp_path / "model.safetensors", **sizes)).networks["transformer"]
    found = architecture_of(network)
    assert found.parameters == parameters
    assert (found.hidden, found.mlp, found.layers) == (sizes["width"], sizes["inner"], sizes["blocks"])
    assert (found.latent_channels, found.out_channels, found.patch) == (16, 16, (1, 2, 2))
    assert (found.text_width, found.time_width, found.heads) == (4096, 256, None)
    assert found.dtypes == {"BF16": parameters}


def stated(checkpoint, *papers):
    statements = compare_stated(checkpoint, load_records(papers))
    return {(one.source, one.model): one for one in statements}


def test_a_release_of_wan22s_sizes_against_alices_statements(tmp_path):
    """Two experts of Wan2.2's sizes fit the released config, and neither the paper's table nor the README's."""
    for expert in ("high_noise_model", "low_noise_model"):
        write_sparse(tmp_path / "release" / expert / "diffusion_pytorch_model.safetensors", **WAN_14B)
    checkpoint = open_checkpoint(tmp_path / "release")
    assert experts(checkpoint) == 2
    found = stated(checkpoint, "alice")
    config = found["alice_release", "Alice-T2V-14B-MoE, released config"]
    assert config.fits and not config.disagreements
    assert found["alice", "Wan2.2-T2V-A14B"].fits
    readme = found["alice_release", "Alice-T2V-14B-MoE, README"]
    assert {c.field for c in readme.disagreements} == {"hidden", "mlp"}
    assert {c.network for c in readme.disagreements} == {"transformer", "transformer_2"}
    assert all("hidden 4096" in c.quote for c in readme.disagreements)
    assert not found["alice", "Alice v1"].fits
    heads = [c for c in readme.comparisons if c.field == "heads"]
    assert all(c.agrees is None and "do not tell" in c.found for c in heads)


def test_heads_come_from_the_config_where_there_is_one(tmp_path):
    path = write_sparse(tmp_path / "model" / "diffusion_pytorch_model.safetensors", 1536, 8960, 30)
    config = {"model_type": "t2v", "dim": 1536, "num_heads": 12, "num_layers": 30, "ffn_dim": 8960, "in_dim": 16}
    (path.parent / "config.json").write_text(json.dumps(config))
    checkpoint = open_checkpoint(path.parent)
    model = stated(checkpoint, "avd")["avd", "Wan2.1-T2V-1.3B"]
    heads = next(c for c in model.comparisons if c.field == "heads")
    assert heads.agrees and heads.by == "config.json" and model.fits


def test_config_against_tensors(tmp_path):
    path = write_sparse(tmp_path / "model" / "diffusion_pytorch_model.safetensors", 48, 96, 3)
    config = {"num_layers": 4, "num_attention_heads": 5, "attention_head_dim": 12, "ffn_dim": 96, "in_channels": 16,
              "patch_size": [1, 2, 2]}  # fmt: skip
    (path.parent / "config.json").write_text(json.dumps(config))
    network = open_checkpoint(path.parent).networks["transformer"]
    told = {c.field: c.agrees for c in compare_config(network, architecture_of(network)).comparisons}
    assert told == {"layers": False, "hidden": False, "heads": False, "mlp": True, "latent_channels": True,
                    "patch": True}  # fmt: skip
    # The same heads with a whole width each: the tensors cannot tell.
    told = compare_config(replace(network, config={"num_heads": 4}), architecture_of(network)).comparisons
    assert [c.agrees for c in told] == [None]


def test_norms_as_wide_as_a_head_tell_the_heads(save, weights):
    narrow = {name: value[:12] if "norm_q" in name or "norm_k" in name else value for name, value in weights.items()}
    network = open_checkpoint(save("model.safetensors", narrow)).networks["transformer"]
    assert architecture_of(network).heads == 2


def test_gated_mlp(save, weights):
    import torch

    gated = weights | {f"blocks.{n}.ffn.net.0.proj.weight": torch.zeros(64, 24) for n in range(2)}
    network = open_checkpoint(save("model.safetensors", gated)).networks["transformer"]
    found = architecture_of(network)
    assert found.gated and found.mlp == 32
    assert not architecture_of(open_checkpoint(save("b.safetensors", weights)).networks["transformer"]).gated


def test_a_network_of_other_names_has_parameters_alone(save, weights):
    other = {f"w{place}": value for place, value in enumerate(weights.values())}
    found = architecture_of(open_checkpoint(save("model.safetensors", other)).networks["transformer"])
    assert found.parameters == sum(v.numel() for v in weights.values()) and found.hidden is None
