"""Every method trains by its smoke recipe, and a run that is killed ends with the weights of one that was not."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from alice_repro.config import PACKAGE, load_recipe
from alice_repro.models.loading import load_transformer
from alice_repro.training.checkpoint import load_checkpoint
from alice_repro.training.loop import Trainer

_spec = importlib.util.spec_from_file_location("killing", Path(__file__).parent / "killing.py")
_killing = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_killing)

SMOKE = sorted(path.stem for path in (PACKAGE / "recipes").glob("*_smoke.toml"))
FAST = "regression_smoke"  # killed and resumed in the fast tests; all others in the slow ones


@pytest.fixture(scope="module")
def run(tiny_scale, tiny_samples, tmp_path_factory):
    """Folder of an undisturbed run of a recipe, made once."""
    made = {}

    def whole(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            Trainer(tiny_scale, load_recipe(name), "trained", 0, tiny_samples, made[name]).run()
        return made[name]

    return whole


@pytest.mark.parametrize("name", SMOKE)
def test_the_student_differs_from_the_teacher_and_every_term_has_a_gradient(name, run, tiny_lab):
    teacher, student = load_transformer(tiny_lab / "transformer"), load_transformer(run(name) / "student")
    moved = [not torch.equal(a, b) for a, b in zip(teacher.parameters(), student.parameters(), strict=True)]
    assert sum(moved) > 0.9 * len(moved)
    rows = [json.loads(line) for line in (run(name) / "log.jsonl").read_text().splitlines()]
    assert [row["update"] for row in rows] == list(range(1, load_recipe(name).updates + 1))
    gradients = [value for row in rows for key, value in row.items() if key.endswith("_gradient")]
    assert len(gradients) >= len(rows) and all(value > 0 for value in gradients)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name == FAST else pytest.mark.slow) for name in SMOKE])
def test_a_killed_run_ends_with_the_same_weights(name, run, tiny_scale, tiny_samples, tmp_path):
    def again():
        Trainer(tiny_scale, load_recipe(name), "trained", 0, tiny_samples, tmp_path).run()

    _killing.run_killed(again, Trainer, "_student_step", 4)
    again()
    tensors, counters = load_checkpoint(tmp_path / "checkpoint.safetensors")
    expected = load_checkpoint(run(name) / "checkpoint.safetensors")
    assert counters == expected[1] and tensors.keys() == expected[0].keys()
    assert not [key for key in tensors if not torch.equal(tensors[key], expected[0][key])]
