"""DMD2 (DFD Eq. 1): grad L = E[w(t) (grad log p_fake(x_t) - grad log p_real(x_t)) dG/dtheta], x_t = (1-t) G + t eps.

At one x_t the difference of scores is proportional to that of the two denoisers, x0_fake - x0_teacher, which is what is
used, divided by mean|G - x0_teacher| per clip (w). Two time scales: the fake score has a learning rate of its own and
several updates after each of the student's (``critic_learning_rate``, ``critic_updates`` of a stage; FastGen 4, AVD 5).
With ``gan_features`` a discriminator on features of the teacher (FastGen) or of the fake score (the DMD2 paper) tells
noised samples from noised stored clips, at the noise and time of the scores.

Departures: the fake score is updated after the student and not before; it starts from the teacher's unguided weights,
so that with the trained teacher the very first student update follows guidance alone. Against method ``dmd``, which is
rCM's: the loss is 0.5 * mean and not a sum, the step of a roll-out is drawn and not cycled, and the fake score's loss
is a plain mean of x0 or of the velocity. On the fake score's features the adversarial loss trains the head and the fake
score alike, as in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from alice_repro.config import Recipe, Stage
from alice_repro.distill.adversarial import discriminator_loss, generator_loss
from alice_repro.distill.broken import zero_broken_clips
from alice_repro.distill.dmd import ScoreWeight, dmd_gradient, draw_score_time
from alice_repro.distill.joint import SampleLoss, joint_loss
from alice_repro.distill.method import Batch, Method, Networks, Progress, Term
from alice_repro.distill.student_input import StudentInput, student_sample
from alice_repro.errors import UserError
from alice_repro.flow.schedule import add_noise, velocity, x0_from_velocity
from alice_repro.flow.trigflow import VelocityFunction
from alice_repro.strict import NonNegativeFloat, PositiveFloat


def vsd_loss(sample: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """0.5 * mean (G - sg(G - grad))^2, whose gradient with respect to G is grad / numel (FastGen, AVD).

    A clip with a number that is not finite counts 0.
    """
    residual, _ = zero_broken_clips(sample - (sample - gradient).detach())
    return 0.5 * residual.square().mean()


def fake_loss(
    fake: VelocityFunction, sample: torch.Tensor, eps: torch.Tensor, t: torch.Tensor, prediction: str
) -> torch.Tensor:
    """Denoising of the student's samples: mean (x0_fake - G)^2, or mean (v_fake - (eps - G))^2, which is that / t^2."""
    x_t = add_noise(sample, eps, t)
    v = fake(x_t, t)
    difference = v - velocity(sample, eps) if prediction == "velocity" else x0_from_velocity(x_t, v, t) - sample
    residual, _ = zero_broken_clips(difference)
    return residual.square().mean()


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """Options of the score term and its critic.

    Attributes:
        fake_prediction: what the fake score's loss compares, "x0" (FastGen) or "velocity" (AVD).
        score_shift: shifted-uniform times at which the scores are compared.
        gan_features: whose features the discriminator reads: "none" (there is no discriminator), "teacher" or "fake".
        gan_weight: of the student's adversarial loss (FastGen 0.03).
    """

    fake_prediction: Literal["x0", "velocity"]
    score_shift: PositiveFloat
    gan_features: Literal["none", "teacher", "fake"]
    gan_weight: NonNegativeFloat


@dataclass(frozen=True, kw_only=True)
class DMD2Options(ScoreOptions):
    """``student_input``: "rollout" (backward simulation) or "noised" (a noised stored clip, FastGen's default)."""

    student_input: StudentInput


