"""The forward-mode derivative through diffusers' own transformer, against central differences in float64."""

from __future__ import annotations

import pytest
import torch

from alice_repro.flow.derivative import directional_derivative
from alice_repro.models.lab import build_transformer


@pytest.fixture
def wan(monkeypatch):
    """A tiny Wan in true float64: diffusers rounds norms and time sinusoids to float32 by ``.float()``."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.manual_seed(0)
    model = build_transformer(24, 2, 2, 32, 16, 4, 16).double().eval()
    states = torch.randn(2, 5, 16, dtype=torch.float64)
    return lambda x, t: model(x, 1000.0 * t, states, return_dict=False)[0]


def directions():
    generator = torch.Generator().manual_seed(3)
    x, dx = (torch.randn(2, 4, 2, 4, 4, dtype=torch.float64, generator=generator) for _ in range(2))
    return x, torch.tensor([0.3, 0.8], dtype=torch.float64), dx, torch.tensor([1.0, -0.7], dtype=torch.float64)


@pytest.mark.parametrize("in_x, in_t", [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)], ids=["x", "t", "both"])
def test_derivative_equals_central_differences(wan, in_x, in_t):
    x, t, dx, dt = directions()
    dx, dt = in_x * dx, in_t * dt
    value, derivative = directional_derivative(wan, (x, t), (dx, dt))
    with torch.no_grad():
        h = 1e-6  # 1000 t turns by 1e-3 rad

        def shifted(steps):
            return wan(x + steps * h * dx, t + steps * h * dt)

        central = (8 * (shifted(1) - shifted(-1)) - (shifted(2) - shifted(-2))) / (12 * h)
        torch.testing.assert_close(value, wan(x, t), rtol=1e-9, atol=1e-10)
    assert central.abs().max() > 0.1
    torch.testing.assert_close(derivative, central, rtol=1e-5, atol=1e-6 * float(central.abs().max()))


def test_derivative_carries_no_gradient(wan):
    x, t, dx, dt = directions()
    value, derivative = directional_derivative(wan, (x.requires_grad_(), t), (dx, dt))
    assert not value.requires_grad and not derivative.requires_grad
