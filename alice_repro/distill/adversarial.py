"""The adversarial (GAN) losses of DMD2: is a noised clip one of the data or one of the student's?

A logit is high for the data. Non-saturating, with softplus, as in DMD2 and FastGen.
"""

from __future__ import annotations

import torch
from torch.nn.functional import softplus


def generator_loss(logit: torch.Tensor) -> torch.Tensor:
    """mean softplus(-D(G)): what the student pays for being told from the data. ``logit``: (B,)."""
    return softplus(-logit).mean()


def discriminator_loss(real: torch.Tensor, generated: torch.Tensor) -> torch.Tensor:
    """mean softplus(-D(x)) + mean softplus(D(G)); 2 log 2 where the two cannot be told apart."""
    return softplus(-real).mean() + softplus(generated).mean()
