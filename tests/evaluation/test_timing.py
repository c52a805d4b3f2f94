"""Timing with a clock and a GPU that are made up: what is counted, when the clock is read, and what disturbs it."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from alice_repro.errors import UserError
from alice_repro.evaluation.timing import Meter, Work, matmul_rate, measure, speedup
from alice_repro.statistics import median_interval


class FakeGpu:
    """Work is queued at once and done when someone waits for it; memory is what the allocator was told."""

    def __init__(self, monkeypatch):
        self.time, self.queued, self.memory = 100.0, 0.0, 0
        monkeypatch.setattr(torch.cuda, "synchronize", self.wait)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: self.memory)
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", self.forget)

    def wait(self, device) -> None:
        assert device == torch.device("cuda:1")
        self.time, self.queued = self.time + self.queued, 0.0

    def forget(self, device) -> None:
        self.memory = 1_000

    def now(self) -> float:
        return self.time

    def sampler(self, seconds, memory: int):
        """Launches work of these seconds, one run after the other; launching takes a millisecond."""
        runs = iter(seconds)

        def draw() -> None:
            self.time += 0.001
            self.queued += next(runs) - 0.001
            self.memory = max(self.memory, memory)

        return draw


def test_work_on_a_gpu_is_waited_for(monkeypatch):
    gpu = FakeGpu(monkeypatch)
    teacher = Work(gpu.sampler([60.0, 10.0, 10.0, 30.0], 5_000), clips=2, steps=50, evaluations=100, flops=1e12)
    student = Work(gpu.sampler([9.0, 1.0, 2.0, 2.0], 3_000), clips=2, steps=4, evaluations=4, flops=4e10)
    found = measure({"teacher": teacher, "student": student}, Meter("cuda:1", gpu.now), repeats=3, warmup=1)
    slow, fast = found["teacher"], found["student"]
    assert slow.seconds == pytest.approx((10.0, 10.0, 30.0)) and fast.seconds == pytest.approx((1.0, 2.0, 2.0))
    assert (slow.peak_bytes, fast.peak_bytes) == (5_000, 3_000)
    assert slow.per_clip.value == pytest.approx(5.0) and slow.per_step.value == pytest.approx(0.1)
    assert slow.clips_per_second == pytest.approx(0.2) and slow.flops_per_second == pytest.approx(2e11)
    assert slow.share_of(1e12) == pytest.approx(0.2) and slow.share_of(0.0) is None
    # Ratios of one round: 10, 5, 15; a median of ratios, not a ratio of medians (5).
    assert speedup(slow, fast).value == pytest.approx(10.0)


def test_shared_work_dilutes_a_speedup(monkeypatch):
    gpu = FakeGpu(monkeypatch)
    work = {name: Work(gpu.sampler([s] * 6, 0)) for name, s in (("slow", 9.0), ("fast", 1.0), ("decoder", 1.0))}
    found = measure(work, Meter("cuda:1", gpu.now), repeats=6, warmup=0)
    assert speedup(found["slow"], found["fast"]).value == pytest.approx(9.0)
    both = speedup(found["slow"], found["fast"], found["decoder"])
    assert (both.low, both.value, both.high) == pytest.approx((5.0, 5.0, 5.0))
    assert found["decoder"].per_step is None and found["decoder"].share_of(1e12) is None


def test_samplers_take_turns():
    order: list[str] = []
    work = {name: Work(lambda name=name: order.append(name)) for name in "ab"}
    measure(work, Meter(), repeats=2, warmup=1)
    assert "".join(order) == "ababab"
    for repeats, samplers in ((0, work), (1, {})):
        with pytest.raises(UserError, match="timing needs"):
            measure(samplers, Meter(), repeats)


@pytest.mark.slow  # not on every system, and `make test` skips nothing
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="this system keeps the peak of a process")
def test_memory_on_a_cpu_is_that_of_each_sampler():
    def large() -> None:
        np.ones(25_000_000).sum()  # 200 MB

    found = measure({"large": Work(large), "small": Work(lambda: None)}, Meter(), repeats=1, warmup=0)
    assert 150e6 < found["large"].peak_bytes - found["small"].peak_bytes < 300e6


def test_the_rate_of_a_product_of_matrices():
    class Steady(Meter):
        ticks = 0

        def now(self) -> float:
            self.ticks += 1
            return self.ticks / 1000

    assert matmul_rate(Steady(), size=64) == pytest.approx(2 * 64**3 / 1e-3)
    assert matmul_rate(Meter(), size=64, repeats=2) > 0


@pytest.mark.parametrize("n, order", [(6, 1), (8, 1), (9, 2), (20, 6), (100, 40)])
def test_the_interval_of_a_median_is_of_order_statistics(n, order):
    """Ranks from tables of the sign test: n = 6: 1, 9: 2, 20: 6, 100: 40."""
    estimate = median_interval(np.random.default_rng(0).permutation(n) + 1.0)
    assert (estimate.low, estimate.high) == (order, n + 1 - order) and estimate.value == (n + 1) / 2
    assert np.isnan(median_interval(np.arange(5.0)).low) and median_interval([2.0]).value == 2.0


def test_the_interval_of_a_median_holds_it_often_enough():
    rng = np.random.default_rng(1)
    draws = [median_interval(rng.exponential(size=10)) for _ in range(1000)]
    assert 0.95 <= np.mean([e.low <= np.log(2) <= e.high for e in draws]) <= 0.995
