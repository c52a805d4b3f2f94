"""Clips whose residual holds a number that is not finite count nothing in a loss and in its gradient there."""

from __future__ import annotations

import torch


def zero_broken_clips(residual: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Residual (B, ...) with 0 in every clip that holds a number that is not finite, and which clips are whole, (B,).

    Masked before it is squared: the gradient of a masked square would still be 0 * NaN = NaN. Where no clip is whole
    the residual stays as it is: a loss of 0 would hide that nothing is learnt any more, and the trainer stops. Of
    several processes each looks at its own clips, so that one broken clip stops a run of one clip a process.
    """
    finite = torch.isfinite(residual.flatten(1)).all(1)
    keep = (finite | ~finite.any()).view(-1, *[1] * (residual.ndim - 1))
    return torch.where(keep, residual, torch.zeros_like(residual)), finite
