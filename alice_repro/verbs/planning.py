"""The verb that says what an experiment would cost."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import tyro

from alice_repro.config import split_settings
from alice_repro.errors import UserError
from alice_repro.verbs.arguments import Settings, Teachers


def plan(
    what: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[WHAT]")] = "",
    /,
    scale: str = "lab",
    gpus: str = "",
    teachers: Teachers = (),
    runs: int = 1,
    utilisation: tuple[float, ...] = (),
    claim: str = "",
    calibration: bool = False,
    readme: bool = False,
    json: bool = False,
    settings: Settings = (),
) -> None:
    """Say what an experiment would cost before it is run: GPU-hours, wall time, memory, disk, network evaluations.

    Reads no weights and needs no GPU. All hours are ranges over rates that --calibration justifies.

    Args:
        what: a recipe (rcm, dfd, lab_teacher ...), a recipe's file, a target (table4, figure1: the whole graph), or
            compare-methods.
        scale: a preset; `alice-repro scales` lists them.
        gpus: such as 64xH100, 8xA100, 2xCPU (cores); the lab's default are this machine's cores, else 8xH100.
        teachers: trained, exact or both; those of the scale for a target if not given.
        runs: training runs (seeds) of each.
        utilisation: shares of the GPUs' dense bf16 peak instead of the calibrated ones: 0.4, or 0.3 0.45.
        claim: compare what a paper says that it took (alice.training, alice.generation ...) with its plan.
        calibration: print the published and measured times that the rates come from.
        readme: write the table of the README again.
        json: print the plan or the claim as JSON.
    """
    if calibration:
        from alice_repro.audit.planner.calibration import show_calibration

        print(show_calibration())
    elif readme:
        from alice_repro.workflow.planned_readme import update_readme

        print(update_readme())
    elif claim:
        _claim(claim, what, scale, gpus, utilisation, settings, json)
    elif not what:
        from alice_repro.audit.planner.lab_networks import MAKERS
        from alice_repro.config import method_recipes
        from alice_repro.workflow.planned import COMPARISON, targets

        known = ", ".join([*targets(), COMPARISON, *method_recipes(), *MAKERS])
        raise UserError(f"plan what? A recipe, a recipe's file or a target: {known}")
    else:
        from alice_repro.audit.planner.show import show_plan
        from alice_repro.workflow.planned import plan_what

        result = plan_what(what, scale, gpus, settings, teachers, runs, utilisation)
        print(_as_json(result.to_dict()) if json else show_plan(result))


def _claim(
    claim: str, what: str, scale: str, gpus: str, utilisation: tuple[float, ...], settings: Settings, json: bool
) -> None:
    from alice_repro.audit.planner.claims import compare, show_claim
    from alice_repro.audit.planner.machines import parse_machine
    from alice_repro.config import load_scale
    from alice_repro.workflow.planned import recipe_of

    of_scale, of_recipe = split_settings(tuple(settings))
    recipe = recipe_of(what, load_scale(scale, of_scale), of_recipe) if what else None
    result = compare(claim, parse_machine(gpus) if gpus else None, recipe, utilisation)
    print(_as_json(result.to_dict()) if json else show_claim(result))


def _as_json(values: dict) -> str:
    return json_module.dumps(values, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value.__dict__


VERBS = (plan,)
