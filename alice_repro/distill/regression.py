"""Regression (AVD Eq. 5 without its weight): L = E || x - G(x_t, t) ||^2, x a stored clip.

The floor that every method must beat: the minimiser is the mean of all clips that x_t could be, a blur where there are
several. Departures from AVD Eq. 5, which compares noises: x0 is compared, so that a step from pure noise counts (there
the noise is known and its error is 0); the sum over a clip, mean over the batch, as elsewhere here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from alice_repro.config import Stage
from alice_repro.distill.broken import zero_broken_clips
from alice_repro.distill.method import Batch, Method, Networks, Progress, Term
from alice_repro.distill.student_input import StudentInput, student_sample


def regression_loss(sample: torch.Tensor, x0: torch.Tensor) -> torch.Tensor:
    """Sum over a clip of (x - G)^2, mean over the batch; a clip with a number that is not finite counts 0."""
    residual, _ = zero_broken_clips(sample - x0)
    return residual.square().flatten(1).sum(1).mean()


@dataclass(frozen=True)
class RegressionOptions:
    """``student_input``: "noised" (a noised stored clip) or "rollout" (the student's own steps from noise)."""

    student_input: StudentInput


class Regression(Method):
    """Method ``regression``: no teacher and no critic, only stored clips.

    With ``student_input`` "rollout" sample and clip share the caption alone, and the minimiser is the caption's mean.
    """

    Options = RegressionOptions

    def terms(self, networks: Networks, batch: Batch, stage: Stage, done: Progress) -> dict[str, tuple[float, Term]]:
        return {"regression": (1.0, partial(self._regression, networks, batch, stage))}

    def _regression(self, networks: Networks, batch: Batch, stage: Stage) -> tuple[torch.Tensor, dict[str, float]]:
        steps, shift = stage.target_steps, self.student_shift
        sample = student_sample(networks, batch, steps, shift, self.options.student_input)
        return regression_loss(sample, batch.x0), {}


METHODS = {"regression": Regression}
