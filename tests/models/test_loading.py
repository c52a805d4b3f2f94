"""Loading teachers: the lab's layout and Wan2.1's public one go through the same door; damage is named."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import WanPipeline
from safetensors.torch import load_file, save_file

from alice_repro.config import load_scale
from alice_repro.errors import UserError
from alice_repro.flow.noise import ClipNoise
from alice_repro.models.codec import LabCodec
from alice_repro.models.lab import build_transformer, quiet_time_columns
from alice_repro.models.loading import load_teacher, load_transformer, locate
from alice_repro.models.velocity import NetworkVelocity
from alice_repro.sampling.few_step import few_step_times, sample_few_step
from alice_repro.sampling.teacher import sample_euler
from alice_repro.workflow.stages import decode

SIZES = ("model.height=32", "model.width=32", "model.frames=5")
# Wan's pipeline cleans its prompts: white space and HTML entities must not matter to one side alone.
MESSY = ["a red ball falls in the studio", "  a blue  box &amp; slides\n in the studio ", ""]


def model_of(folder):
    return load_scale("smoke", (f"model.source={folder}", *SIZES)).model


@pytest.fixture(params=["tiny_lab", "tiny_wan"])
def loaded(request):
    model = model_of(request.getfixturevalue(request.param))
    return model, load_teacher(model)


def test_the_whole_road_from_folder_to_frames(loaded):
    model, parts = loaded
    assert parts.latent_shape(model) == (16, 2, 4, 4)
    assert not any(p.requires_grad for p in parts.transformer.parameters()) and not parts.transformer.training
    prompts = ["a red ball falls in the studio", "a blue box slides in the studio"]
    shape, caption = parts.latent_shape(model), torch.tensor([0, 1])
    field = NetworkVelocity(parts.transformer, parts.embed(prompts), parts.embed([""])[0], 3.0)
    many, evaluations = sample_euler(field, ClipNoise([1, 2]).draw(shape), caption, 3, 3.0)
    student = NetworkVelocity(parts.transformer, parts.embed(prompts))
    few, _ = sample_few_step(student, ClipNoise([1, 2]), shape, caption, few_step_times(4, 5.0))
    assert evaluations == 6 and torch.isfinite(many).all() and torch.isfinite(few).all()
    frames = decode(parts, few)
    assert [f.shape for f in frames] == [(5, 32, 32, 3)] * 2 and frames[0].dtype == np.uint8
    assert frames[0].std() > 0


def test_embeddings_are_the_pipelines_own(loaded):
    model, parts = loaded
    own, _ = parts.pipeline.encode_prompt(
        MESSY, do_classifier_free_guidance=False, max_sequence_length=model.text_length
    )
    torch.testing.assert_close(parts.embed(MESSY), own)
    alone = torch.cat([parts.embed([prompt]) for prompt in MESSY])
    torch.testing.assert_close(alone, own)
    assert (own[0] - own[1]).abs().max() > 0.01 and (own[2, 1:] == 0).all()


def test_euler_sampling_is_the_pipelines_own(tiny_lab):
    """diffusers' pipeline with its flow-matching scheduler gives the clip that our sampler and decoder give."""
    model = model_of(tiny_lab)
    parts = load_teacher(model)
    prompt, noise = "a red ball falls in the studio", ClipNoise([3]).draw(parts.latent_shape(model))
    pipeline = WanPipeline.from_pretrained(tiny_lab)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        prompt, negative_prompt="", height=32, width=32, num_frames=5, num_inference_steps=4, guidance_scale=3.0,
        latents=noise, max_sequence_length=model.text_length, output_type="latent",
    ).frames  # fmt: skip
    field = NetworkVelocity(parts.transformer, parts.embed([prompt]), parts.embed([""])[0], 3.0)
    # diffusers' grid runs over 1000 discrete times, ours over [0, 1]: follow theirs.
    times = pipeline.scheduler.sigmas
    x = noise
    with torch.no_grad():
        for now, following in zip(times[:-1], times[1:], strict=True):
            x = x + (following - now) * field(x, now.view(1), torch.tensor([0]))
    torch.testing.assert_close(theirs, x, atol=1e-4, rtol=1e-4)


