"""TrigFlow beside rectified flow: one signal-to-noise ratio, one velocity, closed forms on a Gaussian."""

from __future__ import annotations

import math

import torch

from alice_repro.flow.schedule import add_noise, velocity
from alice_repro.flow.trigflow import (
    draw_lognormal_time,
    flow_time,
    trig_noise,
    trig_time,
    trig_velocity,
    trig_x0,
)

S = torch.tensor([0.05, 0.4, math.pi / 4, 1.2, math.pi / 2], dtype=torch.float64)


def draw(seed=0):
    return torch.randn(len(S), 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_times_are_inverses_and_end_at_noise():
    torch.testing.assert_close(trig_time(flow_time(S)), S)
    assert trig_time(torch.tensor(1.0)).item() == torch.tensor(math.pi / 2).item()
    assert trig_time(torch.tensor(0.0)) == 0
    # rCM's sampler times in RF units: 1.5 -> 0.93378, 1.4 -> 0.85290, 1.0 -> 0.60898.
    times = flow_time(torch.tensor([1.5, 1.4, 1.0], dtype=torch.float64))
    torch.testing.assert_close(times, torch.tensor([0.93378, 0.85290, 0.60898], dtype=torch.float64), atol=5e-6, rtol=0)


def test_same_signal_to_noise_ratio():
    x0, eps, t = draw(), draw(1), flow_time(S)
    torch.testing.assert_close(torch.tan(S[:-1]), (t / (1 - t))[:-1])
    scale = (torch.cos(S) + torch.sin(S)).view(-1, 1, 1)
    torch.testing.assert_close(add_noise(x0, eps, t), trig_noise(x0, eps, S) / scale)


def test_trig_velocity_is_the_textbook_form_and_gives_back_x0():
    x0, eps = draw(), draw(1)
    x_s = trig_noise(x0, eps, S)
    f = trig_velocity(lambda x, t: velocity(x0, eps))(x_s, S)
    cos, sin = torch.cos(S).view(-1, 1, 1), torch.sin(S).view(-1, 1, 1)
    torch.testing.assert_close(f, (cos * x_s - x0) / sin)
    torch.testing.assert_close(f, cos * eps - sin * x0)
    torch.testing.assert_close(trig_x0(x_s, f, S), x0)


def test_trig_velocity_of_a_gaussian():
    """x0 ~ N(m, c^2): F = d x_s / ds of the probability flow, through the mean m cos s and the variance."""
    m, c = 0.7, 0.4

    def v(x, t):
        t = t.view(-1, 1, 1)
        variance = (1 - t) ** 2 * c**2 + t**2
        x0 = m + (1 - t) * c**2 / variance * (x - (1 - t) * m)
        return (x - x0) / t

    x_s = draw()
    cos, sin = torch.cos(S).view(-1, 1, 1), torch.sin(S).view(-1, 1, 1)
    variance = cos**2 * c**2 + sin**2
    exact = -sin * m + (1 - c**2) * sin * cos / variance * (x_s - cos * m)
    torch.testing.assert_close(trig_velocity(v)(x_s, S), exact)


def test_lognormal_time():
    s = draw_lognormal_time(20_000, 0.7, 1.6, torch.Generator().manual_seed(0)).double()
    logs = torch.log(torch.tan(s))
    assert abs(logs.median() - 0.7) < 0.05 and abs(logs.std() - 1.6) < 0.05
    assert s.min() > 0 and s.max() < math.pi / 2
