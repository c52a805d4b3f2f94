"""A run on two gloo processes is the run on one: losses and weights agree but for rounding."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from alice_repro.config import PACKAGE, load_recipe
from alice_repro.errors import UserError
from alice_repro.manifest import read_manifest
from alice_repro.training.checkpoint import load_checkpoint
from alice_repro.training.loop import Trainer

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
CASES = [pytest.param(case, marks=[] if case == FAST else pytest.mark.slow) for case in (*SMOKE, *OTHERS)]


@pytest.fixture
def train(tiny_scale, tiny_samples):
    """Train by a recipe, "name key=value ...", in this process."""

    def train(case, output):
        name, *settings = case.split()
        Trainer(tiny_scale, load_recipe(name, tuple(settings)), "trained", 0, tiny_samples, output).run()

    return train


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


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_as_one_does(case, train, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    train(case, one)
    assert _forked.run_processes(lambda: train(case, two)) == [0, 0]
    assert read_manifest(two)["extra"]["processes"] == 2
    assert_same_but_for_rounding(two, one)


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(train, tmp_path):
    one, both = tmp_path / "one", tmp_path / "both"
    train(FAST, one)

    def cut_short():
        original = Trainer._student_step

        def failing(self, *arguments):
            if self.done.student == 4:
                raise KeyboardInterrupt
            return original(self, *arguments)

        Trainer._student_step = failing
        train(FAST, both)

    assert 0 not in _forked.run_processes(cut_short)
    train(FAST, both)
    assert_same_but_for_rounding(both, one)


def test_a_batch_is_shared_evenly(monkeypatch, train, tmp_path):
    monkeypatch.setattr(Accelerator, "num_processes", 3)
    with pytest.raises(UserError, match="stage regression: a batch of 4 clips cannot be shared evenly by 3 processes"):
        train(FAST, tmp_path)
