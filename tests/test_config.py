"""Presets and settings are strict: what is unknown, missing or of another type is named with the fix."""

from __future__ import annotations

import dataclasses
import json
import tomllib

import pytest

from alice_repro.config import (
    PACKAGE,
    PromptConfig,
    Recipe,
    Stage,
    load_lab_experts_recipe,
    load_lab_teacher_recipe,
    load_recipe,
    load_scale,
    method_recipes,
    split_settings,
)
from alice_repro.errors import UserError
from alice_repro.strict import as_settings, from_mapping

SCALES = sorted(path.stem for path in (PACKAGE / "scales").glob("*.toml"))
RECIPES = method_recipes()
PROMPTS = {"source": "world", "train": 6, "evaluate": 6, "seeds": 2}


@pytest.mark.parametrize("name", SCALES)
def test_every_scale_loads_under_its_own_name_with_its_recipe(name):
    scale = load_scale(name)
    assert scale.name == name
    assert load_recipe(scale.recipe).name == scale.recipe


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_loads_and_its_updates_are_those_of_its_stages(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.updates == sum(stage.updates for stage in recipe.stages) > 0
    # The fake score is trained where, and only where, its term counts.
    weighed = [stage for stage in recipe.stages if "score" in stage.options]
    assert all((stage.options["score"] > 0) == (stage.critic_updates > 0) for stage in weighed)


def test_the_presets_the_issue_names_are_there():
    assert {"smoke", "lab", "wan-1.3b", "wan-14b", "alice-14b"} <= set(SCALES)
    assert load_lab_teacher_recipe().updates > 0 and 0 < load_lab_experts_recipe().boundary < 1


def test_wan_presets_ask_for_what_wan_samples():
    """Wan2.1's own settings: 81 frames at 16 fps, 512 tokens, guidance 5, 50 steps, shift 3 at 480p and 5 at 720p."""
    small, large = load_scale("wan-1.3b"), load_scale("wan-14b")
    assert (small.model.height, small.model.width, small.teacher.shift) == (480, 832, 3.0)
    assert (large.model.height, large.model.width, large.teacher.shift) == (720, 1280, 5.0)
    for scale in (small, large):
        assert (scale.model.frames, scale.model.fps, scale.model.text_length) == (81, 16, 512)
        assert (scale.teacher.guidance, scale.teacher.steps) == (5.0, 50)


def test_two_experts_have_the_guidance_that_wan22_gives_each():
    """Wan2.2-T2V-A14B: sample_guide_scale (3.0, 4.0) is (low, high) noise, sample_shift 12."""
    scale = load_scale("alice-14b")
    assert scale.teacher.guidance == (4.0, 3.0) and (scale.teacher.shift, scale.model.fps) == (12.0, 16)
    assert load_scale("smoke", ("teacher.guidance=[4, 3]",)).teacher.guidance == (4.0, 3.0)
    for wrong in ('"strong"', "[4.0, true]"):
        with pytest.raises(UserError, match="'teacher.guidance.*' must be of type float"):
            load_scale("smoke", (f"teacher.guidance={wrong}",))


def test_alice_recipe_has_the_numbers_of_tables_3_and_12():
    one, two = load_recipe("rcm_wan_14b").stages
    assert (one.updates, one.batch, one.learning_rate, one.warmup, one.target_steps) == (100_000, 256, 1e-5, 1000, 8)
    assert (two.updates, two.batch, two.learning_rate, two.warmup, two.target_steps) == (50_000, 128, 5e-6, 500, 4)
    assert one.options == {"consistency": 1.0, "score": 0.0}
    assert two.options == {"consistency": 1.0, "score": 0.1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sead": 1}, "unknown key 'sead': did you mean 'seeds'"),
        ({"train": None}, "key 'train' is missing"),
        ({"train": "6"}, "'train' must be of type int, not '6'"),
        ({"train": True}, "'train' must be of type int, not True"),
        ({"train": 6.5}, "'train' must be of type int, not 6.5"),
        ({"source": 3}, "'source' must be of type str, not 3"),
    ],
)
def test_unknown_missing_or_mistyped_keys_are_named_with_their_source(change, message):
    values = {key: value for key, value in (PROMPTS | change).items() if value is not None}
    with pytest.raises(UserError, match=message) as caught:
        from_mapping(PromptConfig, values, "mine.toml")
    assert str(caught.value).startswith("mine.toml: ")
    assert caught.value.exit_code == 2


