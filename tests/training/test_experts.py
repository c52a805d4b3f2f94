"""Experts for the lab: each is trained at its own times alone; a student of two experts is one dense network."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import WanPipeline
from safetensors.torch import load_file, save_file

from alice_repro.config import load_lab_experts_recipe, load_lab_teacher_recipe, load_recipe, load_scale
from alice_repro.errors import UserError
from alice_repro.files import read_json, sha256_folder
from alice_repro.flow.schedule import shift_time
from alice_repro.manifest import verify_manifest
from alice_repro.models.loading import load_teacher, load_transformer
from alice_repro.training import experts, lab_teacher
from alice_repro.training.checkpoint import load_checkpoint, without_prefix
from alice_repro.training.loop import Trainer

_spec = importlib.util.spec_from_file_location("killing", Path(__file__).parent / "killing.py")
_killing = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_killing)

# A world of one shape and colour; text_length is that of the tiny pipeline's captions.
TEACHER = replace(
    load_lab_teacher_recipe(), shapes=("ball",), colours=("red",), motions=("slide", "float"), clips_per_caption=2,
    max_time_rate=10.0,
)  # fmt: skip
RECIPE = replace(
    load_lab_experts_recipe(), held_out_clips=2, judged_batches=6, updates=4, batch=4, learning_rate=1e-2, warmup=1,
    compile=False, checkpoint_every=2, log_every=1,
)  # fmt: skip
BOUNDARY = RECIPE.boundary


@pytest.fixture(scope="module")
def made(tiny_lab, tmp_path_factory):
    """A finished tiny training, and the times that every loss was taken at."""
    folder, times = tmp_path_factory.mktemp("experts"), []
    add_noise = lab_teacher.add_noise
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lab_teacher, "add_noise", lambda x0, eps, t: times.append(t) or add_noise(x0, eps, t))
        report = experts.train_lab_experts(RECIPE, TEACHER, tiny_lab, folder)
    return folder, times, report


def test_each_expert_is_trained_at_its_own_times_alone(made):
    times = torch.stack(made[1][: 2 * RECIPE.updates])  # the losses after these are the report's
    high, low = times[: RECIPE.updates], times[RECIPE.updates :]
    assert high.min() >= BOUNDARY and low.max() <= BOUNDARY and low.min() > 0 and high.max() <= 1
    assert low.min() < 0.5 and high.unique().numel() == low.unique().numel() == RECIPE.updates * RECIPE.batch


def test_within_a_range_the_times_have_the_density_of_the_full_one():
    """Shares of 0.875 .. 0.93 within the high range, in closed form: the shift's inverse is uniform."""
    seen = []

    def forward(x, time, states, return_dict):
        seen.append(time / 1000)
        return (x,)

    recipe = replace(TEACHER, batch=20_000)
    latents = torch.zeros(1, 1, 1, 1, 1, 1)
    ids = torch.ones(2, 4, dtype=torch.long)
    encoder = lab_teacher.build_text_encoder(8, 1, 2)
    generator = torch.Generator().manual_seed(0)
    lab_teacher.flow_matching_loss(recipe, encoder, forward, latents, ids, ids, generator, (BOUNDARY, 1.0))
    start, middle, end = shift_time(torch.tensor([BOUNDARY, 0.93, 1.0]), 1 / recipe.time_shift)
    share = float((seen[0] < 0.93).float().mean())
    assert share == pytest.approx(float((middle - start) / (end - start)), abs=0.01)


def test_both_experts_moved_apart_and_nothing_else_did(made, tiny_lab):
    folder = made[0]
    loaded = load_teacher(load_scale("smoke", (f"model.source={folder / 'pipeline'}",)).model)
    assert loaded.boundary == BOUNDARY == WanPipeline.load_config(folder / "pipeline")["boundary_ratio"]
    start = load_transformer(tiny_lab / "transformer").state_dict()
    for name, network in (("high", loaded.transformer), ("low", loaded.transformer_2)):
        average = without_prefix("average.transformer", load_checkpoint(folder / name / "checkpoint.safetensors")[0])
        assert all(torch.equal(value, average[key]) for key, value in network.state_dict().items()), name
        assert any(not torch.equal(value, start[key]) for key, value in network.state_dict().items()), name
        silent = network.condition_embedder.time_embedder.linear_1.weight == 0
        assert torch.equal(silent, start["condition_embedder.time_embedder.linear_1.weight"] == 0) and silent.any()
    pairs = zip(loaded.transformer.parameters(), loaded.transformer_2.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)
    for part in ("text_encoder", "vae", "tokenizer"):
        kept = [load_weights(root / part) for root in (tiny_lab, folder / "pipeline")]
        assert kept[0] == kept[1], part


def load_weights(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.endswith("config.json")}


