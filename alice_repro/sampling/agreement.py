"""Do predictions agree along a trajectory? What consistency asks for, and what Alice says removes "lucky paths".

Along the teacher's own path from a noise to a clip a consistent network predicts one and the same clip at every time;
the teacher's predictions wander from the mean of what is possible to the clip.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from alice_repro.flow.schedule import x0_from_velocity
from alice_repro.models.velocity import Velocity
from alice_repro.sampling.teacher import euler_path


@torch.no_grad()
def trajectory_points(
    teacher: Velocity, eps: torch.Tensor, caption: torch.Tensor, times: Sequence[float], steps: int
) -> list[torch.Tensor]:
    """Points of the teacher's path from ``eps`` (B, C, T, H, W) at each of ``times`` (falling from 1), by Euler steps.

    Args:
        steps: of about equal size, over the whole path; each interval between times gets its share, at least one.
    """
    x, points = eps, [eps]
    for now, following in zip(times[:-1], times[1:], strict=True):
        grid = torch.linspace(
            now, following, max(1, round(steps * (now - following))) + 1, dtype=torch.float64
        ).tolist()
        x = euler_path(lambda x, t: teacher(x, t, caption), x, grid)
        points.append(x)
    return points


@torch.no_grad()
def prediction_spread(
    velocity: Velocity, points: Sequence[torch.Tensor], caption: torch.Tensor, times: Sequence[float]
) -> torch.Tensor:
    """Spread of the predicted clips along a path, (B,): root mean square distance from their mean, over its own size.

    0: the network predicts the same clip from every point.
    """
    predicted = torch.stack(
        [
            x0_from_velocity(x, velocity(x, torch.full((len(x),), t, device=x.device), caption), t)
            for x, t in zip(points, times, strict=True)
        ]
    )
    mean = predicted.mean(0)
    spread = (predicted - mean).square().mean(0).flatten(1).mean(1)
    return (spread / mean.square().flatten(1).mean(1)).sqrt()
