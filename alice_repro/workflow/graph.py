"""What the workflow is made of for one scale: its arms, and the settings that each stage depends on.

A stage is redone if one of *its* settings changed, never because of another's. Settings are told by their dotted keys.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from alice_repro.config import (
    ANCHOR_OPTIONS,
    ANCHORED,
    CONSISTENT,
    FULL,
    SHORT,
    START,
    UNTRAINED,
    Recipe,
    Scale,
    load_recipe,
    load_scale,
    resolve,
    split_settings,
)
from alice_repro.errors import unknown_name
from alice_repro.models.source import locate
from alice_repro.strict import as_settings
from alice_repro.workflow.layout import (
    CHECKOUT,
    TEACHER_ARMS,
    Layout,
    StudentArm,
    data_name,
    ledger_of,
    parse_arm,
    parse_data,
    students_of,
)

NOTEBOOKS = CHECKOUT / "notebooks"
SMALL = 50  # clips; an arm of fewer is over so soon that two jobs side by side beat one with all cores

_VIDEO = ("model.source", "model.text_length", "model.height", "model.width", "model.frames")
_GUIDED = {
    "trained": ("teacher.guidance", "teacher.negative_prompt"),
    "exact": ("teacher.exact_clips", "teacher.exact_width", "teacher.exact_guidance"),
}
_STEPS = ("teacher.steps", "teacher.shift")
# How often training reports and saves changes nothing in its result.
_NO_RESULT = ("recipe.checkpoint_every", "recipe.log_every")

_WILDCARDS = ("data", "teacher", "recipe", "arm")


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted keys: {"teacher.guidance": 3.0, "stages.0.updates": 80, ...}."""
    if isinstance(values, Mapping):
        items = list(values.items())
    elif isinstance(values, list | tuple) and values and isinstance(values[0], Mapping):
        items = list(enumerate(values))
    else:
        return {prefix.rstrip("."): values}
    return {key: value for name, item in items for key, value in flat(item, f"{prefix}{name}.").items()}


def dependencies(stage: str, scale: Scale, recipe: Recipe, teacher: str = "trained", arm: str = "") -> dict[str, Any]:
    """The settings (dotted key -> value) that the result of a stage depends on, other than through its input files.

    Args:
        stage: "data", "train", "sample", "evaluate" or "table".
        teacher: matters to data, train and sample, which ask the teacher.
        arm: matters to sample.
    """
    values = flat(asdict(scale)) | {f"recipe.{key}": value for key, value in flat(as_settings(recipe)).items()}
    keys: list[str] = []
    if stage == "data":
        keys = [*_VIDEO, "prompts.source", "prompts.train", "data.source", "data.samples_per_caption"]
        keys += [*_GUIDED[teacher], *_STEPS, "data.seed"] if scale.data.source == "teacher" else []
        # The exact teacher is defined on the evaluation captions, and its students are trained on them; of a file those
        # for training come after those for evaluation.
        keys += ["prompts.evaluate"] if teacher == "exact" or scale.prompts.source != "world" else []
    elif stage == "train":
        keys = [*_VIDEO, *_GUIDED[teacher], "sampling.student_shift"]
        keys += [key for key in values if key.startswith("recipe.") and key not in _NO_RESULT]
    elif stage == "sample":
        keys = [*_VIDEO, "model.fps", "prompts.source", "prompts.evaluate", "prompts.seeds", "sampling.seed"]
        keys += ["sampling.batch"]  # for the seconds that a clip takes; the clip itself is the same
        if arm == FULL:
            keys += [*_GUIDED[teacher], *_STEPS]
        elif arm == SHORT:
            keys += [*_GUIDED[teacher], "teacher.shift", "sampling.student_steps"]
        elif arm == CONSISTENT:
            keys += [*_GUIDED[teacher], *_STEPS, "sampling.student_steps", "sampling.student_shift"]
        elif arm == START:
            keys += ["sampling.student_steps", "sampling.student_shift"]
        elif arm == ANCHORED:
            values |= load_recipe("dp_dmd").options
            keys += [*_GUIDED[teacher], "sampling.student_steps", "sampling.student_shift", *ANCHOR_OPTIONS]
        elif _takes_the_teachers_steps(recipe.method):
            keys += [*_GUIDED["trained"], *_STEPS]
        else:
            keys += ["sampling.student_steps", "sampling.student_shift"]
    elif stage == "evaluate":
        keys = ["prompts.source"]
    elif stage == "table":
        keys = ["rung", *(key for key in values if key.startswith("protocol."))]
        keys += ["teacher.steps", "sampling.student_steps"]
    return {key: values[key] for key in keys}


@cache
def _takes_the_teachers_steps(method: str) -> bool:
    from alice_repro.distill.registry import methods  # brings torch, which most of the steps' own processes do without

    return methods()[method].sampler == "teacher"


