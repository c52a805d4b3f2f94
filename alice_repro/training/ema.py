"""Exponential moving averages of parameters: EDM2's power profile (as in rCM) or a constant decay (as in Alice)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch


def power_exponent(relative_std: float) -> float:
    """Exponent gamma of the power profile whose relative width is ``relative_std`` (EDM2 Eq. 126: 0.10 gives 6.94)."""
    # sigma_rel^2 = (gamma + 1) / ((gamma + 2)^2 (gamma + 3)), solved for its largest root by bisection.
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        std = math.sqrt((middle + 1) / ((middle + 2) ** 2 * (middle + 3)))
        low, high = (middle, high) if std > relative_std else (low, middle)
    return (low + high) / 2


def power_decay(update: int, gamma: float) -> float:
    """Decay of update number ``update`` (from 1): (1 - 1/n)^(gamma + 1)."""
    return (1.0 - 1.0 / update) ** (gamma + 1.0)


@torch.no_grad()
def update_average(average: Iterable[torch.Tensor], current: Iterable[torch.Tensor], decay: float) -> None:
    """average <- decay * average + (1 - decay) * current, in place."""
    torch._foreach_lerp_(list(average), list(current), 1.0 - decay)
