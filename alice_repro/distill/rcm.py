"""rCM (Alice Eq. 7): sCM + lambda DMD. The two terms alone are the methods ``scm`` and ``dmd``.

Form "rcm" follows the released rCM code (losses summed over a clip, weights 100 : 1). Form "alice" is Alice's text:
Eq. 3 with the moving average and the squared norm, and Eq. 6 with the student itself in the place of the fake score,
step eta.
"""

from __future__ import annotations

from functools import partial

import torch

from alice_repro.config import Recipe, Stage
from alice_repro.distill.dmd import dmd_gradient, dmd_loss, draw_score_time, fake_score_loss, roll_out
from alice_repro.distill.method import Batch, Method, Networks, Progress, Term
from alice_repro.distill.scm import alice_scm_loss, scm_loss
from alice_repro.errors import unknown_name
from alice_repro.flow.schedule import add_noise, x0_from_velocity
from alice_repro.flow.trigflow import draw_lognormal_time
from alice_repro.sampling.few_step import few_step_times

FORMS = ("rcm", "alice")


class _InEitherForm(Method):
    def __init__(self, recipe: Recipe, student_shift: float) -> None:
        if recipe.form not in FORMS:
            raise unknown_name("form", recipe.form, FORMS)
        super().__init__(recipe, student_shift)


class Consistency(_InEitherForm):
    """Method ``scm``: the consistency term alone."""

    needs = ("form", "consistency_scale", "time_mean", "time_std", "tangent_warmup", "norm_constant")

    def terms(self, networks: Networks, batch: Batch, stage: Stage, done: Progress) -> dict[str, tuple[float, Term]]:
        if stage.consistency == 0:
            return {}
        weight = stage.consistency * self.recipe.consistency_scale
        return {"consistency": (weight, partial(self._consistency, networks, batch, done))}

    def _consistency(self, networks: Networks, batch: Batch, done: Progress) -> tuple[torch.Tensor, dict[str, float]]:
        recipe, eps, count = self.recipe, batch.noise_like_x0(), len(batch.x0)
        student, teacher = batch.velocity(networks.student), batch.velocity(networks.teacher)
        if recipe.form == "alice":
            t = torch.rand(count, generator=batch.generator).clamp(1e-3, 1 - 1e-3).to(eps.device)
            average = batch.velocity(networks.average)
            return alice_scm_loss(student, average, teacher, batch.x0, eps, t, recipe.norm_constant)
        s = draw_lognormal_time(count, recipe.time_mean, recipe.time_std, batch.generator).to(eps.device)
        ramp = min(1.0, done.student / recipe.tangent_warmup) if recipe.tangent_warmup else 1.0
        return scm_loss(student, teacher, batch.x0, eps, s, ramp, recipe.norm_constant)


class DistributionMatching(_InEitherForm):
    """Method ``dmd``: the score term alone, with backward simulation over the student's own steps."""

    needs = ("form", "score_scale", "score_shift", "step_size")

    def __init__(self, recipe: Recipe, student_shift: float) -> None:
        super().__init__(recipe, student_shift)
        self.has_critic = recipe.form != "alice"

    def terms(self, networks: Networks, batch: Batch, stage: Stage, done: Progress) -> dict[str, tuple[float, Term]]:
        if stage.score == 0:
            return {}
        weight = stage.score * self.recipe.score_scale
        return {"score": (weight, partial(self._score, networks, batch, stage, done))}

    def critic_loss(self, networks: Networks, batch: Batch, stage: Stage, done: Progress) -> torch.Tensor:
        with torch.no_grad():
            sample = self._sample(networks, batch, stage, done.critic)
        t = self._score_time(batch)
        return fake_score_loss(batch.velocity(networks.fake), sample, batch.noise_like_x0(), t)

    def _sample(self, networks: Networks, batch: Batch, stage: Stage, count: int) -> torch.Tensor:
        """G from a roll-out of 1, 2 .. target_steps steps in turn (rCM cycles, each phase by its own count).

        The times are the sampler's own, as with rCM's ``dmd_fix_timesteps``; by default rCM draws them from p_D.
        """
        times = few_step_times(stage.target_steps, self.student_shift)[: count % stage.target_steps + 1]
        return roll_out(
            batch.velocity(networks.student), batch.clip_noise(), batch.x0.shape[1:], times, batch.x0.device
        )

    def _score_time(self, batch: Batch) -> torch.Tensor:
        return draw_score_time(len(batch.x0), self.recipe.score_shift, batch.generator).to(batch.x0.device)

    def _score(
        self, networks: Networks, batch: Batch, stage: Stage, done: Progress
    ) -> tuple[torch.Tensor, dict[str, float]]:
        sample = self._sample(networks, batch, stage, done.student)
        t = self._score_time(batch)
        with torch.no_grad():
            x_t = add_noise(sample, batch.noise_like_x0(), t)
            # Alice Eq. 6 writes the student's own denoiser where DMD needs the score of the student's distribution.
            fake = networks.student if self.recipe.form == "alice" else networks.fake
            x0_fake = x0_from_velocity(x_t, fake(x_t, t, batch.caption), t)
            x0_teacher = x0_from_velocity(x_t, networks.teacher(x_t, t, batch.caption), t)
            gradient = dmd_gradient(x0_fake, x0_teacher, sample)
        return dmd_loss(sample, gradient, self.recipe.step_size), {"score_gap": float(gradient.abs().mean())}


class RCM(Consistency, DistributionMatching):
    """Method ``rcm``: both terms; a stage whose ``score`` is 0 is Alice's Stage 1."""

    needs = Consistency.needs + DistributionMatching.needs

    def terms(self, networks: Networks, batch: Batch, stage: Stage, done: Progress) -> dict[str, tuple[float, Term]]:
        return {
            **Consistency.terms(self, networks, batch, stage, done),
            **DistributionMatching.terms(self, networks, batch, stage, done),
        }


METHODS: dict[str, type[Method]] = {"scm": Consistency, "dmd": DistributionMatching, "rcm": RCM}
