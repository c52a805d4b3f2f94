"""The loop's parts: moving averages, checkpoints, the start of a run."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from alice_repro.config import load_recipe
from alice_repro.distill.registry import build_method
from alice_repro.errors import UserError
from alice_repro.models.discriminator import Discriminator
from alice_repro.models.loading import load_teacher
from alice_repro.models.velocity import ExactVelocity, NetworkVelocity
from alice_repro.training.checkpoint import (
    load_checkpoint,
    load_optimizer_tensors,
    optimizer_tensors,
    save_checkpoint,
    with_prefix,
    without_prefix,
)
from alice_repro.training.ema import power_decay, power_exponent, update_average
from alice_repro.training.setup import prepare, teacher_velocity


def test_power_exponent_of_edm2():
    assert power_exponent(0.10) == pytest.approx(6.94, abs=0.005)
    assert power_exponent(0.05) == pytest.approx(16.97, abs=0.005)


def test_power_average_has_the_width_it_is_named_for():
    """The weights of the past updates, measured by averaging unit vectors: their spread is 10 % of the training."""
    updates, gamma = 400, power_exponent(0.1)
    average = torch.zeros(updates, dtype=torch.float64)
    for n in range(1, updates + 1):
        current = torch.zeros(updates, dtype=torch.float64)
        current[n - 1] = 1
        update_average([average], [current], power_decay(n, gamma))
    k = torch.arange(1, updates + 1, dtype=torch.float64) / updates
    mean = (average * k).sum()
    width = torch.sqrt((average * (k - mean) ** 2).sum())
    assert average.sum().item() == pytest.approx(1.0) and power_decay(1, gamma) == 0.0
    assert width.item() == pytest.approx(0.10, abs=0.002)
    assert mean.item() == pytest.approx((gamma + 1) / (gamma + 2), abs=0.003)  # the mean of k^gamma


def test_constant_average_closed_form():
    average = torch.tensor([1.0])
    for _ in range(10):
        update_average([average], [torch.tensor([3.0])], 0.9)
    assert average.item() == pytest.approx(3 - 2 * 0.9**10, rel=1e-5)


def make_optimizer(steps=3, betas=(0.5, 0.9)):
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1, betas=betas, fused=True)
    for k in range(steps):
        step(module, optimizer, k)
    return module, optimizer


def step(module, optimizer, k):
    optimizer.zero_grad()
    module(torch.full((1, 3), float(k + 1))).square().sum().backward()
    optimizer.step()


def test_checkpoint_round_trip_with_moments(tmp_path):
    module, optimizer = make_optimizer()
    generator = torch.Generator().manual_seed(5)
    torch.randn(3, generator=generator)
    tensors = with_prefix("net", module.state_dict()) | with_prefix("optimizer", optimizer_tensors(optimizer))
    save_checkpoint(
        tmp_path / "c.safetensors", tensors | {"generator": generator.get_state()}, {"student": 3, "name": "x"}
    )
    loaded, counters = load_checkpoint(tmp_path / "c.safetensors")
    assert counters == {"student": 3, "name": "x"}
    other, other_optimizer = make_optimizer(steps=0)
    other.load_state_dict(without_prefix("net", loaded))
    load_optimizer_tensors(other_optimizer, without_prefix("optimizer", loaded))
    resumed = torch.Generator()
    resumed.set_state(loaded["generator"])
    assert torch.equal(torch.randn(3, generator=generator), torch.randn(3, generator=resumed))
    for k in range(3, 6):  # the moments and the step count decide where the next updates go
        step(module, optimizer, k)
        step(other, other_optimizer, k)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), other.parameters(), strict=True))


def test_damaged_checkpoints_are_named(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(UserError, match="does not exist"):
        load_checkpoint(path)
    save_checkpoint(path, {"a.b": torch.ones(4)}, {"student": 1})
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UserError, match="checkpoint.safetensors is truncated"):
        load_checkpoint(path)
    save_checkpoint(path, {"a.b": torch.tensor([1.0, float("nan")])}, {"student": 1})
    with pytest.raises(UserError, match="checkpoint.safetensors: tensor 'a.b'"):
        load_checkpoint(path)
    save_file({"a.b": torch.ones(4)}, path)
    with pytest.raises(UserError, match="not a training checkpoint"):
        load_checkpoint(path)


def test_a_failed_write_leaves_the_older_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, {"a": torch.ones(4)}, {"student": 1})
    with pytest.raises(TypeError):
        save_checkpoint(path, {"a": torch.zeros(4)}, {"student": object()})
    assert load_checkpoint(path)[1] == {"student": 1} and [p.name for p in tmp_path.iterdir()] == [path.name]


def method(name):
    return build_method(load_recipe(name), 5.0)


def test_start_of_a_distillation(tiny_scale):
    captions = ["a red ball falls in the studio", "a blue box slides in the gym"]
    start = prepare(tiny_scale, "trained", captions, method("dmd"), 0)
    copies = [start.student, start.average, start.fake]
    for copy in copies:
        pairs = list(zip(copy.parameters(), start.parts.transformer.parameters(), strict=True))
        assert all(torch.equal(a, b) and a.data_ptr() != b.data_ptr() for a, b in pairs)
    assert [all(p.requires_grad for p in copy.parameters()) for copy in copies] == [True, False, True]
    assert isinstance(start.teacher, NetworkVelocity) and start.teacher.evaluations == 2
    assert start.head is None
    plain = prepare(tiny_scale, "trained", captions, method("scm"), 0)
    assert plain.fake is None and plain.head is None


def test_a_discriminator_reads_features_of_a_network_only(tiny_scale):
    captions = ["a red ball falls in the studio"]
    reads_teacher = build_method(load_recipe("dmd2", ("gan_features=teacher", "gan_weight=0.03")), 5.0)
    start = prepare(tiny_scale, "trained", captions, reads_teacher, 0)
    tell = Discriminator(start.teacher, start.head)
    x = torch.randn(2, 16, 2, 4, 4, requires_grad=True)
    logits = tell(x, torch.full((2,), 0.5), torch.zeros(2).long())
    assert logits.shape == (2,)
    logits.sum().backward()
    assert x.grad.abs().max() > 0 and all(p.grad is not None for p in start.head.parameters())
    assert all(p.grad is None for p in start.teacher.transformer.parameters())
    full = replace(tiny_scale, teacher=replace(tiny_scale.teacher, exact_clips=1))
    with pytest.raises(UserError, match="the exact teacher is no network"):
        prepare(full, "exact", captions, reads_teacher, 0)


def test_teachers_by_name(tiny_scale):
    captions = ["a red ball falls in the studio"]
    parts = load_teacher(tiny_scale.model)
    full = replace(tiny_scale, teacher=replace(tiny_scale.teacher, exact_clips=3))
    exact = teacher_velocity(full, "exact", parts, captions)
    assert isinstance(exact, ExactVelocity) and exact.clips.shape[:2] == (1, 3)
    with pytest.raises(UserError, match="'exact'"):
        teacher_velocity(full, "exakt", parts, captions)
