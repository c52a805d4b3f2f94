"""Sampling the multi-step teacher: Euler steps down the probability-flow ODE."""

from __future__ import annotations

import torch

from alice_repro.flow.schedule import euler_times
from alice_repro.models.velocity import Velocity


@torch.no_grad()
def sample_euler(
    velocity: Velocity, noise: torch.Tensor, caption: torch.Tensor, steps: int, shift: float
) -> tuple[torch.Tensor, int]:
    """Integrate dx/dt = v(x, t) from t = 1 to 0 on a shifted grid (Alice Eq. 2).

    Args:
        noise: (B, C, T, H, W) at t = 1.
        caption: (B,) rows of the velocity's caption table.

    Returns:
        Clean latents (B, C, T, H, W), and the network evaluations spent on each clip.
    """
    times = euler_times(steps, shift)
    x = noise
    for now, following in zip(times[:-1], times[1:], strict=True):
        t = torch.full((len(x),), float(now), device=x.device)
        x = x + float(following - now) * velocity(x, t, caption)
    return x, steps * velocity.evaluations