def test_the_lab_codec_is_found_by_its_library_name(tiny_lab):
    pipeline = WanPipeline.from_pretrained(tiny_lab)
    assert type(pipeline.vae) is LabCodec and pipeline.vae_scale_factor_temporal == 4
    library, name = json.loads((tiny_lab / "model_index.json").read_text())["vae"]
    assert library.startswith("alice_repro") and name == "LabCodec"


def test_missing_weights_say_what_to_do():
    model = replace(load_scale("smoke").model, source="Wan-AI/Wan2.1-T2V-1.3B-Diffusers", download_gb=29.0)
    with pytest.raises(UserError) as error:
        load_teacher(model)
    message = str(error.value)
    assert "hf download Wan-AI/Wan2.1-T2V-1.3B-Diffusers" in message and "29 GB" in message and "SCALE=lab" in message
    with pytest.raises(UserError, match="not on this machine"):
        locate(replace(model, source="/no/such/folder"))


@pytest.fixture
def broken(tiny_wan, tmp_path):
    shutil.copytree(tiny_wan, tmp_path / "wan")
    return tmp_path / "wan"


def test_a_truncated_file_is_named(broken):
    path = sorted((broken / "transformer").glob("*.safetensors"))[0]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=f"{path.name} is truncated"):
        load_teacher(model_of(broken))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_named(broken, value):
    path = sorted((broken / "transformer").glob("*.safetensors"))[-1]
    tensors = load_file(path)
    name = next(iter(tensors))
    tensors[name].view(-1)[0] = value
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=f"{path.name}: tensor '{name}'"):
        load_teacher(model_of(broken))


PARTS = "vae text_encoder tokenizer tokenizer/tokenizer.json transformer/config.json model_index.json".split()


@pytest.mark.parametrize("missing", PARTS)
def test_an_incomplete_folder_is_named(broken, missing):
    path = broken / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UserError, match=str(broken)):
        load_teacher(model_of(broken))


def test_a_missing_shard_is_named(broken):
    shards = sorted((broken / "transformer").glob("*.safetensors"))
    assert len(shards) > 1
    shards[0].unlink()
    with pytest.raises(UserError, match=str(broken)):
        load_teacher(model_of(broken))


def test_a_students_transformer_folder(tiny_lab, tmp_path):
    student = load_transformer(tiny_lab / "transformer")
    teacher = load_teacher(model_of(tiny_lab)).transformer
    assert all(torch.equal(a, b) for a, b in zip(student.parameters(), teacher.parameters(), strict=True))
    with pytest.raises(UserError, match="does not exist"):
        load_transformer(tmp_path / "student")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="no safetensors file"):
        load_transformer(tmp_path)


def test_fast_time_columns_are_silent():
    """With quiet columns no sinusoid above the rate reaches the network, so v changes slowly with t."""
    torch.manual_seed(0)
    model = build_transformer(24, 1, 2, 32, 16, 4, 64)
    mask = quiet_time_columns(model, 10.0)
    rates = 1000.0 * 10_000.0 ** (-torch.arange(32) / 32)
    assert torch.equal(mask[0].bool(), (rates <= 10.0).repeat(2))
    embedder = model.condition_embedder
    columns = embedder.timesteps_proj(torch.tensor([0.0, 1.0]))
    # diffusers orders the sinusoids as the mask does: cosines, then sines, from the fastest down.
    torch.testing.assert_close(
        columns[1], torch.cat([torch.cos(rates / 1000), torch.sin(rates / 1000)]), atol=1e-5, rtol=0
    )
    assert (embedder.time_embedder.linear_1.weight[:, ~mask[0].bool()] == 0).all()
