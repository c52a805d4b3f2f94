"""One student by one method: its training clips, the training, its videos and their scores."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from alice_repro.config import PACKAGE, load_recipe, load_scale, method_recipes
from alice_repro.errors import UserError, unknown_name
from alice_repro.evaluation.index import read_scores
from alice_repro.workflow.layout import CHECKOUT, StudentArm, data_name
from alice_repro.workflow.reproduce import build, plan
from alice_repro.workflow.stages import SOURCES


def distil(
    method: str,
    scale: str,
    teacher: str,
    seed: int,
    clips: str,
    settings: Sequence[str] = (),
    cores: int | None = None,
    again: bool = False,
    root: Path = CHECKOUT,
) -> Path:
    """Train a student and measure it, doing only what is not there yet; returns the folder of the run.

    Args:
        method: name of a recipe, without the scale's ending.
        clips: "teacher" (its samples), "clean" (clips of the world without defects), or a style of clean clips.
        again: forget a run that is there, as one must after a change of the method's code.

    Raises:
        UserError: no recipe of this method for the scale, and what `plan` and `build` raise.
    """
    if clips not in SOURCES:
        raise unknown_name("clips", clips, SOURCES)
    recipe = recipe_for(method, scale)
    name = data_name(recipe, clips)  # the arm: RECIPE or RECIPE-clean
    variant = {name: (f"recipe={recipe}", f"data.source={clips}")}
    graph = plan(scale, settings, variants=variant, teachers=(teacher,), seeds=(seed,), root=root)
    arm = str(StudentArm(name, seed))
    run = graph.layout.run(teacher, name, seed)
    if again and run.exists():
        shutil.rmtree(run)
    if not build(graph, [graph.relative(run / "manifest.json"), f"scores/{teacher}/{arm}.csv"], cores):
        print("nothing to do: everything is up to date")
    scores = read_scores(graph.layout.scores(teacher, arm))
    shown = [column for column in ("endpoint", "correct", "sound", "temporal_flickering") if column in scores]
    means = ", ".join(f"{column} {scores[column].mean():.3f}" for column in shown)
    print(f"{arm} ({teacher} teacher), {len(scores)} clips: {means}")
    for what, path in {
        "Student": run / "student",
        "Run": run,
        "Videos": graph.layout.videos(teacher, arm),
        "Scores": graph.layout.scores(teacher, arm),
    }.items():
        print(f"{what:<8}{os.path.relpath(path)}")
    return run


def recipe_for(method: str, scale: str) -> str:
    """Name of a method's recipe at a scale: METHOD in the lab, METHOD_SCALE elsewhere.

    Raises:
        UserError: there is none; the message names those that there are.
    """
    known = methods_of(scale)
    if not known:  # a scale that shares its recipe with another
        own = load_scale(scale).recipe
        if load_recipe(own).method == method:
            return own
        known = [load_recipe(own).method]
    if method not in known and method in method_recipes():
        file = f"alice_repro/recipes/{method}{_ending(scale)}.toml"
        raise UserError(f"{method} has no recipe for scale {scale}: write {file} (there are: {', '.join(known)})")
    if method not in known:
        raise UserError(f"{unknown_name('method', method, known)} (recipes of scale {scale})")
    return method + _ending(scale)


def methods_of(scale: str) -> list[str]:
    """The recipes of a scale, without its ending."""
    recipes, ending = method_recipes(), _ending(scale)
    if ending:
        return [name.removesuffix(ending) for name in recipes if name.endswith(ending)]
    others = tuple(_ending(path.stem) for path in (PACKAGE / "scales").glob("*.toml") if path.stem != scale)
    return [name for name in recipes if not name.endswith(others)]


def _ending(scale: str) -> str:
    return "" if scale == "lab" else f"_{scale.replace('-', '_')}"
