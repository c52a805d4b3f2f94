"""Forward-mode derivatives through a network: Jacobian-vector products by dual numbers, straight through the module."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


def directional_derivative(
    function: Callable[..., torch.Tensor], primals: tuple[torch.Tensor, ...], tangents: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Value and derivative of ``function`` at ``primals`` along ``tangents`` (Alice Eq. 5), both without gradient.

    Fused attention has no forward-mode rule, so attention runs as plain matrix products here.

    Returns:
        (value, derivative), each with the shape of the function's result.
    """
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        value, derivative = torch.func.jvp(function, primals, tangents)
    return value.detach(), derivative.detach()
