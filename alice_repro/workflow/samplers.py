"""How the clips of an arm are drawn: the teacher's many steps, a student's few, or the limit of a student."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from alice_repro.config import ANCHOR_OPTIONS, CONSISTENT, START, Scale, load_recipe
from alice_repro.errors import UserError
from alice_repro.flow.noise import ClipNoise
from alice_repro.models.half_rate import HalfRateVelocity
from alice_repro.models.interpolator import load_interpolator
from alice_repro.models.loading import TeacherParts, load_transformer
from alice_repro.models.velocity import Counted, NetworkVelocity, Velocity
from alice_repro.sampling.anchored import AnchoredVelocity, anchor_times
from alice_repro.sampling.consistent import ConsistentVelocity
from alice_repro.sampling.few_step import few_step_times, sample_few_step
from alice_repro.sampling.interpolated import check_short_steps, sample_interpolated
from alice_repro.sampling.scheduler import student_scheduler
from alice_repro.sampling.teacher import sample_euler

# Clean latents (B, C, T, h, w) of the clips with these captions (B,) and noise, and what to note of the cost.
Sampler = Callable[[torch.Tensor, ClipNoise], tuple[torch.Tensor, dict[str, object]]]


def teacher_sampler(scale: Scale, parts: TeacherParts, velocity: Velocity, steps: int) -> Sampler:
    """Euler steps along a guided velocity."""
    shape = parts.latent_shape(scale.model)

    def draw(caption: torch.Tensor, noise: ClipNoise) -> tuple[torch.Tensor, dict[str, object]]:
        clean, evaluations = sample_euler(velocity, noise.draw(shape), caption, steps, scale.teacher.shift)
        return clean, {"evaluations_per_clip": evaluations}

    return draw


def limit_sampler(scale: Scale, parts: TeacherParts, velocity: Velocity, steps: int, arm: str) -> Sampler:
    """A student's steps, of one that has learned nothing yet or has learned a method, or its first step, without error.

    Args:
        velocity: the teacher's; for a student before training its own.
        arm: "student-start" or "teacher-consistent", sampled with fresh noise, or "teacher-anchored" (of the recipe
            ``dp_dmd``), without.
    """
    shape, times = parts.latent_shape(scale.model), few_step_times(steps, scale.sampling.student_shift)

    def draw(caption: torch.Tensor, noise: ClipNoise) -> tuple[torch.Tensor, dict[str, object]]:
        counted = Counted(velocity)
        if arm == START:
            limit, sampler = counted, "renoise"
        elif arm == CONSISTENT:
            limit, sampler = ConsistentVelocity(counted, scale.teacher.steps, scale.teacher.shift), "renoise"
        else:
            anchor = load_recipe("dp_dmd").options
            path = anchor_times(*(anchor[name] for name in ANCHOR_OPTIONS))
            limit, sampler = AnchoredVelocity(counted, path), "euler"
        clean, _ = sample_few_step(limit, noise, shape, caption, times, sampler)
        return clean, {"evaluations_per_clip": counted.spent // len(caption)}

    return draw


def student_sampler(
    scale: Scale, parts: TeacherParts, captions: list[str], student: Path,
    interpolator: Path | None = None, short_steps: int = 0, positions: str = "compact",
) -> tuple[Sampler, int]:  # fmt: skip
    """As the student's folder says it is sampled, and the number of steps; one that is no student, as the teacher is.

    Raises:
        UserError: an interpolator for what is not sampled by adding fresh noise; short steps that do not fit.
    """
    shape, transformer, embeddings = parts.latent_shape(scale.model), load_transformer(student), parts.embed(captions)
    scheduler = student_scheduler(student, scale.sampling)
    if interpolator and (scheduler is None or scheduler.config.sampler != "renoise"):
        raise UserError(f"{student} is not sampled by adding fresh noise to a clip, which is what is interpolated")
    if scheduler is None:
        if isinstance(scale.teacher.guidance, tuple):
            raise UserError(f"{student} is one network: give teacher.guidance as one number to sample it in many steps")
        null = parts.embed([scale.teacher.negative_prompt])[0]
        tuned = NetworkVelocity(transformer, embeddings, null, scale.teacher.guidance)
        return teacher_sampler(scale, parts, tuned, scale.teacher.steps), scale.teacher.steps
    times = torch.tensor(scheduler.config.times, dtype=torch.float64)
    check_short_steps(shape[1], len(times), short_steps)
    network = load_interpolator(interpolator) if interpolator else None
    velocity = NetworkVelocity(transformer, embeddings)
    short = HalfRateVelocity(velocity, positions)

    def draw(caption: torch.Tensor, noise: ClipNoise) -> tuple[torch.Tensor, dict[str, object]]:
        if network is None:
            clean, evaluations = sample_few_step(velocity, noise, shape, caption, times, scheduler.config.sampler)
            return clean, {"evaluations_per_clip": evaluations}
        clean, evaluations, frames = sample_interpolated(
            velocity, network, noise, shape, caption, times, short_steps, short
        )
        return clean, {"evaluations_per_clip": evaluations, "latent_frames_a_step": frames}

    return draw, len(times)
