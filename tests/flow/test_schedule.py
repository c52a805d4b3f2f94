"""Time, noise, guidance: inverses and closed cases."""

from __future__ import annotations

import pytest
import torch

from alice_repro.flow.guidance import guide
from alice_repro.flow.noise import ClipNoise, clip_seed
from alice_repro.flow.schedule import (
    add_noise,
    eps_from_velocity,
    euler_times,
    shift_time,
    velocity,
    velocity_from_x0,
    x0_from_velocity,
)


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_conversions_are_inverses():
    x0, eps, t = draw(5, 2, 1, 3, 3), draw(5, 2, 1, 3, 3, seed=1), torch.tensor([0.01, 0.2, 0.5, 0.9, 1.0]).double()
    x_t, v = add_noise(x0, eps, t), velocity(x0, eps)
    torch.testing.assert_close(x0_from_velocity(x_t, v, t), x0)
    torch.testing.assert_close(eps_from_velocity(x_t, v, t), eps)
    torch.testing.assert_close(velocity_from_x0(x_t, x0, t), v)


def test_time_runs_from_data_to_noise():
    x0, eps = draw(2, 3), draw(2, 3, seed=1)
    assert torch.equal(add_noise(x0, eps, 0.0), x0)
    assert torch.equal(add_noise(x0, eps, 1.0), eps)
    ahead = add_noise(x0, eps, 0.3 + 1e-6) - add_noise(x0, eps, 0.3)
    torch.testing.assert_close(ahead / 1e-6, velocity(x0, eps), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0])
def test_shift_maps_the_unit_interval_onto_itself(shift):
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    shifted = shift_time(t, shift)
    assert shifted[0] == 0 and shifted[-1] == 1 and (shifted.diff() > 0).all()
    # The odds of noise are multiplied by the shift.
    torch.testing.assert_close(shifted[1:-1] / (1 - shifted[1:-1]), shift * t[1:-1] / (1 - t[1:-1]))


def test_euler_times_of_wan():
    # Shift 3 at 4 steps: 1, 9/10, 3/4, 1/2, 0.
    torch.testing.assert_close(euler_times(4, 3.0), torch.tensor([1, 0.9, 0.75, 0.5, 0], dtype=torch.float64))


def test_guidance_closed_cases():
    c, u = torch.tensor([3.0]), torch.tensor([1.0])
    assert [guide(c, u, w).item() for w in (0.0, 1.0, 5.0)] == [1.0, 3.0, 11.0]


def test_noise_of_a_clip_does_not_depend_on_its_batch():
    seeds = [clip_seed(0, prompt, seed) for prompt in range(3) for seed in range(2)]
    assert len(set(seeds)) == 6
    together, alone = ClipNoise(seeds), ClipNoise(seeds[3:4])
    for _ in range(2):  # the second draw too
        assert torch.equal(together.draw((2, 3))[3], alone.draw((2, 3))[0])
    again = ClipNoise(list(reversed(seeds)))
    assert torch.equal(again.draw((4,))[2], ClipNoise(seeds[3:4]).draw((4,))[0])
    first, second = alone.draw((1000,))[0], alone.draw((1000,))[0]
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 0.15
