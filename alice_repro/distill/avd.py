"""AVD Eq. 9: L_G = L_DMD + w_reg w_{t,s} L_reg + w_temp L_temp, over DMD2 on the student's own samples.

L_reg (Eq. 5) is the student's error on stored clips, noised to a step of its own sampler, mean (v - (eps - x))^2 per
clip; its weight w_{t,s} = 1 - sigmoid(k (L_s - Lbar_{t,s-1})) (Eq. 7) is less than 1/2 for a clip that is harder than
the mean of its step, Lbar_{t,s} = a Lbar_{t,s-1} + (1 - a) L_s (Eq. 6). L_temp = -log(E[Var(x)] + eps) (Eq. 8), Var
along time, is cut off where the samples vary enough.

``form`` names the two variants. "paper": the mean starts at 0 (Algorithm 1) and a weight uses the mean before the
update. "release": a step's first loss starts its mean, and the mean is updated before the weight is taken, so that
effectively k is a times smaller.

Departures: Eq. 5 compares noises, which is this times (1 - t)^2 and would be blind at t = 1; the released code takes
one weight for a whole batch from its first clip, keeps the means per process and out of the checkpoint, and lacks
w_reg; here weights are per clip, means are over all processes and in the checkpoint, and w_reg is a setting (paper 2,
release 1). Eq. 8 is read without the exponent 2, which the code does not have. Here the cut-off is a setting in units
of the loss (paper 0.6, release 0.8), whose scale is that of the latents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from alice_repro.config import Recipe, Stage
from alice_repro.distill.broken import zero_broken_clips
from alice_repro.distill.dmd2 import DMD2, DMD2Options
from alice_repro.distill.joint import SampleLoss
from alice_repro.distill.method import Batch, Networks, Progress, Term
from alice_repro.distill.student_input import draw_step_times
from alice_repro.errors import UserError
from alice_repro.flow.schedule import add_noise, velocity
from alice_repro.strict import Decay, NonNegativeFloat

EPSILON = 1e-6


def adaptive_weight(error: torch.Tensor, mean: torch.Tensor, steepness: float) -> torch.Tensor:
    """Eq. 7: 1 - sigmoid(k (L - Lbar)), 1/2 at the mean and less for a clip that is harder."""
    return torch.sigmoid(-steepness * (error - mean))


def temporal_loss(
    sample: torch.Tensor, cutoff: float, whole: Callable[[torch.Tensor], torch.Tensor] = lambda mean: mean
) -> torch.Tensor:
    """Eq. 8: -log(mean Var_time(G) + 1e-6), the population variance over frames; 0 once it is below ``cutoff``.

    Args:
        whole: makes of the mean over this process's clips that over all (``Batch.mean_over_processes``).
    """
    loss = -torch.log(whole(sample.var(dim=2, unbiased=False).mean()) + EPSILON)
    return torch.where(loss.detach() >= cutoff, loss, torch.zeros_like(loss))


@dataclass(frozen=True, kw_only=True)
class AVDOptions(DMD2Options):
    """Options of AVD beside those of DMD2.

    Attributes:
        form: "paper" or "release".
        adaptive: weigh each clip by Eq. 7; without, all count 1/2 (naive regression, AVD Figure 4).
        regression_weight, temporal_weight: w_reg and w_temp.
        steepness, decay: k and a.
        temporal_cutoff: the temporal loss counts while it is at least this.
    """

    form: Literal["paper", "release"]
    adaptive: bool
    regression_weight: NonNegativeFloat
    temporal_weight: NonNegativeFloat
    steepness: NonNegativeFloat
    decay: Decay
    temporal_cutoff: float


class AVD(DMD2):
    """Method ``avd``; its state is the mean regression error of each of the student's steps."""

    Options = AVDOptions

    def __init__(self, recipe: Recipe, student_shift: float) -> None:
        super().__init__(recipe, student_shift)
        steps = recipe.stages[0].target_steps
        if any(stage.target_steps != steps for stage in recipe.stages):
            raise UserError(
                f"recipe {recipe.name}: avd keeps a mean a step, so all its stages have the same target_steps"
            )
        self.means, self.visited = torch.zeros(steps), torch.zeros(steps, dtype=torch.bool)

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"means": self.means, "visited": self.visited}

    def load_state_dict(self, tensors: dict[str, torch.Tensor]) -> None:
        self.means, self.visited = tensors["means"], tensors["visited"]

    def terms(self, networks: Networks, batch: Batch, stage: Stage, done: Progress) -> dict[str, tuple[float, Term]]:
        terms = super().terms(networks, batch, stage, done)
        if self.options.regression_weight > 0:
            terms["regression"] = (self.options.regression_weight, partial(self._regression, networks, batch, stage))
        return terms

    def sample_losses(
        self, networks: Networks, batch: Batch, stage: Stage, eps: torch.Tensor, t: torch.Tensor
    ) -> dict[str, tuple[float, SampleLoss]]:
        losses = super().sample_losses(networks, batch, stage, eps, t)
        if self.options.temporal_weight > 0:
            losses["temporal"] = (
                self.options.temporal_weight,
                lambda sample: (temporal_loss(sample, self.options.temporal_cutoff, batch.mean_over_processes), {}),
            )
        return losses

    def _regression(self, networks: Networks, batch: Batch, stage: Stage) -> tuple[torch.Tensor, dict[str, float]]:
        step, t = draw_step_times(batch, stage.target_steps, self.student_shift)
        eps = batch.noise_like_x0()
        v = networks.student(add_noise(batch.x0, eps, t), t, batch.caption)
        residual, finite = zero_broken_clips(v - velocity(batch.x0, eps))
        error = residual.square().flatten(1).mean(1)
        weight = self._weights(error.detach(), step, finite, batch) if self.options.adaptive else 0.5
        log = {f"mean_error_{k}": float(mean) for k, mean in enumerate(self.means)}
        return (weight * error).mean(), log

    def _weights(self, error: torch.Tensor, step: torch.Tensor, finite: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Weights of the clips by Eq. 7, (B,); the means move on by the batch's mean error of each step (Eq. 6)."""
        before, first = self.means, self.visited
        where = torch.nn.functional.one_hot(step, len(self.means)).float() * finite.cpu()[:, None]
        total, count = batch.over_processes(torch.stack([error.cpu() @ where, where.sum(0)]))
        seen, mean = count > 0, total / count.clamp_min(1)
        start = torch.where(first | (self.options.form == "paper"), before, mean)
        self.means = torch.where(seen, self.options.decay * start + (1 - self.options.decay) * mean, before)
        self.visited = first | seen
        used = before if self.options.form == "paper" else self.means
        return adaptive_weight(error, used[step].to(error.device), self.options.steepness)


METHODS = {"avd": AVD}
