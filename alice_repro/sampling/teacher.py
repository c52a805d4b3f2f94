"""Sampling the multi-step teacher: Euler steps down the probability-flow ODE."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from alice_repro.flow.schedule import euler_times
from alice_repro.flow.trigflow import VelocityFunction
from alice_repro.models.velocity import Velocity


def euler_path(field: VelocityFunction, x: torch.Tensor, times: Sequence[float]) -> torch.Tensor:
    """x at the last of ``times`` from x (B, C, T, H, W) at the first, by Euler steps along ``field``."""
    for now, following in zip(times[:-1], times[1:], strict=True):
        x = x + float(following - now) * field(x, torch.full((len(x),), float(now), device=x.device))
    return x


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
    clean = euler_path(lambda x, t: velocity(x, t, caption), noise, euler_times(steps, shift).tolist())
    return clean, steps * velocity.evaluations
