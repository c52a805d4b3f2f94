"""A batch in two shares is the batch in one: its draws, the loss of a mean, the norm of a gradient."""

from __future__ import annotations

import pytest
import torch

from alice_repro.distill.avd import temporal_loss
from alice_repro.distill.method import Batch

CLIPS = 0.3 * torch.randn(6, 2, 4, 3, 3, generator=torch.Generator().manual_seed(5))


def shares(count, sums=None):
    """The batches of ``count`` processes; ``sums`` stands for what their sum over all processes gives."""
    parts = CLIPS.chunk(count)
    return [
        Batch(x, torch.zeros(len(x)).long(), torch.Generator().manual_seed(3), torch.Generator(), sums, index, count)
        for index, x in enumerate(parts)
    ]


@pytest.mark.parametrize("count", [2, 3])
def test_processes_share_the_draws_of_one(count):
    (whole,), parts = shares(1), shares(count)
    for draw in (
        lambda batch: batch.noise_like_x0(),
        lambda batch: batch.draw(torch.rand),
        lambda batch: batch.clip_noise().draw((2, 3)),
    ):
        assert torch.equal(torch.cat([draw(batch) for batch in parts]), draw(whole))
    assert all(torch.equal(batch.generator.get_state(), whole.generator.get_state()) for batch in parts)


def test_a_function_of_the_batchs_mean_has_the_gradient_of_the_whole():
    """The logarithm of a mean is no mean of logarithms: Eq. 8 of AVD."""
    whole = CLIPS.clone().requires_grad_()
    loss = temporal_loss(whole, -9.0)
    (expected,) = torch.autograd.grad(loss, whole)
    variance = [x.var(dim=2, unbiased=False).mean() for x in CLIPS.chunk(2)]
    gradients = []
    for batch in shares(2, lambda mean: sum(variance)):
        x = batch.x0.clone().requires_grad_()
        mine = temporal_loss(x, -9.0, batch.mean_over_processes)
        assert mine.item() == pytest.approx(loss.item(), rel=1e-6)
        gradients.append(torch.autograd.grad(mine, x)[0] / 2)  # the trainer's mean over processes
        assert temporal_loss(x, -9.0).item() != pytest.approx(loss.item(), rel=1e-4), "else the test shows nothing"
    torch.testing.assert_close(torch.cat(gradients), expected)


def test_norm_of_the_gradient_of_a_mean():
    whole = CLIPS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(whole.square().mean(), whole)
    parts = [2 * gradient[:3], 2 * gradient[3:]]  # the mean over half the clips weighs each twice
    batches = shares(2, lambda square: sum(part.double().square().sum() for part in parts))
    for batch, part in zip(batches, parts, strict=True):
        assert batch.gradient_norm(part) == pytest.approx(gradient.norm().item(), rel=1e-6)
    alone = Batch(CLIPS, torch.zeros(6).long(), torch.Generator())
    assert alone.gradient_norm(gradient) == float(gradient.norm())
    assert float(alone.mean_over_processes(torch.tensor(0.1))) == float(torch.tensor(0.1))