def test_each_expert_wins_in_its_own_range_on_clips_that_it_has_not_seen(made):
    folder, times, report = made
    assert report["wins"] == {"high": True, "low": True}
    for own, other in (("high", "low"), ("low", "high")):
        losses = report["loss"][own]
        assert losses[own] < losses[other] and set(losses) == {"teacher", "high", "low"}
        assert report["advantage"][own]["mean"] == pytest.approx(losses[other] - losses[own])
    judged = torch.stack(times[2 * RECIPE.updates :]).view(2, 3, RECIPE.judged_batches, -1)  # range, network, batch
    assert judged[0].min() >= BOUNDARY and judged[1].max() <= BOUNDARY
    assert all(torch.equal(of_range[0], again) for of_range in judged for again in of_range[1:])
    latents = [load_file(folder / name)["latents"] for name in (lab_teacher.LATENTS, experts.HELD_OUT)]
    assert latents[0].shape == latents[1].shape and not (latents[0] == latents[1]).all((2, 3, 4, 5)).any()
    assert read_json(folder / experts.REPORT) == json.loads(json.dumps(report))
    assert verify_manifest(folder) == verify_manifest(folder / "pipeline") == []
    assert "t >= 0.875:  teacher" in experts.loss_table(report)


def test_swapped_experts_do_not_win(made, tiny_lab):
    """The report can say no."""
    folder = made[0]
    pipeline = WanPipeline.from_pretrained(folder / "pipeline")
    swapped = {"high": pipeline.transformer_2, "low": pipeline.transformer}
    captions, held_out = lab_teacher.training_captions(TEACHER), load_file(folder / experts.HELD_OUT)
    training = replace(TEACHER, batch=RECIPE.batch)
    report = experts.held_out_report(RECIPE, training, pipeline.text_encoder, swapped, held_out["latents"], captions)
    assert report["wins"] == {"high": False, "low": False}
    with pytest.raises(UserError, match="high-noise expert is not better"):
        experts.check_experts_win(report)


def test_a_killed_training_goes_on(made, tiny_lab, tmp_path):
    """Killed in the second expert's training: the same weights, and the first expert is not trained again."""

    for name in (lab_teacher.LATENTS, experts.HELD_OUT):
        shutil.copy(made[0] / name, tmp_path)

    def run():
        experts.train_lab_experts(RECIPE, TEACHER, tiny_lab, tmp_path)

    _killing.run_killed(run, lab_teacher, "flow_matching_loss", RECIPE.updates + 4)
    first = (tmp_path / "high" / "checkpoint.safetensors").stat().st_mtime_ns
    assert load_checkpoint(tmp_path / "low" / "checkpoint.safetensors")[1]["update"] == 2
    run()
    assert (tmp_path / "high" / "checkpoint.safetensors").stat().st_mtime_ns == first
    for part in ("transformer", "transformer_2"):
        assert sha256_folder(tmp_path / "pipeline" / part) == sha256_folder(made[0] / "pipeline" / part)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("regression_smoke", ()), ("dmd2_smoke", ('gan_features="teacher"',))],  # the experts' features, each at its times
)
def test_two_experts_are_distilled_into_one_dense_student(
    name, settings, tiny_wan22, tiny_scale, tiny_samples, tmp_path
):
    """Student, average and fake score start from the low-noise expert; the student's folder is a plain transformer."""
    model = replace(tiny_scale.model, source=str(tiny_wan22))
    scale = replace(tiny_scale, model=model, teacher=replace(tiny_scale.teacher, guidance=(4.0, 3.0)))
    trainer = Trainer(scale, load_recipe(name, settings), "trained", 0, tiny_samples, tmp_path)
    low = load_transformer(tiny_wan22 / "transformer_2").state_dict()
    networks = [trainer.networks.student, trainer.networks.average]
    networks += [trainer.networks.critic["fake"]] if name == "dmd2_smoke" else []
    assert all(torch.equal(value, low[key]) for net in networks for key, value in net.state_dict().items())
    trainer.run()
    student = load_transformer(tmp_path / "student").state_dict()
    assert student.keys() == low.keys() and any(not torch.equal(student[key], low[key]) for key in low)
    assert {path.name for path in (tmp_path / "student").iterdir()} == {
        "config.json", "diffusion_pytorch_model.safetensors", "scheduler_config.json",
    }  # fmt: skip
    assert not list(tmp_path.rglob("transformer_2"))


def test_the_second_expert_is_part_of_what_a_run_is_resumed_for(tiny_wan22, tiny_scale, tiny_samples, tmp_path):
    def fingerprint(source):
        scale = replace(tiny_scale, model=replace(tiny_scale.model, source=str(source)))
        return Trainer(scale, load_recipe("regression_smoke"), "trained", 0, tiny_samples, tmp_path / "run").fingerprint

    folder = shutil.copytree(tiny_wan22, tmp_path / "wan")
    before = fingerprint(folder)
    path = sorted((folder / "transformer_2").glob("*.safetensors"))[0]
    save_file({key: value + 1 for key, value in load_file(path).items()}, path, metadata={"format": "pt"})
    assert fingerprint(folder) != before
