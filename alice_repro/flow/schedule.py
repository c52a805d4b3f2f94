"""Time and noise of a rectified flow: ``t`` in [0, 1], 1 = noise; ``x_t = (1 - t) x0 + t eps``; ``v = eps - x0``.

Tensors are (B, C, T, H, W); times are scalars or (B,). Every other parametrisation is converted here and nowhere else.
"""

from __future__ import annotations

import torch


def expand(t: torch.Tensor | float, x: torch.Tensor) -> torch.Tensor:
    """Times, a scalar or (B,), shaped to broadcast against ``x`` (B, ...)."""
    t = torch.as_tensor(t, dtype=x.dtype, device=x.device)
    return t.reshape(-1, *[1] * (x.ndim - 1)) if t.ndim else t


def add_noise(x0: torch.Tensor, eps: torch.Tensor, t: torch.Tensor | float) -> torch.Tensor:
    """x_t = (1 - t) x0 + t eps (Alice Eq. 1 with alpha = 1 - t, sigma = t)."""
    t = expand(t, x0)
    return (1 - t) * x0 + t * eps


def velocity(x0: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    """v = dx_t / dt = eps - x0."""
    return eps - x0


def x0_from_velocity(x_t: torch.Tensor, v: torch.Tensor, t: torch.Tensor | float) -> torch.Tensor:
    """x0 = x_t - t v."""
    return x_t - expand(t, x_t) * v


def eps_from_velocity(x_t: torch.Tensor, v: torch.Tensor, t: torch.Tensor | float) -> torch.Tensor:
    """eps = x_t + (1 - t) v."""
    return x_t + (1 - expand(t, x_t)) * v


def velocity_from_x0(x_t: torch.Tensor, x0: torch.Tensor, t: torch.Tensor | float) -> torch.Tensor:
    """v = (x_t - x0) / t, for t > 0."""
    return (x_t - x0) / expand(t, x_t)


def shift_time(t: torch.Tensor, shift: float) -> torch.Tensor:
    """Wan's timestep shift: t -> s t / (1 + (s - 1) t). Maps [0, 1] onto itself; s > 1 spends more steps near noise."""
    return shift * t / (1 + (shift - 1) * t)


def euler_times(steps: int, shift: float) -> torch.Tensor:
    """Times of a shifted Euler grid, (steps + 1,), from 1 to 0, float64."""
    return shift_time(torch.linspace(1, 0, steps + 1, dtype=torch.float64), shift)
