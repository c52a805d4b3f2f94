"""TrigFlow beside rectified flow, as rCM uses it (sigma_data = 1): ``x_s = cos(s) x0 + sin(s) eps``, s in [0, pi/2].

The signal-to-noise ratios agree at tan(s) = t / (1 - t), where x_t = x_s / (cos s + sin s).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from alice_repro.flow.schedule import expand

VelocityFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def trig_time(t: torch.Tensor) -> torch.Tensor:
    """s = arctan(t / (1 - t)), for t in [0, 1]; t = 1 gives pi / 2."""
    return torch.atan2(t, 1 - t)


def flow_time(s: torch.Tensor) -> torch.Tensor:
    """t = sin s / (cos s + sin s), the inverse of :func:`trig_time`."""
    return torch.sin(s) / (torch.cos(s) + torch.sin(s))


def trig_noise(x0: torch.Tensor, eps: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """x_s = cos(s) x0 + sin(s) eps."""
    s = expand(s, x0)
    return torch.cos(s) * x0 + torch.sin(s) * eps


def trig_velocity(velocity: VelocityFunction) -> VelocityFunction:
    """Turn v(x_t, t) of a rectified flow into F(x_s, s) = dx_s / ds of TrigFlow.

    With x0 = x_t - t v and eps = x_t + (1 - t) v,
    F = cos(s) eps - sin(s) x0 = ((cos s - sin s) x_s + v) / (cos s + sin s).
    (The textbook form (cos(s) x_s - x0) / sin(s) is the same, but 0/0 at s = 0.)
    """

    def function(x_s: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        cos, sin = torch.cos(expand(s, x_s)), torch.sin(expand(s, x_s))
        v = velocity(x_s / (cos + sin), flow_time(s))
        return ((cos - sin) * x_s + v) / (cos + sin)

    return function


def trig_x0(x_s: torch.Tensor, f: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """The consistency function f(x_s, s) = cos(s) x_s - sin(s) F."""
    s = expand(s, x_s)
    return torch.cos(s) * x_s - torch.sin(s) * f


def draw_lognormal_time(count: int, mean: float, std: float, generator: torch.Generator) -> torch.Tensor:
    """p_G of rCM: s = arctan(sigma), log sigma ~ N(mean, std^2); (count,)."""
    return torch.atan(torch.exp(mean + std * torch.randn(count, generator=generator))).clamp(1e-3, math.pi / 2 - 1e-3)
