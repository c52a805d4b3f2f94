"""A run on two gloo processes, under DDP or FSDP2, is the run on one: losses and weights agree but for rounding."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from alice_repro.config import PACKAGE, load_recipe
from alice_repro.errors import UserError
from alice_repro.files import sha256_file, sha256_folder
from alice_repro.manifest import read_manifest
from alice_repro.models.loading import load_transformer
from alice_repro.training.checkpoint import load_checkpoint, without_prefix
from alice_repro.training.loop import Trainer
from alice_repro.training.sharding import shards_wanted

_spec = importlib.util.spec_from_file_location("forked", Path(__file__).parent / "forked.py")
_forked = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_forked)

SMOKE = sorted(path.stem for path in (PACKAGE / "recipes").glob("*_smoke.toml"))
FAST = "regression_smoke"
# What the smoke recipes do not reach: the other forms, the teacher's features, a temporal loss that always counts.
OTHERS = (
    "rcm_smoke form=alice gradient_clip=0.5",
    "avd_smoke form=release temporal_cutoff=-9.0",
    "dmd2_smoke gan_features=teacher student_input=noised",
)
WAYS = {"ddp": {}, "fsdp2": {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}}
CASES = [
    pytest.param(case, way, marks=[] if (case, way) == (FAST, "ddp") else pytest.mark.slow)
    for case in (*SMOKE, *OTHERS)
    for way in WAYS
]


@pytest.fixture(scope="module")
def deep_scale(tiny_scale, tmp_path_factory):
    """The tiny scale with a transformer of three random blocks: FSDP2 shards each for itself."""
    folder = tmp_path_factory.mktemp("deep") / "pipeline"
    shutil.copytree(tiny_scale.model.source, folder)
    shallow = load_transformer(folder / "transformer")
    torch.manual_seed(0)
    deep = type(shallow).from_config(dict(shallow.config) | {"num_layers": 3})
    deep.load_state_dict(shallow.state_dict(), strict=False)
    deep.save_pretrained(folder / "transformer")
    return replace(tiny_scale, model=replace(tiny_scale.model, source=str(folder)))


@pytest.fixture
def train(deep_scale, tiny_samples):
    """Train by a recipe, "name key=value ...", in this process."""

    def train(case, output):
        name, *settings = case.split()
        Trainer(deep_scale, load_recipe(name, tuple(settings)), "trained", 0, tiny_samples, output).run()

    return train


def killed_at(update, run):
    """SIGKILL for the second process in an update: in one that follows a checkpoint, the first may still be writing."""
    original = Trainer._student_step

    def step(self, *arguments):
        if self.done.student + 1 == update and self.accelerator.process_index == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, *arguments)

    Trainer._student_step = step  # in a process of its own
    run()


def rows(output):
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


def assert_same_but_for_rounding(output, expected):
    """The weights move by about 1e-4: an error of 2e-6 is small beside that."""
    for row, other in zip(rows(output), rows(expected), strict=True):
        assert row.keys() == other.keys()
        numbers = [key for key, value in row.items() if isinstance(value, float) and key != "seconds"]
        assert {key: row[key] for key in numbers} == pytest.approx({key: other[key] for key in numbers}, rel=1e-4)
        assert row["evaluations"] == other["evaluations"]
    (tensors, counters), (others, other_counters) = (
        load_checkpoint(folder / "checkpoint.safetensors") for folder in (output, expected)
    )
    assert counters == other_counters and tensors.keys() == others.keys()
    assert torch.equal(tensors["generator.0"], others["generator.0"])
    for name, tensor in tensors.items():
        if name.split(".")[0] in ("student", "average", "fake", "head"):
            torch.testing.assert_close(tensor, others[name], rtol=0, atol=2e-6, msg=lambda text, name=name: name + text)


@pytest.mark.parametrize("case, way", CASES)
def test_two_processes_train_as_one_does(case, way, train, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    train(case, one)
    assert _forked.run_processes(lambda: train(case, two), **WAYS[way]) == [0, 0]
    made = read_manifest(two)["extra"]
    assert made["processes"] == 2 and made["sharded"] == (way == "fsdp2")
    assert_same_but_for_rounding(two, one)
    students = [folder / "student" for folder in (one, two)]
    assert sorted(p.name for p in students[0].iterdir()) == sorted(p.name for p in students[1].iterdir())
    assert (students[0] / "config.json").read_text() == (students[1] / "config.json").read_text()
    average = without_prefix("average", load_checkpoint(two / "checkpoint.safetensors")[0])
    exported = load_transformer(students[1]).state_dict()
    assert exported.keys() == average.keys() and all(torch.equal(exported[name], average[name]) for name in average)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("update, resumed_at", [(4, 2), (6, 4)])
def test_a_killed_run_ends_with_the_same_weights(way, update, resumed_at, train, tmp_path):
    case, whole, killed = "dmd2_smoke", tmp_path / "whole", tmp_path / "killed"
    assert _forked.run_processes(lambda: train(case, whole), **WAYS[way]) == [0, 0]

    statuses = _forked.run_processes(lambda: killed_at(update, lambda: train(case, killed)), **WAYS[way])
    assert 0 not in statuses and signal.SIGKILL in map(os.WTERMSIG, statuses)
    assert not (killed / "student").exists()
    assert _forked.run_processes(lambda: train(case, killed), **WAYS[way]) == [0, 0]
    assert read_manifest(killed)["extra"]["resumed_at"] == resumed_at
    assert sha256_file(killed / "checkpoint.safetensors") == sha256_file(whole / "checkpoint.safetensors")
    for name in ("student", "snapshots"):
        assert sha256_folder(killed / name) == sha256_folder(whole / name)


@pytest.mark.slow
def test_the_command_trains_in_shards(deep_scale, train, tiny_samples, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    train(FAST, one)
    # On CPUs `accelerate launch --num_processes 2` starts one process; torchrun starts two, and Accelerate finds them.
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "alice_repro", "train", "--scale", "smoke", "--recipe", FAST]
    command += [
        "--samples",
        str(tiny_samples),
        "--output",
        str(two),
        "--set",
        f"model.source={deep_scale.model.source}",
    ]
    for name in ("model.height", "model.width", "model.frames", "teacher.steps", "prompts.train"):
        part, key = name.split(".")
        command += ["--set", f"{name}={getattr(getattr(deep_scale, part), key)}"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": "", **WAYS["fsdp2"]}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1800)
    assert result.returncode == 0, result.stdout + result.stderr
    assert read_manifest(two)["extra"]["sharded"]
    assert_same_but_for_rounding(two, one)


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(train, tmp_path):
    one, both = tmp_path / "one", tmp_path / "both"
    train(FAST, one)

    assert 0 not in _forked.run_processes(lambda: killed_at(6, lambda: train(FAST, both)), **WAYS["fsdp2"])
    train(FAST, both)
    assert read_manifest(both)["extra"]["resumed_at"] == 4
    assert_same_but_for_rounding(both, one)


def test_what_fsdp2_cannot_do_is_a_user_error(monkeypatch, train, tmp_path):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UserError, match="--fsdp_version 2"):
        train(FAST, tmp_path)
    monkeypatch.setenv("FSDP_VERSION", "2")
    assert shards_wanted()


def test_a_batch_is_shared_evenly(monkeypatch, train, tmp_path):
    monkeypatch.setattr(Accelerator, "num_processes", 3)
    with pytest.raises(UserError, match="stage regression: a batch of 4 clips cannot be shared evenly by 3 processes"):
        train(FAST, tmp_path)
