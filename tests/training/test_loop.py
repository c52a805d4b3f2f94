"""Whole runs of a tiny rCM: what is trained and written, and that a killed run ends like one that was not."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState

from alice_repro.config import load_recipe
from alice_repro.data.training_clips import SAMPLES, TrainingClips
from alice_repro.distill.method import Method
from alice_repro.errors import UserError
from alice_repro.files import sha256_file
from alice_repro.manifest import read_manifest, verify_manifest
from alice_repro.models.loading import load_transformer
from alice_repro.sampling.few_step import few_step_times
from alice_repro.sampling.scheduler import FewStepScheduler
from alice_repro.training import loop
from alice_repro.training.checkpoint import load_checkpoint, without_prefix
from alice_repro.training.fingerprint import code_version
from alice_repro.training.loop import Trainer

_spec = importlib.util.spec_from_file_location("killing", Path(__file__).parent / "killing.py")
_killing = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_killing)
run_killed = _killing.run_killed

SMOKE = load_recipe("rcm_smoke")
FIRST, SECOND = (replace(stage, updates=3, batch=4, warmup=1, learning_rate=5e-5) for stage in SMOKE.stages)
RECIPE = replace(
    SMOKE,
    stages=(FIRST, replace(SECOND, critic_updates=1)),
    checkpoint_every=2,
    log_every=1,
    snapshots=(0.5, 0.75),  # updates 3 and 4
)


@pytest.fixture
def trainer(tiny_scale, tiny_samples):
    def make(output, recipe=RECIPE, seed=0, scale=None, teacher="trained", samples=tiny_samples):
        return Trainer(scale or tiny_scale, recipe, teacher, seed, samples, output)

    return make


@pytest.fixture(scope="module")
def whole(tiny_scale, tiny_samples, tmp_path_factory):
    """A run that nothing disturbed."""
    output = tmp_path_factory.mktemp("whole")
    Trainer(tiny_scale, RECIPE, "trained", 0, tiny_samples, output).run()
    return output


def rows(output):
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


def assert_same(output, whole):
    """Every network, moment, average and generator; the exported student; each update once in the log."""
    tensors, expected = (
        load_checkpoint(output / "checkpoint.safetensors"),
        load_checkpoint(whole / "checkpoint.safetensors"),
    )
    assert tensors[1] == expected[1] and tensors[0].keys() == expected[0].keys()
    assert not [name for name in tensors[0] if not torch.equal(tensors[0][name], expected[0][name])]
    for name in ["student", *(f"snapshots/{p.name}" for p in (whole / "snapshots").iterdir())]:
        files = [folder / name / "diffusion_pytorch_model.safetensors" for folder in (output, whole)]
        assert sha256_file(files[0]) == sha256_file(files[1]), name
    assert [row["update"] for row in rows(output)] == [1, 2, 3, 4, 5, 6]
    assert [row.get("critic_loss") for row in rows(output)] == [row.get("critic_loss") for row in rows(whole)]
    assert verify_manifest(output) == []


@pytest.mark.parametrize("sampler", ["renoise", "euler"])
def test_a_student_says_how_it_is_sampled(trainer, tmp_path, monkeypatch, sampler):
    monkeypatch.setattr(Method, "sampler", sampler)
    recipe = replace(RECIPE, stages=(replace(FIRST, updates=1), replace(SECOND, updates=1)), snapshots=(0.5,))
    trainer(tmp_path, recipe).run()
    for folder in (tmp_path / "student", tmp_path / "snapshots" / "update_000001"):
        noted = FewStepScheduler.from_pretrained(folder).config
        assert noted.sampler == sampler and noted.times == few_step_times(SECOND.target_steps, 5.0).tolist()


def test_training_happens(whole, tiny_lab):
    teacher, student = load_transformer(tiny_lab / "transformer"), load_transformer(whole / "student")
    moved = [not torch.equal(a, b) for a, b in zip(teacher.parameters(), student.parameters(), strict=True)]
    assert sum(moved) > 0.9 * len(moved)
    manifest = read_manifest(whole)
    counts = {name: manifest["extra"][name] for name in ("student_updates", "critic_updates", "resumed_at")}
    assert counts == {"student_updates": 6, "critic_updates": 3, "resumed_at": 0} and verify_manifest(whole) == []
    assert sorted(p.name for p in (whole / "snapshots").iterdir()) == ["update_000003", "update_000004"]
    tensors, counters = load_checkpoint(whole / "checkpoint.safetensors")
    assert (counters["student"], counters["critic"]) == (6, 3)
    for network in ("student", "fake"):
        trained = without_prefix(network, tensors)
        assert any(not torch.equal(trained[k], v) for k, v in teacher.state_dict().items()), network


def test_the_student_is_the_average(whole):
    tensors, _ = load_checkpoint(whole / "checkpoint.safetensors")
    exported = load_transformer(whole / "student").state_dict()
    average, raw = without_prefix("average", tensors), without_prefix("student", tensors)
    assert all(torch.equal(exported[name], average[name]) for name in average)
    assert any(not torch.equal(average[name], raw[name]) for name in average)


def test_the_log_follows_the_curriculum(whole):
    log = rows(whole)
    assert [row["stage"] for row in log] == ["stage1"] * 3 + ["stage2"] * 3
    for column in ("score_loss", "critic_loss", "fake_gradient"):
        assert [row.get(column, 0) > 0 for row in log] == [False] * 3 + [True] * 3
    assert all(row["df_ds"] > 0 and row["consistency_gradient"] > 0 for row in log)
    assert [row["lr"] for row in log] == [5e-5] * 6


def test_another_seed_gives_another_student(trainer, whole, tmp_path):
    short = replace(RECIPE, stages=(replace(RECIPE.stages[0], updates=1),))
    for seed in (0, 1):
        trainer(tmp_path / str(seed), short, seed).run()
    shas = {sha256_file(tmp_path / str(s) / "student" / "diffusion_pytorch_model.safetensors") for s in (0, 1)}
    assert len(shas) == 2


def test_learning_rate_warm_up_and_constant_average(trainer, tmp_path):
    stages = (replace(RECIPE.stages[0], updates=2, warmup=4),)
    trainer(tmp_path, replace(RECIPE, stages=stages, ema="constant", ema_value=0.0)).run()
    assert [row["lr"] for row in rows(tmp_path)] == pytest.approx([1.25e-5, 2.5e-5])
    tensors, _ = load_checkpoint(tmp_path / "checkpoint.safetensors")
    average, raw = without_prefix("average", tensors), without_prefix("student", tensors)
    assert all(torch.equal(average[name], raw[name]) for name in raw), "decay 0 follows the student"


KILLS = {
    "stage 1, in an update": ("torch.optim.AdamW", "step", 3),
    "stage 2, between student and critic": ("Trainer", "_critic_step", 2),
    "between the log and the checkpoint": ("Trainer", "_keep", 4),
    "after a checkpoint": ("Trainer", "_record", 5),
    "while a file takes its name": ("os", "replace", 4),
    "while the student is exported": ("Trainer", "_finish", 1),
}


@pytest.mark.parametrize("owner, name, call", KILLS.values(), ids=KILLS)
def test_a_killed_run_ends_with_the_same_weights(trainer, whole, tmp_path, owner, name, call):
    owner = {"torch.optim.AdamW": torch.optim.AdamW, "Trainer": Trainer, "os": os}[owner]
    run_killed(lambda: trainer(tmp_path).run(), owner, name, call)
    assert not (tmp_path / "manifest.json").exists()
    trainer(tmp_path).run()
    assert_same(tmp_path, whole)


def test_a_run_that_ended_goes_on_when_its_last_stage_is_given_more_updates(trainer, whole, tmp_path, capsys):
    """Its snapshots are of 2 and 3 updates; those of the longer run of 3, which is there, and of 4, its end."""
    trainer(tmp_path, RECIPE.ending_at(4)).run()
    trainer(tmp_path).run()
    assert "continuing from update 4 of 6" in "".join(capsys.readouterr())
    assert_same(tmp_path, whole)


@pytest.mark.parametrize(
    "shorter", [RECIPE.ending_at(5), RECIPE.ending_at(6), replace(RECIPE.ending_at(5), ema_value=0.2)]
)
def test_it_does_not_where_a_snapshot_was_not_taken_or_more_is_new(trainer, tmp_path, capsys, shorter):
    """Of 5 updates snapshots were taken after 2 and 4, and not after 3; of 6 none after 5."""
    trainer(tmp_path, shorter).run()
    trainer(tmp_path, RECIPE if shorter.updates == 5 else replace(RECIPE, snapshots=(0.5, 0.9))).run()
    assert "another configuration" in "".join(capsys.readouterr())
    assert [row["update"] for row in rows(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_a_run_of_two_versions_of_the_code_says_so(trainer, tmp_path, monkeypatch, capsys):
    run_killed(lambda: trainer(tmp_path).run(), Trainer, "_record", 5)
    monkeypatch.setattr(loop, "code_version", lambda: "of another day")
    trainer(tmp_path).run()
    assert "code has changed since" in "".join(capsys.readouterr())
    first, second = read_manifest(tmp_path)["extra"]["code"]
    assert (first, second) == (code_version(), "of another day")


def test_killed_twice(trainer, whole, tmp_path):
    run_killed(lambda: trainer(tmp_path).run(), Trainer, "_record", 3)
    run_killed(lambda: trainer(tmp_path).run(), Trainer, "_critic_step", 3)
    trainer(tmp_path).run()
    assert_same(tmp_path, whole)
    assert read_manifest(tmp_path)["extra"]["resumed_at"] == 4


def test_a_finished_run_trains_no_more(trainer, whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "run")
    monkeypatch.setattr(Trainer, "_update", None)
    trainer(tmp_path / "run").run()
    assert_same(tmp_path / "run", whole)


def test_a_changed_configuration_starts_afresh(trainer, tmp_path):
    """Neither weights nor snapshots nor log of the older configuration are in the run; they are put aside, whole."""
    first = replace(RECIPE, stages=(replace(FIRST, updates=3),), snapshots=(0.7,))
    second = replace(first, stages=(replace(FIRST, updates=2, learning_rate=1e-4),), snapshots=(0.5,))
    trainer(tmp_path / "run", first).run()
    trainer(tmp_path / "run", second).run()
    trainer(tmp_path / "fresh", second).run()
    files = [tmp_path / name / "student" / "diffusion_pytorch_model.safetensors" for name in ("run", "fresh")]
    assert sha256_file(files[0]) == sha256_file(files[1])
    assert [p.name for p in (tmp_path / "run" / "snapshots").iterdir()] == ["update_000001"]
    assert [row["lr"] for row in rows(tmp_path / "run")] == [1e-4, 1e-4]
    assert read_manifest(tmp_path / "run")["extra"]["resumed_at"] == 0
    aside = tmp_path / "run.replaced-1"
    assert verify_manifest(aside) == [] and (aside / "snapshots" / "update_000002").is_dir()
    trainer(aside, first).run()
    assert read_manifest(aside)["extra"]["resumed_at"] == 3, "moved back it would be whole"


def test_a_student_whose_checkpoint_is_gone_is_not_lost(trainer, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "checkpoint.safetensors").unlink()
    run_killed(lambda: trainer(tmp_path / "run").run(), Trainer, "_record", 1)
    assert (tmp_path / "run.replaced-1" / "student" / "config.json").exists()


def test_an_older_student_is_not_taken_for_the_new_one(trainer, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    changed = replace(RECIPE, options=RECIPE.options | {"norm_constant": 0.7})
    run_killed(lambda: trainer(tmp_path / "run", changed).run(), Trainer, "_record", 1)
    left = {p.name for p in (tmp_path / "run").iterdir() if not p.name.startswith(".")}
    assert not left & {"student", "snapshots", "manifest.json", "checkpoint.safetensors"}


def test_what_the_weights_depend_on(trainer, tiny_scale, tiny_samples, tmp_path):
    def fingerprint(scale=tiny_scale, **changes):
        return trainer(tmp_path, replace(RECIPE, **changes.pop("recipe", {})), scale=scale, **changes).fingerprint

    base = fingerprint()
    sampling, teacher = tiny_scale.sampling, tiny_scale.teacher
    for harmless in (
        replace(tiny_scale, sampling=replace(sampling, seed=99)),
        replace(tiny_scale, sampling=replace(sampling, batch=5)),
        replace(tiny_scale, protocol=replace(tiny_scale.protocol, margin=9.0)),
    ):
        assert fingerprint(harmless) == base
    assert fingerprint(recipe={"checkpoint_every": 5, "log_every": 3}) == base
    other = tmp_path / "other"
    other.mkdir()
    samples = TrainingClips.load(tiny_samples)
    replace(samples, latents=samples.latents + 0.1).save(other)
    changed = [
        fingerprint(replace(tiny_scale, sampling=replace(sampling, student_shift=sampling.student_shift + 1))),
        fingerprint(replace(tiny_scale, teacher=replace(teacher, guidance=teacher.guidance + 1))),
        fingerprint(recipe={"options": RECIPE.options | {"score_scale": 2.0}}),
        fingerprint(seed=1),
        fingerprint(teacher="exact"),
        fingerprint(samples=other),
    ]
    assert base not in changed and len(set(changed)) == len(changed)


def test_broken_data_and_checkpoints_are_user_errors(trainer, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-8])
    with pytest.raises(UserError, match="checkpoint.safetensors is truncated"):
        trainer(tmp_path / "run").run()
    with pytest.raises(UserError, match=SAMPLES):
        trainer(tmp_path / "run", samples=tmp_path)


def test_a_loss_that_is_not_finite_stops_the_run_with_step_term_and_batch(trainer, tmp_path, tiny_samples):
    stages = tuple(replace(stage, learning_rate=float("inf")) for stage in RECIPE.stages)
    with pytest.raises(
        UserError,
        match=r"after 1 student and 0 critic updates the loss of term 'consistency' is nan; .*stopped\.safetensors",
    ):
        trainer(tmp_path, replace(RECIPE, stages=stages)).run()
    tensors, counters = load_checkpoint(tmp_path / "stopped.safetensors")
    assert counters == {"student": 1, "critic": 0, "term": "consistency"}
    stored = TrainingClips.load(tiny_samples)
    assert all(any(torch.equal(clip, other) for other in stored.latents) for clip in tensors["x0"])
    assert not (tmp_path / "checkpoint.safetensors").exists() and not (tmp_path / "student").exists()


def test_a_broken_clip_in_the_data_stops_the_run_at_its_batch(trainer, tmp_path):
    """Its residual counts 0 in the loss, but what went through the network spoils the gradient."""
    training = trainer(tmp_path / "run", replace(RECIPE, stages=(replace(FIRST, batch=64),)))
    training.data.latents[0] = float("nan")
    with pytest.raises(UserError, match=r"after 0 student .* the gradient of term 'consistency' is nan"):
        training.run()
    assert (tmp_path / "run" / "stopped.safetensors").exists()


def test_a_gradient_of_the_critic_that_is_not_finite_stops_the_run_before_its_step(trainer, tmp_path):
    """Its loss is finite: only what goes back through it is spoiled."""
    training = trainer(tmp_path / "run")
    fake = training.networks.critic["fake"]
    next(fake.parameters()).register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(UserError, match=r"after 4 student and 0 critic updates the gradient of term 'fake' is inf"):
        training.run()
    assert all(parameter.isfinite().all() for parameter in fake.parameters())
    _, counters = load_checkpoint(tmp_path / "run" / "stopped.safetensors")
    assert counters == {"student": 4, "critic": 0, "term": "fake"}


def test_the_exact_teacher_supervises_too(tiny_scale, codec, tmp_path):
    """Full-size latents: the exact teacher's clips are 17 frames of 64 x 64."""
    from alice_repro.config import load_scale

    source = f"model.source={tiny_scale.model.source}"
    scale = load_scale("smoke", (source, "teacher.exact_clips=2"))
    captions = ["a red ball falls in the studio", "a blue box slides in the gym"]
    latents = torch.randn(4, 16, 5, 8, 8, generator=torch.Generator().manual_seed(1))
    TrainingClips(latents, torch.arange(4) % 2, captions, 8).save(tmp_path)
    stages = tuple(replace(stage, updates=1, batch=2) for stage in RECIPE.stages)
    Trainer(scale, replace(RECIPE, stages=stages), "exact", 0, tmp_path, tmp_path / "run").run()
    assert [row["stage"] for row in rows(tmp_path / "run")] == ["stage1", "stage2"]


def test_mixed_precision_derives_the_same_tangent(trainer, tmp_path):
    """Autocast reaches the derivative too: df/ds of the first update agrees with float32 to bfloat16's precision."""
    short = replace(
        RECIPE, stages=(replace(FIRST, updates=1, batch=8), replace(RECIPE.stages[1], updates=1)), snapshots=()
    )
    norms = {}
    for precision in ("no", "bf16"):
        AcceleratorState._reset_state(True)  # one precision a process otherwise
        try:
            trainer(tmp_path / precision, replace(short, precision=precision)).run()
        finally:
            AcceleratorState._reset_state(True)
        norms[precision] = rows(tmp_path / precision)[0]["df_ds"]
        student = load_transformer(tmp_path / precision / "student")
        assert {p.dtype for p in student.parameters()} == {torch.float32}, "master weights"
    assert norms["bf16"] == pytest.approx(norms["no"], rel=0.05) and norms["bf16"] != norms["no"]
