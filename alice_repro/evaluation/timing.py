"""What making clips costs: seconds, memory, network evaluations, and how far from the floor of the operations.

A sampler is a callable that makes a batch of clips. Several are timed in turn, a round after the other, so that what
changes on the machine meanwhile changes all of them; ratios are of runs of one round. Of repeated runs the median is
taken, since what disturbs a run only ever makes it longer. On a GPU the clock is read when the work is done.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from alice_repro.errors import UserError
from alice_repro.progress import Progress
from alice_repro.statistics import Estimate, median_interval

Sampler = Callable[[], object]


class Meter:
    """Clock and memory of a device.

    Peak memory is that of the torch allocator on a GPU, and of the whole process (resident set) on a CPU: both with
    weights. Linux lets a process reset its peak; elsewhere it is the peak since the start of the process.
    """

    def __init__(self, device: torch.device | str = "cpu", now: Callable[[], float] = time.perf_counter) -> None:
        self.device, self._now = torch.device(device), now

    def now(self) -> float:
        """Seconds, after all work that the device was given is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self._now()

    def reset_peak(self) -> None:
        """Count the peak from now on, where the system can."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            pass

    def peak(self) -> int:
        """Bytes at the peak."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
            return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
        except (OSError, StopIteration):
            unit = 1 if sys.platform == "darwin" else 1024
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@dataclass(frozen=True)
class Work:
    """What a sampler is to do, counted and not measured.

    Attributes:
        draw: makes ``clips`` clips.
        clips: in a run.
        steps: denoising steps; 0 for what is no denoising.
        evaluations: of the network, a clip.
        flops: least operations of a clip; 0 if not known.
    """

    draw: Sampler
    clips: int = 1
    steps: int = 0
    evaluations: int = 0
    flops: float = 0.0


@dataclass(frozen=True)
class Timing:
    """Measured runs of a sampler: ``seconds`` of each, all clips of a run together, and the most memory held."""

    work: Work = field(repr=False)
    seconds: tuple[float, ...]
    peak_bytes: int

    @property
    def per_clip(self) -> Estimate:
        """Seconds a clip, median with its 95 % interval."""
        return median_interval(self.seconds).scaled(1 / self.work.clips)

    @property
    def per_step(self) -> Estimate | None:
        """Seconds a clip and denoising step; None without steps."""
        return self.per_clip.scaled(1 / self.work.steps) if self.work.steps else None

    @property
    def clips_per_second(self) -> float:
        """Throughput."""
        return 1 / self.per_clip.value

    @property
    def flops_per_second(self) -> float | None:
        """Operations a second, of those that cannot be done without; None if they are not known."""
        return self.work.flops / self.per_clip.value if self.work.flops else None

    def share_of(self, peak: float) -> float | None:
        """Share of a peak in operations a second: the floor's seconds over the measured ones."""
        rate = self.flops_per_second
        return None if rate is None or peak <= 0 else rate / peak


def measure(
    samplers: Mapping[str, Work], meter: Meter, repeats: int = 10, warmup: int = 1, title: str = "timing"
) -> dict[str, Timing]:
    """Run samplers in turn and time each run.

    Args:
        repeats: rounds that count; 6 or more give an interval.
        warmup: rounds before them, which do not (kernels are chosen, memory is asked for).

    Raises:
        UserError: no round that counts, or no sampler.
    """
    if repeats < 1 or warmup < 0 or not samplers:
        raise UserError(f"timing needs a sampler and 1 or more repeats, got {len(samplers)} and {repeats}")
    seconds: dict[str, list[float]] = {name: [] for name in samplers}
    peaks = dict.fromkeys(samplers, 0)
    with Progress(len(samplers) * (warmup + repeats), title) as bar:
        for turn in range(warmup + repeats):
            for name, work in samplers.items():
                meter.reset_peak()
                began = meter.now()
                work.draw()
                spent = meter.now() - began
                peaks[name] = max(peaks[name], meter.peak())
                if turn >= warmup:
                    seconds[name].append(spent)
                bar.advance()
    return {name: Timing(work, tuple(seconds[name]), peaks[name]) for name, work in samplers.items()}


def speedup(slow: Timing, fast: Timing, beside: Timing | None = None) -> Estimate:
    """How many times as long a clip takes with ``slow`` as with ``fast``, run by run; median with its interval.

    Args:
        beside: work that both need too, such as decoding, whose seconds are added to each.
    """
    rounds = zip(slow.seconds, fast.seconds, beside.seconds if beside else (0.0,) * len(slow.seconds), strict=True)
    more = beside.work.clips if beside else 1
    return median_interval([(a / slow.work.clips + c / more) / (b / fast.work.clips + c / more) for a, b, c in rounds])


def matmul_rate(meter: Meter, dtype: torch.dtype = torch.float32, size: int = 1024, repeats: int = 10) -> float:
    """Operations a second of a product of two square matrices here: a peak that the device does reach.

    The fastest of several runs. What a vendor prints for the device may be more, and a sampler can come no nearer to
    that than this does.
    """
    a, b = torch.randn(2, size, size, device=meter.device).to(dtype)
    best = float("inf")
    for turn in range(repeats + 1):
        began = meter.now()
        a @ b
        spent = meter.now() - began
        best = min(best, spent) if turn else best
    return 2.0 * size**3 / best
