"""Closed forms of the calls in an update: against methods that are run, and against what the ledger's runs spent."""

from __future__ import annotations

import json

import pytest

from alice_repro.config import CHECKOUT, load_recipe, method_recipes
from alice_repro.distill.calls import Calls, calls_of
from alice_repro.distill.counting import count

LEDGER = CHECKOUT / "results" / "reference" / "lab" / "methods" / "trained"


def both(recipe: str, *settings: str, stage: int = -1):
    loaded = load_recipe(recipe, settings)
    return calls_of(loaded, loaded.stages[stage]), count(loaded, loaded.stages[stage])


# Those of a method without a closed form are counted by running it.
FORMS = [name for name in method_recipes() if calls_of(load_recipe(name), load_recipe(name).stages[-1]) is not None]


def test_every_method_of_the_papers_has_a_closed_form():
    known = {"rcm", "scm", "dmd", "dmd2", "dfd", "avd", "dp_dmd", "regression", "finetune"}
    assert known <= {load_recipe(name).method for name in FORMS}


@pytest.mark.parametrize("recipe", FORMS)
def test_closed_forms_are_what_the_methods_do(recipe):
    loaded = load_recipe(recipe)
    for number in range(len(loaded.stages)):
        stated, counted = both(recipe, stage=number)
        assert stated == counted


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ("dmd2", ["student_input=noised"]),
        ("dmd2", ["gan_features=teacher", "gan_weight=0.03"]),
        ("dmd2", ["gan_features=fake", "gan_weight=0.03", "stages.0.target_steps=2"]),
        ("dp_dmd", ["gan_features=teacher", "gan_weight=0.03", "anchor_steps=3", "stages.0.target_steps=6"]),
        ("avd", ["regression_weight=0.0"]),
        ("avd", ["form=release", "student_input=noised"]),
        ("dfd", ["student_input=rollout", "form=score"]),
        ("regression", ["student_input=rollout", "stages.0.target_steps=1"]),
        ("rcm", ["form=alice"]),
        ("rcm", ["stages.1.consistency=0.0"]),
        ("rcm", ["stages.1.score=0.0"]),
        ("scm", ["form=alice"]),
        ("dmd", ["form=alice"]),
    ],
)
def test_options_change_the_calls_as_stated(recipe, settings):
    stated, counted = both(recipe, *settings)
    assert stated == counted


def test_evaluations_by_hand():
    # DMD2, 4 steps: 2.5 of the student, the fake score, the guided teacher; each critic update 2.5 + 1
    update, _ = both("dmd2")
    teacher = update.student["teacher"]
    assert (teacher.evaluations(True), teacher.evaluations(False)) == (2, 1)
    assert update.student["student"] == Calls(forward=1.5, trained=1)
    assert update.together(4)["fake"] == Calls(forward=1, trained=4)


@pytest.mark.parametrize("path", sorted(LEDGER.glob("*/seed0.json")), ids=lambda path: path.parent.name)
def test_ledger_spent_what_is_planned(path):
    from alice_repro.config import Recipe
    from alice_repro.strict import from_mapping

    entry = json.loads(path.read_text())
    recipe = from_mapping(Recipe, entry["config"]["recipe"], str(path))
    planned = variance = 0.0
    for stage in recipe.stages:
        update = calls_of(recipe, stage)
        roles = update.together(stage.critic_updates).items()
        planned += stage.updates * stage.batch * sum(c.evaluations(role == "teacher") for role, c in roles)
        # A drawn step of a roll-out: uniform on k values, once for each update that draws.
        spread = (stage.target_steps**2 - 1) / 12
        draws = stage.updates * (1 + stage.critic_updates * update.has_critic)
        variance += draws * spread * stage.batch**2
    difference = abs(entry["network_evaluations"] - planned)
    assert difference <= 4 * variance**0.5
    most_steps = max(stage.target_steps for stage in recipe.stages)
    if recipe.method in ("scm", "finetune") or recipe.options.get("student_input") == "noised":  # nothing is drawn
        assert difference == 0
    elif recipe.method in ("rcm", "dmd"):  # the steps are gone through in turn: at most a cycle is cut short
        assert difference <= 2 * most_steps * recipe.stages[-1].batch
