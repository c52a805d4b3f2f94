"""Making the lab checkpoint: its loss, its schedule, and that a killed training ends like one that was not."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import WanPipeline

from alice_repro.config import load_lab_teacher_recipe
from alice_repro.models.exact import posterior_mean
from alice_repro.models.lab import build_text_encoder
from alice_repro.training import lab_teacher
from alice_repro.training.checkpoint import load_checkpoint

_spec = importlib.util.spec_from_file_location("killing", Path(__file__).parent / "killing.py")
_killing = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_killing)
run_killed = _killing.run_killed

RECIPE = replace(
    load_lab_teacher_recipe(), shapes=("ball",), colours=("red",), motions=("slide", "float"), clips_per_caption=2,
    codec_clips=8, text_width=16, text_layers=1, text_heads=2, width=24, layers=1, heads=2, ffn_dim=32, freq_dim=16,
    updates=4, batch=2, warmup=2, compile=False, checkpoint_every=2, log_every=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A finished tiny training: codec, latents, checkpoint, pipeline."""
    work = tmp_path_factory.mktemp("teacher")
    lab_teacher.train_lab_teacher(RECIPE, work, work / "pipeline")
    return work


def test_the_pipeline_loads_and_has_the_average_weights(world):
    pipeline = WanPipeline.from_pretrained(world / "pipeline")
    tensors, counters = load_checkpoint(world / "checkpoint.safetensors")
    assert counters["update"] == 4
    for name, value in pipeline.transformer.state_dict().items():
        assert torch.equal(value, tensors[f"average.transformer.{name}"]), name
    assert not torch.equal(
        tensors["average.transformer.proj_out.weight"], tensors["network.transformer.proj_out.weight"]
    )


def test_killed_training_ends_with_the_same_weights(world, tmp_path):
    for name in ("latents.safetensors", "codec"):
        source = world / name
        shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path)

    def run():
        lab_teacher.train_lab_teacher(RECIPE, tmp_path, tmp_path / "pipeline")

    run_killed(run, lab_teacher, "flow_matching_loss", 4)
    assert [row["update"] for row in curve(tmp_path)] == [1, 2, 3]
    run()
    killed, whole = (load_checkpoint(folder / "checkpoint.safetensors")[0] for folder in (tmp_path, world))
    assert killed.keys() == whole.keys() and not [n for n in whole if not torch.equal(killed[n], whole[n])]
    assert [row["update"] for row in curve(tmp_path)] == [1, 2, 3, 4], "each update once"
    assert [row["loss"] for row in curve(tmp_path)] == [row["loss"] for row in curve(world)]


def curve(folder):
    return [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]


def loss_of(forward, **changes):
    recipe = replace(RECIPE, batch=64, **changes)
    latents = torch.randn(1, 3, 2, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    ids, mask = torch.ones(2, 4, dtype=torch.long), torch.ones(2, 4, dtype=torch.long)
    encoder = build_text_encoder(16, 1, 2)
    generator = torch.Generator().manual_seed(1)
    return lab_teacher.flow_matching_loss(recipe, encoder, forward(latents), latents, ids, mask, generator)


def exact(latents):
    def forward(x, time, states, return_dict):
        t = time / 1000
        mean = posterior_mean(x.flatten(1), t, latents[0].flatten(1)).view_as(x)
        return ((x - mean) / t.view(-1, 1, 1, 1, 1),)

    return forward


def test_the_exact_velocity_is_the_losss_minimum():
    assert loss_of(exact, caption_dropout=0.0).item() < 1e-8
    assert loss_of(lambda latents: lambda x, *a, **k: (x,), caption_dropout=0.0).item() > 0.1
    dropped = loss_of(exact, caption_dropout=1.0).item()  # there the target is one clip's own velocity
    assert dropped > 0.01


def test_learning_rate_schedule():
    rates = [lab_teacher._trapezoid(update, 100, 10, 0.2) for update in (1, 5, 10, 50, 80, 81, 91, 100)]
    assert rates == pytest.approx([0.1, 0.5, 1, 1, 1, 1, 0.5, 0.05])


def test_silent_columns_stay_silent(world):
    pipeline = WanPipeline.from_pretrained(world / "pipeline")
    weight = pipeline.transformer.condition_embedder.time_embedder.linear_1.weight
    rates = 1000.0 * 10_000.0 ** (-torch.arange(8) / 8)
    silent = (rates > RECIPE.max_time_rate).repeat(2)
    assert silent.any() and (weight[:, silent] == 0).all() and (weight[:, ~silent] != 0).any()
