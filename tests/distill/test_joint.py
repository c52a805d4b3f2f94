"""Several losses of one sample: the value and the gradient of their sum, one pass back through the student."""

from __future__ import annotations

import pytest
import torch

from alice_repro.distill.joint import joint_loss

PARTS = {
    "square": (2.0, lambda g: (g.square().mean(), {"seen": 1.0})),
    "cube": (0.5, lambda g: (g.pow(3).sum(), {})),
}


def test_value_and_gradient_are_those_of_the_sum():
    weight = torch.tensor([0.3, -1.2], requires_grad=True)
    loss, log = joint_loss(weight * torch.tensor([1.0, 2.0]), PARTS)
    sample = weight * torch.tensor([1.0, 2.0])
    plain = sum(w * part(sample)[0] for w, part in PARTS.values())
    assert loss.item() == pytest.approx(plain.item())
    torch.testing.assert_close(torch.autograd.grad(loss, weight)[0], torch.autograd.grad(plain, weight)[0])
    assert log["seen"] == 1 and log["cube_loss"] == pytest.approx(0.3**3 - 2.4**3)
    assert log["square_gradient_at_sample"] == pytest.approx(2.0 * (0.3**2 + 2.4**2) ** 0.5)


def test_the_student_is_passed_once():
    passes = []
    sample = torch.ones(3, requires_grad=True) * 2
    sample.register_hook(lambda gradient: passes.append(gradient))
    joint_loss(sample, PARTS)[0].backward()
    assert len(passes) == 1
