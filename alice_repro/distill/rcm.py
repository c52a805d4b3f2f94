"""rCM (Alice Eq. 7): sCM + lambda DMD. The two terms alone are the methods ``scm`` and ``dmd``.

Form "rcm" follows the released rCM code (losses summed over a clip, weights 100 : 1). Form "alice" is Alice's text:
Eq. 3 with the moving average and the squared norm, and Eq. 6 with the student itself in the place of the fake score,
step eta.

Departures from that code: a roll-out's times are those of the student's sampler, as under its ``dmd_fix_timesteps`` (by
default it draws them from p_D); that sampler has the shifted uniform grid of the teacher, which the code's has not (1,
0.938, 0.833, 0.625 for 0.988, 0.934, 0.853, 0.609 at shift 5); float32 where the code normalises in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from alice_repro.config import Recipe, Stage
from alice_repro.distill.dmd import ScoreWeight, dmd_gradient, dmd_loss, draw_score_time, fake_score_loss, roll_out
from alice_repro.distill.method import Batch, Method, Networks, Progress, Term
from alice_repro.distill.scm import alice_scm_loss, scm_loss
from alice_repro.flow.schedule import add_noise, x0_from_velocity
from alice_repro.flow.trigflow import draw_lognormal_time
from alice_repro.sampling.few_step import few_step_times
from alice_repro.strict import NonNegativeFloat, NonNegativeInt, PositiveFloat


@dataclass(frozen=True, kw_only=True)
class FormOptions:
    """``form``: "rcm" (the released code's losses) or "alice" (Alice Eqs. 3 and 6 as printed)."""

    form: Literal["rcm", "alice"]


@dataclass(frozen=True, kw_only=True)
class ConsistencyOptions(FormOptions):
    """Options of the consistency term.

    Attributes:
        consistency_scale: multiplies each stage's weight.
        time_mean, time_std: p_G, the log-normal sigma at which consistency is enforced (s = arctan sigma).
        tangent_warmup: student updates over which r grows from 0 to 1 (sCM).
        norm_constant: c of g / (||g|| + c).
    """

    consistency_scale: NonNegativeFloat
    time_mean: float
    time_std: PositiveFloat
    tangent_warmup: NonNegativeInt
    norm_constant: NonNegativeFloat


@dataclass(frozen=True, kw_only=True)
class DMDOptions(FormOptions):
    """Options of the score term.

    Attributes:
        score_scale: multiplies each stage's weight.
        score_shift: p_D, shifted-uniform times at which the scores are compared.
        step_size: eta of Alice Eq. 6.
    """

    score_scale: NonNegativeFloat
    score_shift: PositiveFloat
    step_size: PositiveFloat


@dataclass(frozen=True, kw_only=True)
class RCMOptions(ConsistencyOptions, DMDOptions):
    """Options of both terms."""


@dataclass(frozen=True, kw_only=True)
class ConsistencyWeight:
    """``consistency``: a stage's weight of the sCM term."""

    consistency: NonNegativeFloat


@dataclass(frozen=True, kw_only=True)
class RCMWeights(ConsistencyWeight, ScoreWeight):
    """Both weights; a stage whose ``score`` is 0 is Alice's Stage 1."""


class Consistency(Method):
    """Method ``scm``: the consistency term alone."""

    Options, StageOptions = ConsistencyOptions, ConsistencyWeight

    def terms(self, networks: Networks, batch: Batch, stage: Stage, done: Progress) -> dict[str, tuple[float, Term]]:
        weight = self.of(stage).consistency * self.options.consistency_scale
        if weight == 0:
            return {}
        return {"consistency": (weight, partial(self._consistency, networks, batch, done))}

    def _consistency(self, networks: Networks, batch: Batch, done: Progress) -> tuple[torch.Tensor, dict[str, float]]:
        options, eps = self.options, batch.noise_like_x0()
        student, teacher = batch.velocity(networks.student), batch.velocity(networks.teacher)
        if options.form == "alice":
            t = batch.draw(torch.rand).clamp(1e-3, 1 - 1e-3)
            average = batch.velocity(networks.average)
            return alice_scm_loss(student, average, teacher, batch.x0, eps, t.to(eps.device), options.norm_constant)
        s = batch.draw(partial(draw_lognormal_time, mean=options.time_mean, std=options.time_std)).to(eps.device)
        ramp = min(1.0, done.student / options.tangent_warmup) if options.tangent_warmup else 1.0
        return scm_loss(student, teacher, batch.x0, eps, s, ramp, options.norm_constant)


class DistributionMatching(Method):
    """Method ``dmd``: the score term alone, with backward simulation over the student's own steps."""

    Options, StageOptions = DMDOptions, ScoreWeight

    def __init__(self, recipe: Recipe, student_shift: float) -> None:
        super().__init__(recipe, student_shift)
        self.has_critic = self.options.form != "alice"

    def terms(self, networks: Networks, batch: Batch, stage: Stage, done: Progress) -> dict[str, tuple[float, Term]]:
        weight = self.of(stage).score * self.options.score_scale
        if weight == 0:
            return {}
        return {"score": (weight, partial(self._score, networks, batch, stage, done))}

    def critic_loss(
        self, networks: Networks, batch: Batch, stage: Stage, done: Progress
    ) -> tuple[torch.Tensor, dict[str, float]]:
        with torch.no_grad():
            sample = self._sample(networks, batch, stage, done.critic)
        t = self._score_time(batch)
        return fake_score_loss(batch.velocity(networks.fake), sample, batch.noise_like_x0(), t), {}

    def _sample(self, networks: Networks, batch: Batch, stage: Stage, count: int) -> torch.Tensor:
        """G from a roll-out of 1, 2 .. target_steps steps in turn (rCM cycles, each phase by its own count)."""
        times = few_step_times(stage.target_steps, self.student_shift)[: count % stage.target_steps + 1]
        return roll_out(
            batch.velocity(networks.student), batch.clip_noise(), batch.x0.shape[1:], times, batch.x0.device
        )

    def _score_time(self, batch: Batch) -> torch.Tensor:
        return batch.draw(partial(draw_score_time, shift=self.options.score_shift)).to(batch.x0.device)

    def _score(
        self, networks: Networks, batch: Batch, stage: Stage, done: Progress
    ) -> tuple[torch.Tensor, dict[str, float]]:
        sample = self._sample(networks, batch, stage, done.student)
        t = self._score_time(batch)
        with torch.no_grad():
            x_t = add_noise(sample, batch.noise_like_x0(), t)
            # Alice Eq. 6 writes the student's own denoiser where DMD needs the score of the student's distribution.
            fake = networks.student if self.options.form == "alice" else networks.fake
            x0_fake = x0_from_velocity(x_t, fake(x_t, t, batch.caption), t)
            x0_teacher = x0_from_velocity(x_t, networks.teacher(x_t, t, batch.caption), t)
            gradient = dmd_gradient(x0_fake, x0_teacher, sample)
        return dmd_loss(sample, gradient, self.options.step_size), {"score_gap": float(gradient.abs().mean())}


class RCM(Consistency, DistributionMatching):
    """Method ``rcm``: both terms."""

    Options, StageOptions = RCMOptions, RCMWeights

    def terms(self, networks: Networks, batch: Batch, stage: Stage, done: Progress) -> dict[str, tuple[float, Term]]:
        return {
            **Consistency.terms(self, networks, batch, stage, done),
            **DistributionMatching.terms(self, networks, batch, stage, done),
        }


METHODS: dict[str, type[Method]] = {"scm": Consistency, "dmd": DistributionMatching, "rcm": RCM}
