"""Distribution matching (DMD) with a trained fake score, as in the rCM code, and Alice's printed form of it.

The student's samples G are moved along the difference of two denoisers: that of the student's own distribution (the
fake score, trained on G) and the teacher's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from alice_repro.distill.broken import zero_broken_clips
from alice_repro.flow.noise import ClipNoise
from alice_repro.flow.schedule import add_noise, expand, shift_time, x0_from_velocity
from alice_repro.flow.trigflow import VelocityFunction, trig_time
from alice_repro.strict import NonNegativeFloat


@dataclass(frozen=True, kw_only=True)
class ScoreWeight:
    """``score``: a stage's weight of the score term (Alice Table 12: lambda)."""

    score: NonNegativeFloat


def dmd_gradient(
    x0_fake: torch.Tensor, x0_teacher: torch.Tensor, sample: torch.Tensor, floor: float = 1e-5
) -> torch.Tensor:
    """(x0_fake - x0_T) / mean|G - x0_T|, the mean over a clip, at least ``floor`` (rCM; Alice Eq. 6 adds epsilon)."""
    scale = (sample - x0_teacher).abs().flatten(1).mean(1).clamp_min(floor)
    return (x0_fake - x0_teacher) / expand(scale, sample)


def dmd_loss(sample: torch.Tensor, gradient: torch.Tensor, step_size: float = 1.0) -> torch.Tensor:
    """Sum over a clip of (G - sg(G - eta grad))^2, mean over the batch (Alice Eq. 6); its gradient is 2 eta grad.

    A clip with a number that is not finite counts 0.
    """
    difference, _ = zero_broken_clips(sample - (sample - step_size * gradient).detach())
    return difference.square().flatten(1).sum(1).mean()


def fake_score_loss(fake: VelocityFunction, sample: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Sum over a clip of (G - x0_fake)^2 / sin^2 s, mean over the batch: denoising of the student's samples (rCM)."""
    x_t = add_noise(sample, eps, t)
    x0 = x0_from_velocity(x_t, fake(x_t, t), t)
    residual, _ = zero_broken_clips(sample - x0)
    return (residual.square().flatten(1).sum(1) / torch.sin(trig_time(t)).square()).mean()


def draw_score_time(count: int, shift: float, generator: torch.Generator) -> torch.Tensor:
    """p_D: shifted-uniform times at which the two scores are compared, (count,).

    Kept off 0 and 1 as AVD's release does; rCM does not.
    """
    return shift_time(torch.rand(count, generator=generator), shift).clamp(0.02, 0.98)


def roll_out(
    student: VelocityFunction,
    noise: ClipNoise,
    shape: tuple[int, ...],
    times: torch.Tensor,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Backward simulation: the student's own sampler over ``times``, with gradient through the last step only.

    Returns:
        G, (B, C, T, H, W).
    """
    x = float(times[0]) * noise.draw(shape, device)
    for index, now in enumerate(times):
        t = torch.full((len(x),), float(now), device=x.device)
        last = index + 1 == len(times)
        with torch.set_grad_enabled(last and torch.is_grad_enabled()):
            x0 = x0_from_velocity(x, student(x, t), t)
        if not last:
            x = add_noise(x0, noise.draw(shape, device), float(times[index + 1]))
    return x0
