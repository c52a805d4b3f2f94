"""DP-DMD's first step: the straight line from a noise to a point early on the teacher's own path (arXiv 2602.03139)."""

from __future__ import annotations

import torch

from alice_repro.flow.schedule import euler_times
from alice_repro.flow.trigflow import VelocityFunction
from alice_repro.models.velocity import Velocity
from alice_repro.sampling.teacher import euler_path


def anchor_times(steps: int, grid: int, shift: float) -> torch.Tensor:
    """Times of the teacher's first ``steps`` on its own grid (`flow.schedule.euler_times`): (steps + 1,), from 1."""
    return euler_times(grid, shift)[: steps + 1]


@torch.no_grad()
def anchor_velocity(teacher: VelocityFunction, eps: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    """(eps - z) / (1 - t_K): the velocity of the straight line from eps to z, the teacher at the last of ``times``."""
    return (eps - euler_path(teacher, eps, times)) / (1 - float(times[-1]))


class AnchoredVelocity:
    """A teacher whose first step, from t = 1, leads straight to its anchor, and whose others are its own.

    In place of a student in Euler steps: what DP-DMD's first step does if it is learned without error, and nothing
    else is.

    Args:
        teacher: a (guided) velocity.
        times: of the teacher's steps from 1 to the anchor, (K + 1,) (`anchor_times`).

    Attributes:
        evaluations: network evaluations of a step after the first, which takes K times as many.
    """

    def __init__(self, teacher: Velocity, times: torch.Tensor) -> None:
        self.teacher, self.times = teacher, times
        self.evaluations = teacher.evaluations

    @torch.no_grad()
    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, caption: torch.Tensor) -> torch.Tensor:
        """Velocity (B, C, T, H, W); all clips share their time ``t`` (B,)."""
        if float(t[0]) < 1:
            return self.teacher(x_t, t, caption)
        return anchor_velocity(lambda x, s: self.teacher(x, s, caption), x_t, self.times)
