"""What a few-step student is given in training: its own roll-out from noise, or a stored clip with noise added."""

from __future__ import annotations

from typing import Literal

import torch

from alice_repro.distill.dmd import roll_out
from alice_repro.distill.method import Batch, Networks
from alice_repro.flow.schedule import add_noise, x0_from_velocity
from alice_repro.sampling.few_step import few_step_times

StudentInput = Literal["rollout", "noised"]


def draw_step_times(batch: Batch, steps: int, shift: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A step of the student's sampler for each clip: its index and its time, both (B,)."""
    index = batch.draw(lambda count, generator: torch.randint(steps, (count,), generator=generator))
    return index, few_step_times(steps, shift).float()[index].to(batch.x0.device)


def student_sample(
    networks: Networks, batch: Batch, steps: int, shift: float, student_input: StudentInput
) -> torch.Tensor:
    """G, the student's x0 at one of its own times; gradient through that one evaluation.

    "rollout" is backward simulation (DMD2, Self-Forcing): the student's sampler from pure noise up to a step drawn
    uniformly, the same for the whole batch on all processes. G shares with a clip of the batch its caption alone.
    "noised" (FastGen's default): the batch's clips with noise of a step's time, drawn per clip, so that G and x are a
    pair.

    Returns:
        (B, C, T, H, W).
    """
    student = batch.velocity(networks.student)
    if student_input == "rollout":
        last = int(torch.randint(steps, (1,), generator=batch.shared))
        times = few_step_times(steps, shift)[: last + 1]
        return roll_out(student, batch.clip_noise(), batch.x0.shape[1:], times, batch.x0.device)
    _, t = draw_step_times(batch, steps, shift)
    x_t = add_noise(batch.x0, batch.noise_like_x0(), t)
    return x0_from_velocity(x_t, student(x_t, t), t)
