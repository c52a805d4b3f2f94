"""Sampling a distilled student in 1, 2, 4 or 8 steps, in the way that its method trained it for.

"renoise": predict x0, add fresh noise, repeat (rCM, DMD2). "euler": follow the student's own velocity, without fresh
noise (DP-DMD).
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from alice_repro.errors import unknown_name
from alice_repro.flow.noise import ClipNoise
from alice_repro.flow.schedule import add_noise, shift_time, x0_from_velocity
from alice_repro.models.velocity import Velocity

SAMPLERS = ("renoise", "euler")


def few_step_times(steps: int, shift: float) -> torch.Tensor:
    """Times of the student's steps, (steps,), from 1 downwards: shifted k / steps, k = steps .. 1.

    Shift 5 gives 1, 0.938, 0.833, 0.625 for 4 steps (FastGen's Wan DMD2 list, whose first entry is 0.999).
    """
    return shift_time(torch.arange(steps, 0, -1, dtype=torch.float64) / steps, shift)


def advance(
    x: torch.Tensor, v: torch.Tensor, now: float, following: float, sampler: str, draw: Callable[[], torch.Tensor]
) -> torch.Tensor:
    """One step from time ``now`` to ``following`` (0 ends the sampling) with the velocity ``v`` at ``x``.

    "renoise": x0 = x - t v, then x' = (1 - t') x0 + t' noise; "euler": x' = x + (t' - t) v. Both end on x0.

    Args:
        draw: fresh noise of the shape of ``x``, called where the step needs some.

    Raises:
        UserError: unknown sampler.
    """
    if sampler not in SAMPLERS:
        raise unknown_name("sampler", sampler, SAMPLERS)
    if sampler == "euler":
        return x + (following - now) * v
    x0 = x0_from_velocity(x, v, now)
    return add_noise(x0, draw(), following) if following > 0 else x0


@torch.no_grad()
def sample_few_step(
    velocity: Velocity,
    noise: ClipNoise,
    shape: tuple[int, ...],
    caption: torch.Tensor,
    times: torch.Tensor,
    sampler: str = "renoise",
) -> tuple[torch.Tensor, int]:
    """From noise at the first of ``times`` step by step to 0.

    Args:
        noise: a generator a clip, so that a clip is the same whatever batch it is in.
        shape: (C, T, H, W) of a clip's latent.
        sampler: "renoise" or "euler".

    Returns:
        Clean latents (B, C, T, H, W), and the network evaluations spent on each clip.
    """
    grid = [*times.tolist(), 0.0]
    x = grid[0] * noise.draw(shape, caption.device)
    for now, following in zip(grid[:-1], grid[1:], strict=True):
        v = velocity(x, torch.full((len(x),), now, device=x.device), caption)
        x = advance(x, v, now, following, sampler, lambda: noise.draw(shape, caption.device))
    return x, len(times) * velocity.evaluations
