"""What a reproduction or a recipe runs, as the planner takes it: from the workflow's own targets, arms and recipes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from alice_repro.audit.planner.lab_networks import MAKERS, plan_lab_network
from alice_repro.audit.planner.machines import default_machine, parse_machine, with_shares
from alice_repro.audit.planner.plan import Experiment, Plan, Variant, make_plan
from alice_repro.config import (
    PACKAGE,
    Recipe,
    Scale,
    load_comparison,
    load_recipe,
    load_scale,
    method_recipes,
    resolve,
    split_settings,
)
from alice_repro.errors import UserError, unknown_name
from alice_repro.files import read_toml
from alice_repro.strict import from_mapping, override
from alice_repro.verdicts import TEACHERS
from alice_repro.workflow.targets import TARGETS

COMPARISON = "compare-methods"
RULE = "table04"  # the rule of the Snakefile whose graph is known here: all arms, then a notebook


def plan_what(
    what: str,
    scale_name: str,
    gpus: str = "",
    settings: Sequence[str] = (),
    teachers: Sequence[str] = (),
    runs: int = 1,
    utilisation: tuple[float, ...] = (),
) -> Plan:
    """The plan of a recipe, of a recipe's file, of a target of `make reproduce-...`, or of `make compare-methods`.

    Args:
        gpus: "64xH100"; this machine's cores for the lab, 8xH100 else, if not given.
        teachers: those of the scale for a target, the trained one for a recipe, if none is named.
        runs: training runs (seeds) of each.
        utilisation: shares of the GPUs' peak instead of the calibrated ones.

    Raises:
        UserError: an unknown scale, recipe, setting, GPU or teacher.
    """
    of_scale, of_recipe = split_settings(tuple(settings))
    scale = load_scale(scale_name, of_scale)
    machine = with_shares(parse_machine(gpus) if gpus else default_machine(scale.rung), utilisation)
    for teacher in teachers:
        if teacher not in TEACHERS:
            raise unknown_name("teacher", teacher, TEACHERS)
    if runs < 1:
        raise UserError("--runs: at least one")
    if what in MAKERS:
        return plan_lab_network(what, scale, machine, of_recipe)
    if found := target(what):
        return make_plan(reproduction(*found, scale_name, settings, teachers, runs), machine)
    if what == COMPARISON:
        return make_plan(comparison(scale_name, settings, teachers, runs), machine)
    recipe = recipe_of(what, scale, of_recipe)
    chosen = tuple(teachers) or ("trained",)
    title = f"recipe {recipe.name}, {runs} run(s)"
    plan = make_plan(Experiment(title, scale, (Variant(scale, recipe),), chosen, runs), machine)
    borrowed = scale.rung != "lab" and recipe.name in method_recipes() and recipe.name == what != scale.recipe
    if not borrowed or recipe.name.endswith(scale_name.replace("-", "_")):
        return plan
    note = f"scale {scale_name} has no recipe of {what} of its own: updates and batches are those of {recipe.name}"
    return replace(plan, notes=(note, *plan.notes))


def reproduction(
    paper: str, what: str, scale_name: str, settings: Sequence[str] = (), teachers: Sequence[str] = (), runs: int = 1
) -> Experiment:
    """A target of `alice-repro reproduce` with everything that it needs, whether it is there already or not."""
    if TARGETS[paper][what] != RULE:
        raise UserError(f"{paper} {what}: what its rule {TARGETS[paper][what]!r} runs is not known to the planner")
    scale, recipe = resolve(scale_name, settings)
    chosen = tuple(teachers) or scale.protocol.teachers
    title = f"{make_target(paper, what)} (with the report)"
    return Experiment(title, scale, (Variant(scale, recipe),), chosen, runs, whole=True, tables=1)


def comparison(
    scale_name: str, settings: Sequence[str] = (), teachers: Sequence[str] = (), runs: int = 1
) -> Experiment:
    """Every arm of `make compare-methods`, as if its ledger were empty."""
    arms = load_comparison(scale_name).arms
    resolved = {name: resolve(scale_name, (*settings, *own)) for name, own in arms.items()}
    variants = tuple(Variant(scale, replace(recipe, name=name)) for name, (scale, recipe) in resolved.items())
    title = f"{COMPARISON}, {len(variants)} arms, {runs} run(s) of each"
    scale = load_scale(scale_name, split_settings(tuple(settings))[0])
    return Experiment(title, scale, variants, tuple(teachers) or TEACHERS, runs, whole=True, tables=1)


def target(name: str) -> tuple[str, str] | None:
    """(paper, part) of a target by any of its names: "table04", "table4", "reproduce-table4"; None if there is none."""
    wanted = name.removeprefix("make ").removeprefix("reproduce-")
    for paper, parts in TARGETS.items():
        for part in parts:
            if wanted in (part, _short(part), f"{paper}-{part}", f"{paper}-{_short(part)}"):
                return paper, part
    return None


def make_target(paper: str, part: str) -> str:
    """Its name in the Makefile: alice's table04 is reproduce-table4."""
    return f"reproduce-{'' if paper == 'alice' else f'{paper}-'}{_short(part)}"


def recipe_of(what: str, scale: Scale, settings: Sequence[str] = ()) -> Recipe:
    """A recipe by its name or that of its method at this scale, or from a file.

    A scale without a recipe of its own for the method takes the one that it names if that is of this method, else the
    lab's, whose updates and batches are the lab's.

    Raises:
        UserError: no such recipe or file; a malformed one.
    """
    path = Path(what)
    if path.suffix == ".toml":
        if not path.is_file():
            raise UserError(f"recipe {what} does not exist")
        values: dict[str, Any] = read_toml(path)
        for setting in settings:
            override(values, setting, path.name)
        return from_mapping(Recipe, values, path.name)
    names = method_recipes()
    own = f"{what}_{scale.name.replace('-', '_')}"
    if own in names:
        return load_recipe(own, tuple(settings))
    if load_recipe(scale.recipe).method == what:
        return load_recipe(scale.recipe, tuple(settings))
    if what not in names:
        raise unknown_name("recipe or target", what, [*names, *MAKERS, *targets(), COMPARISON])
    return load_recipe(what, tuple(settings))


def targets() -> list[str]:
    """Every target, by its name in the Makefile."""
    return [make_target(paper, part) for paper, parts in TARGETS.items() for part in parts]


def scale_names() -> list[str]:
    """Every scale preset."""
    return sorted(path.stem for path in (PACKAGE / "scales").glob("*.toml"))


def _short(part: str) -> str:
    return re.sub(r"(?<=\D)0+(?=\d)", "", part)
