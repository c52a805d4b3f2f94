"""The consistency function of a teacher, solved: what a consistency student would be if it learned perfectly."""

from __future__ import annotations

import torch

from alice_repro.flow.schedule import euler_times, velocity_from_x0
from alice_repro.models.velocity import Velocity
from alice_repro.sampling.teacher import euler_path


class ConsistentVelocity:
    """The field whose predicted clip at (x_t, t) is the end of the teacher's own path from there (sCM's fixed point).

    In place of a student in any sampler. What it scores is the limit of learning consistency alone: a student below
    that has not learned it, and what it lacks to the untouched teacher is no fault of the student.

    Args:
        teacher: a (guided) velocity.
        steps, shift: of the teacher's grid (`flow.schedule.euler_times`); a path from t runs over what lies below t.

    Attributes:
        evaluations: network evaluations of a path from t = 1.
    """

    def __init__(self, teacher: Velocity, steps: int, shift: float) -> None:
        self.teacher, self.grid = teacher, euler_times(steps, shift).tolist()
        self.evaluations = steps * teacher.evaluations

    @torch.no_grad()
    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, caption: torch.Tensor) -> torch.Tensor:
        """Velocity (B, C, T, H, W); all clips share their time ``t`` (B,) above 0."""
        start = float(t[0])
        times = [start, *(time for time in self.grid if time < start)]
        end = euler_path(lambda x, now: self.teacher(x, now, caption), x_t, times)
        return velocity_from_x0(x_t, end, t)
