"""Samplers: an exact consistency function is exact in any number of steps; batches do not matter; costs are counted."""

from __future__ import annotations

import pytest
import torch

from alice_repro.flow.noise import ClipNoise
from alice_repro.models.lab import build_transformer
from alice_repro.models.velocity import ExactVelocity, NetworkVelocity
from alice_repro.sampling.few_step import few_step_times, sample_few_step
from alice_repro.sampling.teacher import sample_euler

SHAPE = (4, 2, 4, 4)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    transformer = build_transformer(24, 1, 2, 32, 16, 4, 16).eval().requires_grad_(False)
    table, null = torch.randn(3, 5, 16), torch.randn(5, 16)
    return NetworkVelocity(transformer, table), NetworkVelocity(transformer, table, null, 3.0)


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_exact_consistency_function_of_a_point(steps):
    """All the data is one clip a caption: f(x, t) is that clip from everywhere, in any number of steps."""
    clips = torch.randn(2, 1, *SHAPE, generator=torch.Generator().manual_seed(0))
    caption = torch.tensor([1, 0, 1])
    x0, evaluations = sample_few_step(
        ExactVelocity(clips, 0.0), ClipNoise([1, 2, 3]), SHAPE, caption, few_step_times(steps, 5.0)
    )
    torch.testing.assert_close(x0, clips[caption, 0], atol=1e-5, rtol=1e-5)
    assert evaluations == steps


class GaussianConsistency:
    """The consistency function of N(m, c^2) as a velocity: x0 = m + c (x_t - (1 - t) m) / sqrt((1 - t)^2 c^2 + t^2)."""

    evaluations = 1

    def __init__(self, mean, std):
        self.mean, self.std = mean, std

    def __call__(self, x, t, caption):
        t = t.view(-1, 1, 1, 1, 1)
        x0 = self.mean + self.std * (x - (1 - t) * self.mean) / torch.sqrt((1 - t) ** 2 * self.std**2 + t**2)
        return (x - x0) / t


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_exact_consistency_function_of_a_gaussian(steps):
    """Re-noising keeps the distribution: every step count gives samples of N(m, c^2), and one step the map itself."""
    field, seeds = GaussianConsistency(0.7, 0.4), list(range(500))
    x0, _ = sample_few_step(field, ClipNoise(seeds), SHAPE, torch.zeros(500).long(), few_step_times(steps, 5.0))
    assert x0.mean().item() == pytest.approx(0.7, abs=0.006) and x0.std().item() == pytest.approx(0.4, abs=0.006)
    if steps == 1:
        torch.testing.assert_close(x0, 0.7 + 0.4 * ClipNoise(seeds).draw(SHAPE))


def test_times_of_the_student():
    # FastGen's Wan list 0.999, 0.937, 0.833, 0.624, from 1.
    assert few_step_times(4, 5.0).tolist() == pytest.approx([1.0, 15 / 16, 5 / 6, 5 / 8])
    assert few_step_times(1, 5.0).tolist() == [1.0]


def sample(network, rows, batch):
    """Clips (prompt row, seed) sampled in batches of a size, few-step and Euler."""
    few, many = [], []
    for start in range(0, len(rows), batch):
        chunk = rows[start : start + batch]
        caption = torch.tensor([prompt for prompt, _ in chunk])
        few.append(
            sample_few_step(network[0], ClipNoise([s for _, s in chunk]), SHAPE, caption, few_step_times(4, 5.0))[0]
        )
        many.append(sample_euler(network[1], ClipNoise([s for _, s in chunk]).draw(SHAPE), caption, 6, 3.0)[0])
    return torch.cat(few), torch.cat(many)


def test_a_clip_does_not_depend_on_batch_size_or_order(network):
    rows = [(prompt, seed) for prompt in range(3) for seed in (10, 11)]
    whole = sample(network, rows, 6)
    for batch in (1, 4):
        torch.testing.assert_close(sample(network, rows, batch), whole, atol=2e-6, rtol=1e-5)
    backwards = sample(network, rows[::-1], 4)
    torch.testing.assert_close(tuple(x.flip(0) for x in backwards), whole, atol=2e-6, rtol=1e-5)
    assert (whole[0][0] - whole[0][1]).abs().max() > 0.1, "other seeds give other clips"


def test_evaluations_are_counted(network):
    calls = []
    transformer = network[0].transformer
    hook = transformer.register_forward_hook(lambda module, args, out: calls.append(len(args[0])))
    noise, caption = ClipNoise([1, 2]).draw(SHAPE), torch.tensor([0, 1])
    _, evaluations = sample_euler(network[1], noise, caption, 50, 3.0)
    assert evaluations == 100 == sum(calls) // 2
    calls.clear()
    _, evaluations = sample_few_step(network[0], ClipNoise([1, 2]), SHAPE, caption, few_step_times(4, 5.0))
    hook.remove()
    assert evaluations == 4 == sum(calls) // 2


def test_euler_is_exact_on_a_straight_flow():
    """One clip without width: the trajectories are straight lines, so any number of steps ends on the clip."""
    clips = torch.randn(1, 1, *SHAPE, generator=torch.Generator().manual_seed(0))
    noise = ClipNoise([4]).draw(SHAPE)
    for steps in (1, 3):
        x0, _ = sample_euler(ExactVelocity(clips, 0.0), noise, torch.tensor([0]), steps, 3.0)
        torch.testing.assert_close(x0, clips[0], atol=1e-5, rtol=1e-5)


def test_euler_converges_to_the_gaussian_map():
    """x0 ~ N(m, c^2): the probability flow maps noise z to m + c z."""

    class Flow:
        evaluations = 1

        def __call__(self, x, t, caption):
            t = t.view(-1, 1, 1, 1, 1)
            variance = (1 - t) ** 2 * 0.4**2 + t**2
            return (x - (0.7 + (1 - t) * 0.4**2 / variance * (x - (1 - t) * 0.7))) / t

    noise = ClipNoise([4]).draw(SHAPE)
    errors = [
        (sample_euler(Flow(), noise, torch.tensor([0]), n, 3.0)[0] - (0.7 + 0.4 * noise)).abs().max() for n in (25, 100)
    ]
    assert errors[1] < 0.05 and errors[1] < errors[0] / 3
