"""DP-DMD (arXiv 2602.03139, a baseline of DFD): the first step keeps the teacher's diversity, DMD sharpens the rest.

From noise eps the teacher takes K guided Euler steps of its own grid, to z at time t_K. The student's first step is
drawn to the straight line there, lambda E||v(eps, 1) - (eps - z) / (1 - t_K)||^2; from where it leads, cut off from its
gradient, the later steps are trained by the score term of DMD2 alone. The student is sampled by Euler steps, without
new noise, so that what the first step has chosen is kept.

Departures: the score term is on the clip predicted at a later step that is drawn for each update, as in backward
simulation elsewhere here, and not on the last step's alone; the paper's K = 5 of 30 steps is a setting in steps of a
grid given here (``anchor_grid``, ``anchor_shift``); the anchor's loss is a mean over numbers, as the score term's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from alice_repro.config import Recipe, Stage
from alice_repro.distill.broken import zero_broken_clips
from alice_repro.distill.dmd2 import ScoreOfSamples, ScoreOptions
from alice_repro.distill.method import Batch, Networks, Progress, Term
from alice_repro.errors import UserError
from alice_repro.flow.schedule import x0_from_velocity
from alice_repro.sampling.anchored import anchor_times, anchor_velocity
from alice_repro.sampling.few_step import few_step_times
from alice_repro.sampling.teacher import euler_path
from alice_repro.strict import NonNegativeFloat, PositiveFloat, PositiveInt


@dataclass(frozen=True, kw_only=True)
class DPDMDOptions(ScoreOptions):
    """Options of DP-DMD beside those of the score term.

    Attributes:
        anchor_steps: K, the teacher's steps to the anchor.
        anchor_grid, anchor_shift: steps and shift of the teacher's own grid.
        anchor_weight: lambda.
    """

    anchor_steps: PositiveInt
    anchor_grid: PositiveInt
    anchor_shift: PositiveFloat
    anchor_weight: NonNegativeFloat


class DPDMD(ScoreOfSamples):
    """Method ``dp_dmd``."""

    Options = DPDMDOptions
    sampler = "euler"

    def __init__(self, recipe: Recipe, student_shift: float) -> None:
        super().__init__(recipe, student_shift)
        if self.options.anchor_steps > self.options.anchor_grid:
            raise UserError(f"recipe {recipe.name}: anchor_steps must be at most anchor_grid")
        for stage in recipe.stages:
            if stage.target_steps < 2:
                raise UserError(f"recipe {recipe.name}, stage {stage.name}: dp_dmd needs a student of 2 or more steps")

    def terms(self, networks: Networks, batch: Batch, stage: Stage, done: Progress) -> dict[str, tuple[float, Term]]:
        anchor = (self.options.anchor_weight, partial(self._anchor, networks, batch))
        return {"anchor": anchor, **super().terms(networks, batch, stage, done)}

    def sample(self, networks: Networks, batch: Batch, stage: Stage) -> torch.Tensor:
        """G at a step after the first, drawn alike on all processes; the gradient does not reach the earlier steps."""
        last = int(torch.randint(1, stage.target_steps, (1,), generator=batch.shared))
        times = few_step_times(stage.target_steps, self.student_shift)[: last + 1]
        student = batch.velocity(networks.student)
        with torch.no_grad():
            x = euler_path(student, batch.noise_like_x0(), times)
        t = torch.full((len(x),), float(times[-1]), device=x.device)
        return x0_from_velocity(x, student(x, t), t)

    def _anchor(self, networks: Networks, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        options, eps = self.options, batch.noise_like_x0()
        times = anchor_times(options.anchor_steps, options.anchor_grid, options.anchor_shift)
        target = anchor_velocity(batch.velocity(networks.teacher), eps, times)
        v = networks.student(eps, torch.ones(len(eps), device=eps.device), batch.caption)
        residual, _ = zero_broken_clips(v - target)
        return residual.square().mean(), {}


METHODS = {"dp_dmd": DPDMD}
