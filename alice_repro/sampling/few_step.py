"""Sampling a distilled student in 1, 2, 4 or 8 steps: predict x0, add fresh noise, repeat (rCM, DMD2)."""

from __future__ import annotations

import torch

from alice_repro.flow.noise import ClipNoise
from alice_repro.flow.schedule import add_noise, shift_time, x0_from_velocity
from alice_repro.models.velocity import Velocity


def few_step_times(steps: int, shift: float) -> torch.Tensor:
    """Times of the student's steps, (steps,), from 1 downwards: shifted k / steps, k = steps .. 1.

    Shift 5 gives 1, 0.938, 0.833, 0.625 for 4 steps (FastGen's Wan DMD2 list, whose first entry is 0.999).
    """
    return shift_time(torch.arange(steps, 0, -1, dtype=torch.float64) / steps, shift)


@torch.no_grad()
def sample_few_step(
    velocity: Velocity, noise: ClipNoise, shape: tuple[int, ...], caption: torch.Tensor, times: torch.Tensor
) -> tuple[torch.Tensor, int]:
    """Alternate x0 = x_t - t v and x_t' = (1 - t') x0 + t' noise over ``times``; the last x0 is the sample.

    Args:
        noise: a generator a clip, so that a clip is the same whatever batch it is in.
        shape: (C, T, H, W) of a clip's latent.

    Returns:
        Clean latents (B, C, T, H, W), and the network evaluations spent on each clip.
    """
    x = float(times[0]) * noise.draw(shape, caption.device)
    x0 = x
    for index, now in enumerate(times):
        t = torch.full((len(x),), float(now), device=x.device)
        x0 = x0_from_velocity(x, velocity(x, t, caption), t)
        if index + 1 < len(times):
            x = add_noise(x0, noise.draw(shape, x.device), float(times[index + 1]))
    return x0, len(times) * velocity.evaluations