def test_a_whole_number_is_taken_for_a_real_one_and_a_list_for_a_tuple():
    values = as_settings(load_recipe("rcm_smoke")) | {"weight_decay": 2, "betas": [0, 0.5]}
    recipe = from_mapping(Recipe, values, "mine.toml")
    assert type(recipe.weight_decay) is float and recipe.betas == (0.0, 0.5)
    assert isinstance(recipe.stages[0], Stage)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stages": {"name": "one"}}, "'stages' must be a list"),
        ({"stages": ["one"]}, r"'stages\[0\]' must be a table"),
        ({"snapshots": ["half"]}, r"'snapshots\[0\]' must be of type float"),
        ({"snapshots": [0.5, 1.5]}, r"'snapshots\[1\]' must be from 0 to 1, not 1\.5"),
        ({"betas": [0.9]}, "'betas' must be a list of 2"),
    ],
)
def test_nested_values_are_named_by_their_place(change, message):
    values = dataclasses.asdict(load_recipe("rcm_smoke")) | change
    with pytest.raises(UserError, match=message):
        from_mapping(Recipe, values, "mine.toml")


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (lambda: load_scale("labb"), "unknown scale 'labb': did you mean 'lab'"),
        (lambda: load_recipe("rcm_smoek"), "unknown recipe 'rcm_smoek': did you mean 'rcm_smoke'"),
        (lambda: load_scale("smoke", ("teacher.guidnce=2",)), "smoke.toml: .*did you mean 'teacher.guidance'"),
        (lambda: load_scale("smoke", ("guidance=2",)), "unknown key 'guidance': did you mean"),
        (lambda: load_scale("smoke", ("teacher=2",)), "'teacher' must be a table"),
        (lambda: load_scale("smoke", ("teacher.guidance",)), "must have the form key=value"),
        (lambda: load_scale("smoke", ("teacher.guidance.low=1",)), "unknown key 'teacher.guidance.low'"),
        (lambda: load_scale("smoke", ("teacher.steps=many",)), "'teacher.steps' must be of type int, not 'many'"),
        (lambda: load_recipe("rcm_smoke", ("stages.2.updates=1",)), "did you mean 'stages"),
        (lambda: load_recipe("rcm_smoke", ("stages.first.updates=1",)), "unknown key 'stages.first.updates'"),
        (lambda: load_scale("smoke", ("teacher.steps=0",)), "'teacher.steps' must be 1 or more, not 0"),
        (lambda: load_scale("smoke", ("teacher.shift=nan",)), "'teacher.shift' must be above 0, not nan"),
        (lambda: load_recipe("rcm_smoke", ("stages.0.updates=-1",)), "updates' must be 0 or more, not -1"),
        (lambda: load_recipe("rcm_smoke", ("betas=[0.9,1.0]",)), r"'betas\[1\]' must be from 0 to below 1, not 1\.0"),
        (lambda: load_recipe("rcm_smoke", ("ema=powr",)), "unknown ema 'powr': did you mean 'power'"),
        (lambda: load_recipe("rcm_smoke", ("ema=1",)), "unknown ema '1': valid are constant, power"),
        (lambda: load_recipe("rcm_smoke", ("ema_value=0.9",)), 'no relative width .* ema = "constant"'),
        (lambda: load_recipe("rcm_smoke", ("stages=[]",)), "has no stages"),
        (lambda: load_recipe("rcm_smoke", ("precision=fp16",)), "unknown precision 'fp16': .*bf16, no"),
        (lambda: load_lab_teacher_recipe(("updatez=1",)), "did you mean 'updates'"),
        (lambda: load_lab_experts_recipe(("boundry=0.9",)), "did you mean 'boundary'"),
    ],
)
def test_names_and_settings_that_do_not_exist(load, message):
    with pytest.raises(UserError, match=message):
        load()


def test_settings_change_one_value_each_and_the_last_one_counts():
    scale = load_scale("smoke", ("teacher.guidance=2.5", "prompts.source=my prompts.txt", "teacher.guidance=4"))
    assert (scale.teacher.guidance, scale.prompts.source) == (4.0, "my prompts.txt")
    assert dataclasses.replace(scale, teacher=load_scale("smoke").teacher).protocol == load_scale("smoke").protocol
    recipe = load_recipe("rcm_smoke", ("stages.1.updates=7", "snapshots=[0.5]"))
    assert [stage.updates for stage in recipe.stages] == [load_recipe("rcm_smoke").stages[0].updates, 7]
    assert recipe.snapshots == (0.5,)


def test_snapshots_at_the_beginning_and_at_the_end_are_none():
    recipe = load_recipe("rcm_smoke", ("snapshots=[0.0, 0.01, 0.5, 1.0]",))
    assert recipe.snapshot_updates == [recipe.updates // 2]


@pytest.mark.parametrize("name", RECIPES)
def test_the_settings_of_a_recipe_are_the_keys_of_its_file(name):
    """What a recipe leaves out is not in its record, so an option of a new method leaves older runs as they were."""
    written = tomllib.loads((PACKAGE / "recipes" / f"{name}.toml").read_text())
    assert json.loads(json.dumps(as_settings(load_recipe(name)))) == written


def test_settings_of_the_recipe_carry_its_name():
    settings = ("recipe.gradient_clip=1", "teacher.steps=4", "recipe=rcm", "recipe.stages.0.updates=2")
    assert split_settings(settings) == (
        ("teacher.steps=4", "recipe=rcm"),
        ("gradient_clip=1", "stages.0.updates=2"),
    )