class ScoreOfSamples(Method):
    """The score term on samples of a few-step student, and the fake score that goes with it; ``sample`` makes them."""

    StageOptions = ScoreWeight
    has_critic = True

    def __init__(self, recipe: Recipe, student_shift: float) -> None:
        super().__init__(recipe, student_shift)
        features, weight = self.options.gan_features, self.options.gan_weight
        if (features == "none") != (weight == 0):
            raise UserError(
                f'recipe {recipe.name}: gan_features = "{features}" and gan_weight = {weight:g}: a discriminator needs '
                'features and a weight above 0; without one write "none" and 0'
            )
        self.discriminator_features = None if features == "none" else features

    def terms(self, networks: Networks, batch: Batch, stage: Stage, done: Progress) -> dict[str, tuple[float, Term]]:
        return {"sample": (1.0, partial(self._of_sample, networks, batch, stage))}

    def critic_loss(
        self, networks: Networks, batch: Batch, stage: Stage, done: Progress
    ) -> tuple[torch.Tensor, dict[str, float]]:
        with torch.no_grad():
            sample = self.sample(networks, batch, stage)
        t, eps = self._score_time(batch), batch.noise_like_x0()
        loss = fake_loss(batch.velocity(networks.fake), sample, eps, t, self.options.fake_prediction)
        if self.discriminator_features is None:
            return loss, {}
        tell = batch.velocity(networks.discriminator)
        real, generated = (tell(add_noise(clip, eps, t), t) for clip in (batch.x0, sample))
        told = discriminator_loss(real, generated)
        return loss + told, {"fake_loss": float(loss.detach()), "discriminator_loss": float(told.detach())}

    def sample(self, networks: Networks, batch: Batch, stage: Stage) -> torch.Tensor:
        """G, (B, C, T, H, W), with gradient through the student's last evaluation."""
        raise TypeError(f"{type(self).__name__} makes no samples")

    def sample_losses(
        self, networks: Networks, batch: Batch, stage: Stage, eps: torch.Tensor, t: torch.Tensor
    ) -> dict[str, tuple[float, SampleLoss]]:
        """The losses of a sample G by name, all at one noise (B, C, T, H, W) and one time (B,)."""

        def score(sample: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
            with torch.no_grad():
                gradient, watch = self.gradient(networks, batch, stage, sample.detach(), eps, t)
            return vsd_loss(sample, gradient), {"score_gap": float(gradient.abs().mean()), **watch}

        def adversarial(sample: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
            logit = networks.discriminator(add_noise(sample, eps, t), t, batch.caption)
            return generator_loss(logit), {"logit": float(logit.detach().mean())}

        losses: dict[str, tuple[float, SampleLoss]] = {"score": (self.of(stage).score, score)}
        if self.discriminator_features is not None:
            losses["adversarial"] = (self.options.gan_weight, adversarial)
        return losses

    def gradient(
        self, networks: Networks, batch: Batch, stage: Stage, sample: torch.Tensor, eps: torch.Tensor, t: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """The direction against which G is moved, (B, C, T, H, W), and what to log."""
        x_t = add_noise(sample, eps, t)
        x0_fake = x0_from_velocity(x_t, networks.fake(x_t, t, batch.caption), t)
        x0_teacher = x0_from_velocity(x_t, networks.teacher(x_t, t, batch.caption), t)
        return dmd_gradient(x0_fake, x0_teacher, sample), {}

    def _score_time(self, batch: Batch) -> torch.Tensor:
        return batch.draw(partial(draw_score_time, shift=self.options.score_shift)).to(batch.x0.device)

    def _of_sample(self, networks: Networks, batch: Batch, stage: Stage) -> tuple[torch.Tensor, dict[str, float]]:
        sample = self.sample(networks, batch, stage)
        t, eps = self._score_time(batch), batch.noise_like_x0()
        return joint_loss(sample, self.sample_losses(networks, batch, stage, eps, t), batch.gradient_norm)


class DMD2(ScoreOfSamples):
    """Method ``dmd2``."""

    Options = DMD2Options

    def sample(self, networks: Networks, batch: Batch, stage: Stage) -> torch.Tensor:
        return student_sample(networks, batch, stage.target_steps, self.student_shift, self.options.student_input)


METHODS = {"dmd2": DMD2}
