"""Methods by name: found where they are defined, and strict about the recipe they are given."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alice_repro.config import load_recipe, method_recipes
from alice_repro.distill.registry import build_method, methods
from alice_repro.errors import UserError

RECIPE = load_recipe("rcm")
RECIPES = method_recipes()


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_builds_its_method(name):
    recipe = load_recipe(name)
    assert type(build_method(recipe, 5.0)) is methods()[recipe.method]


@pytest.mark.parametrize("setting, near", [("method=rcn", "'rcm'"), ("form=alcie", "'alice'")])
def test_unknown_names_are_user_errors(setting, near):
    with pytest.raises(UserError, match=near):
        build_method(load_recipe("rcm", (setting,)), 5.0)


def without(table, key):
    return {name: value for name, value in table.items() if name != key}


@pytest.mark.parametrize("key", ["form", "time_mean", "score_shift"])
def test_a_key_that_the_method_reads_must_be_there(key):
    with pytest.raises(UserError, match=f"recipe rcm, method rcm: key '{key}' is missing"):
        build_method(replace(RECIPE, options=without(RECIPE.options, key)), 5.0)
    with pytest.raises(UserError, match="recipe rcm, stage stage2: key 'score' is missing"):
        second = replace(RECIPE.stages[1], options=without(RECIPE.stages[1].options, "score"))
        build_method(replace(RECIPE, stages=(RECIPE.stages[0], second)), 5.0)


def test_a_key_that_the_method_does_not_read_is_refused_with_the_nearest():
    with pytest.raises(UserError, match="method rcm: unknown key 'score_scal'.*'score_scale'"):
        build_method(replace(RECIPE, options={**RECIPE.options, "score_scal": 1.0}), 5.0)
    with pytest.raises(UserError, match="stage stage1: unknown key 'scor'.*'score'"):
        first = replace(RECIPE.stages[0], options={**RECIPE.stages[0].options, "scor": 1.0})
        build_method(replace(RECIPE, stages=(first, RECIPE.stages[1])), 5.0)
    with pytest.raises(UserError, match="'score_scale' must be of type float"):
        build_method(load_recipe("rcm", ("score_scale='much'",)), 5.0)


def test_a_file_that_lists_no_method_is_named():
    with pytest.raises(UserError, match=r"alice_repro/distill/joint.py lists no method .* METHODS = "):
        build_method(load_recipe("rcm", ("method=joint",)), 5.0)
