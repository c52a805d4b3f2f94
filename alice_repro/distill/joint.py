"""Several losses of one sample of the student, for the price of one backward pass through it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

SampleLoss = Callable[[torch.Tensor], tuple[torch.Tensor, dict[str, float]]]


def joint_loss(
    sample: torch.Tensor,
    parts: Mapping[str, tuple[float, SampleLoss]],
    norm: Callable[[torch.Tensor], float] = lambda gradient: float(gradient.norm()),
) -> tuple[torch.Tensor, dict[str, float]]:
    """The weighted sum of losses of ``sample``, whose gradient is taken at the sample first and then handed on.

    Args:
        sample: G with its graph, (B, C, T, H, W).
        parts: name -> (weight, function of a sample that returns the loss and what to log).
        norm: of a gradient with respect to the sample; that of a batch on several processes (``Batch.gradient_norm``).

    Returns:
        A loss with the value and the gradient of the sum; and what to log, with every part's loss and the norm of its
        weighted gradient with respect to the sample.
    """
    leaf = sample.detach().requires_grad_()
    total, direction, log = 0.0, torch.zeros_like(leaf), {}
    for name, (weight, loss_of) in parts.items():
        loss, extra = loss_of(leaf)
        (gradient,) = torch.autograd.grad(weight * loss, leaf)
        total, direction = total + weight * loss.detach(), direction + gradient
        log |= {f"{name}_loss": float(loss.detach()), f"{name}_gradient_at_sample": norm(gradient), **extra}
    handed_on = (sample * direction).sum()
    return handed_on - handed_on.detach() + total, log
