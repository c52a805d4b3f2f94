"""Classifier-free guidance, once: u + w (c - u). Public code disagrees on the formula by one unit of the scale."""

from __future__ import annotations

import torch


def guide(conditional: torch.Tensor, unconditional: torch.Tensor, scale: float) -> torch.Tensor:
    """u + w (c - u): w = 0 unconditional, w = 1 conditional.

    AVD and Self-Forcing write c + w (c - u): theirs is w - 1.
    """
    return unconditional + scale * (conditional - unconditional)
