"""Methods by name: found where they are defined, and strict about the recipe they are given."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alice_repro.config import PACKAGE, load_recipe
from alice_repro.distill.registry import build_method, methods
from alice_repro.errors import UserError

RECIPE = load_recipe("rcm")
RECIPES = sorted(path.stem for path in (PACKAGE / "recipes").glob("*.toml") if path.stem != "lab_teacher")


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_builds_its_method(name):
    recipe = load_recipe(name)
    assert type(build_method(recipe, 5.0)) is methods()[recipe.method]


@pytest.mark.parametrize("changes, near", [({"method": "rcn"}, "'rcm'"), ({"form": "alcie"}, "'alice'")])
def test_unknown_names_are_user_errors(changes, near):
    with pytest.raises(UserError, match=near):
        build_method(replace(RECIPE, **changes), 5.0)


@pytest.mark.parametrize("key", ["form", "time_mean", "score_shift"])
def test_a_key_that_the_method_reads_must_be_there(key):
    with pytest.raises(UserError, match=f"recipe rcm: key '{key}' is missing; method rcm reads it"):
        build_method(replace(RECIPE, **{key: None}), 5.0)


def test_a_key_that_the_method_does_not_read_may_be_left_out():
    build_method(replace(RECIPE, method="dmd", time_mean=None, tangent_warmup=None), 5.0)
