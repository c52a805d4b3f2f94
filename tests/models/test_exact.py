"""The exact teacher against brute force, a Gaussian in closed form, and its known mode masses."""

from __future__ import annotations

import math

import pytest
import torch

from alice_repro.models.exact import posterior_mean
from alice_repro.models.velocity import ExactVelocity, NetworkVelocity
from alice_repro.sampling.teacher import sample_euler

T = torch.tensor([0.05, 0.3, 0.7, 1.0], dtype=torch.float64)


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("width", [0.0, 0.3])
def test_posterior_mean_equals_brute_force(width):
    clips, x = draw(6, 4), draw(4, 4, seed=1)
    expected = []
    for point, t in zip(x, T, strict=True):
        variance = t**2 + (1 - t) ** 2 * width**2
        density = torch.stack([torch.exp(-((point - (1 - t) * c) ** 2).sum() / (2 * variance)) for c in clips])
        own = [c + (1 - t) * width**2 / variance * (point - (1 - t) * c) for c in clips]
        expected.append(sum(w * m for w, m in zip(density / density.sum(), own, strict=True)))
    torch.testing.assert_close(posterior_mean(x, T, clips, width), torch.stack(expected))
    torch.testing.assert_close(posterior_mean(x, T, clips.expand(4, 6, 4), width), torch.stack(expected))


def test_one_clip_with_width_is_a_gaussian():
    """x0 ~ N(m, c^2): E[x0 | x_t] = m + (1 - t) c^2 / ((1 - t)^2 c^2 + t^2) (x_t - (1 - t) m)."""
    m, c, x, signal = draw(1, 3), 0.5, draw(4, 3, seed=1), (1 - T)[:, None]
    expected = m + signal * c**2 / (signal**2 * c**2 + T[:, None] ** 2) * (x - signal * m)
    torch.testing.assert_close(posterior_mean(x, T, m, c), expected)


def test_without_width_the_last_step_lands_on_a_clip():
    clips = draw(5, 3)
    x = 0.999 * clips[2:3] + 0.001 * draw(1, 3, seed=3)
    torch.testing.assert_close(posterior_mean(x, torch.tensor([1e-3]).double(), clips), clips[2:3])


def test_float32_is_enough_for_a_latent_of_the_lab():
    """5,120 numbers a clip: the softmax's differences of squares must not drown in rounding."""
    clips, eps = draw(32, 5120), draw(3, 5120, seed=1)
    clips[1] = clips[0] + 0.02 * draw(5120, seed=2)  # two clips that differ little
    t = torch.tensor([0.02, 0.3, 0.9], dtype=torch.float64)
    x = (1 - t)[:, None] * clips[:1] + t[:, None] * eps
    exact, rounded = (
        posterior_mean(x.to(d), t.to(d), clips.to(d), 0.05).double() for d in (torch.float64, torch.float32)
    )
    assert (exact - rounded).norm(dim=1).max() < 0.01 * clips[0].norm()


def modes(width, weights=(3, 1), count=600, steps=60, guidance=1.0):
    """Sample a two-mode caption by Euler steps; return the samples and the modes' centres."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(2, 1, 1, 2, 4, generator=generator)
    clips = torch.cat(
        [centres[:1].expand(weights[0], *centres.shape[1:]), centres[1:].expand(weights[1], *centres.shape[1:])]
    )
    field = ExactVelocity(clips[None], width, guidance)
    noise = torch.randn(count, 1, 1, 2, 4, generator=generator)
    samples, _ = sample_euler(field, noise, torch.zeros(count, dtype=torch.long), steps, 3.0)
    return samples, centres


def test_euler_samples_have_the_known_mode_masses():
    samples, centres = modes(width=0.0)
    distance = (samples[:, None] - centres[None]).flatten(2).norm(dim=2)
    assert distance.min(dim=1).values.max() < 1e-3, "every sample lies on a clip"
    share = (distance[:, 0] < distance[:, 1]).float().mean().item()
    bound = 3.5 * math.sqrt(0.75 * 0.25 / len(samples))
    assert abs(share - 0.75) < bound + 0.01  # binomial, and a little for the finite steps


def test_euler_samples_have_the_width_of_the_clips():
    samples, centres = modes(width=0.3, weights=(1, 1), steps=100)
    near = centres[(samples[:, None] - centres[None]).flatten(2).norm(dim=2).argmin(dim=1)]
    assert abs((samples - near).std().item() - 0.3) < 0.015


def test_guidance_moves_towards_the_captions_own_clips():
    clips = torch.tensor([[-1.0], [1.0]]).view(2, 1, 1, 1, 1, 1)  # caption 0 at -1, caption 1 at +1
    x, t, caption = torch.zeros(1, 1, 1, 1, 1), torch.tensor([0.5]), torch.tensor([1])
    plain, guided = (ExactVelocity(clips, 0.1, w)(x, t, caption).item() for w in (1.0, 3.0))
    # x0 is 1 with the caption and, by symmetry, its mean without is 0; v = (x - x0) / t.
    s = 0.5 * 0.01 / (0.25 + 0.25 * 0.01)
    own = 1 + s * (0 - 0.5)
    assert plain == pytest.approx(-own / 0.5) and guided == pytest.approx(3 * plain)
    assert ExactVelocity(clips, 0.1, 3.0).evaluations == 2 and ExactVelocity(clips, 0.1).evaluations == 1


def test_guided_velocities_agree_with_two_plain_ones():
    clips = draw(2, 3, 1, 1, 2, 2).float()
    x, t, caption = draw(2, 1, 1, 2, 2, seed=4).float(), torch.tensor([0.4, 0.8]), torch.tensor([1, 0])
    conditional = ExactVelocity(clips, 0.1)(x, t, caption)
    everything = ExactVelocity(clips.flatten(0, 1)[None], 0.1)(x, t, torch.zeros(2, dtype=torch.long))
    torch.testing.assert_close(
        ExactVelocity(clips, 0.1, 2.5)(x, t, caption), everything + 2.5 * (conditional - everything)
    )


def test_network_velocity_guides_with_the_null_embedding():
    def transformer(x, time, states, return_dict):
        assert return_dict is False
        return (x * 0 + states.mean((1, 2)).view(-1, 1, 1, 1, 1) + time.view(-1, 1, 1, 1, 1),)

    table, null = torch.tensor([1.0, 4.0]).view(2, 1, 1), torch.tensor([[0.5]])
    x, t, caption = torch.zeros(2, 1, 1, 1, 1), torch.tensor([0.0, 0.25]), torch.tensor([1, 0])
    plain, guided = NetworkVelocity(transformer, table), NetworkVelocity(transformer, table, null, 3.0)
    assert plain(x, t, caption).flatten().tolist() == [4.0, 251.0]
    assert guided(x, t, caption).flatten().tolist() == [0.5 + 3 * 3.5, 250 + 0.5 + 3 * 0.5]
    assert (plain.evaluations, guided.evaluations) == (1, 2)
    with pytest.raises(ValueError, match="negative prompt"):
        NetworkVelocity(transformer, table, guidance=2.0)
