"""The work of each stage of an experiment: network evaluations and operations.

Counted are the video transformer (forward, backward, derivative, guidance) and Wan's decoder. The text encoder (one
pass a prompt), the optimiser and the losses count as nothing: together less than 1 % at full scale. The exact teacher
of the lab is no network and counts as nothing too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from alice_repro.audit.planner.machines import rates
from alice_repro.audit.planner.network import Network
from alice_repro.config import Recipe, Scale, Stage
from alice_repro.distill.calls import Calls, Update, calls_of
from alice_repro.errors import UserError

SAMPLING, TRAINING, FIXED = "sampling", "training", "fixed"


@dataclass(frozen=True)
class Work:
    """One line of a plan.

    Attributes:
        name: what it is.
        kind: at which rate it runs: "sampling", "training", or "fixed" (``seconds`` of a core, whatever the network).
        times: how often it is done (arms, runs).
        evaluations: network evaluations, all times together.
        operations: all times together.
        at_once: clips that can be worked on side by side; a training's batch must be shared evenly.
        seconds: of a core, least and most, for "fixed".
    """

    name: str
    kind: str
    times: int
    evaluations: float
    operations: float
    at_once: int
    seconds: tuple[float, float] = (0.0, 0.0)

    def usable(self, count: int) -> int:
        """How many of ``count`` GPUs this work keeps busy."""
        if self.kind == TRAINING:
            return max(share for share in range(1, min(count, self.at_once) + 1) if self.at_once % share == 0)
        return max(1, min(count, self.at_once))


def guided(scale: Scale) -> bool:
    """Whether the trained teacher is asked twice a step."""
    values = scale.teacher.guidance if isinstance(scale.teacher.guidance, tuple) else (scale.teacher.guidance,)
    return any(value != 1.0 for value in values)


def sampling(
    name: str, network: Network, clips: int, steps: int, evaluations_a_step: int, times: int = 1, decoded: bool = True
) -> Work:
    """``clips`` of ``steps`` steps each, ``times`` times; evaluations_a_step 0: no network is asked."""
    evaluations = times * clips * steps * evaluations_a_step
    operations = evaluations * network.forward + (times * clips * network.decoding if decoded else 0.0)
    return Work(name, SAMPLING, times, evaluations, operations, clips)


def update_calls(recipe: Recipe, stage: Stage) -> Update:
    """Calls in an update of a stage: in closed form, or counted by running a method that has none (imports torch)."""
    update = calls_of(recipe, stage)
    if update is None:
        from alice_repro.distill.counting import count

        update = count(recipe, stage)
    return update


def operations_of(calls: Calls, network: Network, guided_calls: bool, recomputed: bool) -> float:
    """Operations of one network's calls on one clip."""
    forward = calls.forward + (calls.forward + calls.through - calls.unguided if guided_calls else 0.0)
    again = network.forward * (calls.trained + calls.through) if recomputed else 0.0
    return (
        forward * network.forward
        + calls.trained * network.trained
        + calls.through * network.through
        + calls.derivative * network.derivative
        + again
    )


def training(
    scale: Scale, recipe: Recipe, network: Network, teacher: str = "trained", runs: int = 1, recomputed: bool = False
) -> list[Work]:
    """A line for each stage, all runs together; ``recomputed``: every trained pass runs forward once more.

    Raises:
        UserError: a stage without updates, clips or steps.
    """
    for stage in recipe.stages:
        for key, value in {"updates": stage.updates, "batch": stage.batch, "target_steps": stage.target_steps}.items():
            if value < 1:
                raise UserError(f"recipe {recipe.name}, stage {stage.name}: {key} must be at least 1, not {value}")
    every = math.gcd(*(stage.batch for stage in recipe.stages))  # what shares all stages' batches evenly
    lines = []
    for stage in recipe.stages:
        roles = update_calls(recipe, stage).together(stage.critic_updates)
        if teacher == "exact":
            roles.pop("teacher", None)
        clips = runs * stage.updates * stage.batch
        evaluations = sum(calls.evaluations(_guided(scale, role)) for role, calls in roles.items())
        operations = sum(
            operations_of(calls, network, _guided(scale, role), recomputed) for role, calls in roles.items()
        )
        name = f"training {recipe.name}, {stage.name}: {stage.updates:,} updates of {stage.batch}"
        lines.append(Work(name, TRAINING, runs, clips * evaluations, clips * operations, every))
    return lines


def training_clips(scale: Scale, network: Network, teacher: str = "trained") -> tuple[Work, int]:
    """What students learn from, and how many clips it is (as ``workflow.stages.make_training_clips`` makes them)."""
    clips = math.prod(scale.training_clips(teacher))
    if scale.data.source != "teacher":
        return Work(f"training clips: {clips:,} {scale.data.source}", FIXED, 1, 0, 0.0, clips), clips
    asked = 0 if teacher == "exact" else 2 if guided(scale) else 1
    name = f"training clips: {clips:,} of the {teacher} teacher, {scale.teacher.steps} steps"
    return sampling(name, network, clips, scale.teacher.steps, asked, decoded=False), clips


def arms(
    scale: Scale, network: Network, teacher: str, recipes: Sequence[tuple[Recipe, int]], teacher_arms: bool
) -> list[Work]:
    """Videos of every arm on the evaluation captions, decoded.

    Args:
        recipes: each with its students (runs, and snapshots of them).
        teacher_arms: also the teacher's own, with all its steps and with the student's few.
    """
    clips, asked = scale.prompts.evaluate * scale.prompts.seeds, 2 if guided(scale) else 1
    own = 0 if teacher == "exact" else asked
    lines = []
    if teacher_arms:
        for steps in (scale.teacher.steps, scale.sampling.student_steps):
            lines.append(
                sampling(f"videos of the {teacher} teacher, {steps} steps: {clips:,}", network, clips, steps, own)
            )
    for recipe, students in recipes:
        many = recipe.method == "finetune"  # its students stay multi-step networks
        steps, each = (scale.teacher.steps, asked) if many else (recipe.stages[-1].target_steps, 1)
        name = f"videos of {students} student(s) {recipe.name}, {steps} steps: {clips:,} each"
        lines.append(sampling(name, network, clips, steps, each, students))
    return lines


def scoring(scale: Scale, arms_scored: int) -> Work:
    """Scores of every arm's videos."""
    clips = arms_scored * scale.prompts.evaluate * scale.prompts.seeds
    low, high = rates()["seconds"]["lab_video" if scale.prompts.source == "world" else "video"]
    return Work(f"scores of {clips:,} videos", FIXED, arms_scored, 0, 0.0, clips, (clips * low, clips * high))


def starting(steps: int) -> Work:
    """What each step of the workflow costs before it begins."""
    low, high = rates()["seconds"]["step"]
    return Work(f"starting {steps:,} steps of the workflow", FIXED, steps, 0, 0.0, 1, (steps * low, steps * high))


def _guided(scale: Scale, role: str) -> bool:
    return role == "teacher" and guided(scale)