@dataclass(frozen=True)
class Graph:
    """The workflow's configuration, as `reproduce` writes it for Snakemake and for each step.

    Attributes:
        scale_name, settings: the scale preset and what ``--set`` changed.
        variants: what is trained, by name: the settings that it has beside these (another recipe, options of it, other
            training clips).
        teachers, seeds: which teachers are distilled, and the training runs of each.
        folder, root: see `Layout`.
        reference: the folder with a committed record per scale.
        file: where this is stored as JSON.
        program: the command that runs a step.
    """

    scale_name: str
    settings: tuple[str, ...]
    variants: Mapping[str, tuple[str, ...]]
    teachers: tuple[str, ...]
    seeds: tuple[int, ...]
    folder: str
    root: Path
    reference: Path
    file: Path
    program: tuple[str, ...]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Graph:
        """From a mapping as `asdict` makes it, after a trip through JSON."""
        lists = {name: tuple(values[name]) for name in ("settings", "teachers", "seeds", "program")}
        paths = {name: Path(values[name]) for name in ("root", "reference", "file")}
        variants = {name: tuple(settings) for name, settings in values["variants"].items()}
        return cls(scale_name=values["scale_name"], folder=values["folder"], variants=variants, **lists, **paths)

    @property
    def layout(self) -> Layout:
        """The folders."""
        return Layout(self.folder, self.root)

    @property
    def scale(self) -> Scale:
        """The resolved scale."""
        return load_scale(self.scale_name, split_settings(self.settings)[0])

    def settings_of(self, variant: str) -> tuple[str, ...]:
        """All settings of a variant."""
        if variant not in self.variants:
            raise unknown_name("variant", variant, self.variants)
        return (*self.settings, *self.variants[variant])

    def resolve(self, variant: str) -> tuple[Scale, Recipe]:
        """Scale and recipe of a variant."""
        return resolve(self.scale_name, self.settings_of(variant))

    def data_of(self, teacher: str, variant: str) -> str:
        """Name of the training clips of a variant."""
        return data_name(teacher, self.resolve(variant)[0].data.source)

    def students(self) -> list[tuple[str, str]]:
        """(teacher, arm) of every student."""
        resolved = {name: self.resolve(name)[1] for name in self.variants}
        return [
            (teacher, arm)
            for teacher in self.teachers
            for name, recipe in resolved.items()
            for seed in self.seeds
            for arm in students_of(name, recipe, seed)
        ]

    def arms(self) -> list[tuple[str, str]]:
        """(teacher, arm) of everything that Table 4 is made from."""
        return [(teacher, arm) for teacher in self.teachers for arm in TEACHER_ARMS] + self.students()

    def weights(self) -> list[str]:
        """The teacher's weight files and, if prompts come from a file, that file: relative to the results."""
        scale = self.scale
        files = sorted(locate(scale.model).rglob("*.safetensors"))
        prompts = Path(scale.prompts.source)
        return [self.relative(path) for path in [*files, *([prompts] if prompts.is_file() else [])]]

    def record(self) -> list[str]:
        """The score tables of the committed record of this scale: relative to the results."""
        return [self.relative(path) for path in sorted((self.reference / self.scale_name).rglob("*.csv"))]

    @property
    def ledger(self) -> Path:
        """Where finished runs are kept."""
        return ledger_of(self.scale_name, self.root)

    def relative(self, path: Path) -> str:
        """A path as Snakemake sees it, so that a checkout can be moved."""
        return os.path.relpath(path.resolve(), self.layout.results.resolve())

    def params(self, stage: str) -> dict[str, Callable[[Any], str]]:
        """One Snakemake parameter for each setting that the stage may depend on: "key = value", or nothing."""

        @cache
        def found(**chosen: str) -> dict[str, Any]:
            return dependencies(stage, *self._resolved_for(chosen), chosen.get("teacher", ""), chosen.get("arm", ""))

        def parameter(key: str) -> Callable[[Any], str]:
            def text(wildcards: Any) -> str:
                chosen = {name: wildcards[name] for name in _WILDCARDS if name in wildcards.keys()}
                if "data" in chosen:
                    chosen["teacher"] = parse_data(chosen["data"])[0]
                values = found(**chosen)
                return f"{key} = {values[key]!r}" if key in values else ""

            return text

        resolved = [self.resolve(name) for name in self.variants]
        arms = (*UNTRAINED, str(StudentArm(next(iter(self.variants)), 0)))
        keys = {
            key
            for scale, recipe in resolved
            for teacher in _GUIDED
            for arm in arms
            for key in dependencies(stage, scale, recipe, teacher, arm)
        }
        return {key.replace(".", "_"): parameter(key) for key in sorted(keys)}

    def _resolved_for(self, chosen: Mapping[str, str]) -> tuple[Scale, Recipe]:
        """Scale and recipe that a job with these wildcards depends on."""
        student = parse_arm(chosen["arm"]) if "arm" in chosen else None
        variant = student.recipe if student else chosen.get("recipe", next(iter(self.variants)))
        scale, recipe = self.resolve(variant)
        if "data" in chosen:
            scale = replace(scale, data=replace(scale.data, source=parse_data(chosen["data"])[1]))
        return scale, recipe

    def tables_of(self, teacher: str, variant: str, seed: int) -> list[str]:
        """The score tables of a run."""
        return [f"scores/{teacher}/{arm}.csv" for arm in students_of(variant, self.resolve(variant)[1], seed)]

    def run_of(self, arm: str) -> str | None:
        """The training run of an arm, as the end of a path; None for an arm of the teacher."""
        student = parse_arm(arm)
        return None if student is None else f"{student.recipe}/seed{student.seed}"

    def threads(self, cores: int) -> int:
        """Cores of a step of torch. Two trainings side by side on a core each do 1.6 times what one does on both."""
        scale = self.scale
        small = scale.prompts.evaluate * scale.prompts.seeds < SMALL
        return 1 if small else max(1, cores // (len(self.teachers) * len(self.seeds)))

    def command(self, stage: str, *wildcards: str) -> str:
        """The shell command of a step; Snakemake fills in the wildcards."""
        words = " ".join(f"{{wildcards.{name}}}" for name in wildcards)
        program = shlex.join([*self.program, str(self.file), stage]).replace("{", "{{").replace("}", "}}")
        return f"{program} {words} 2>&1"
