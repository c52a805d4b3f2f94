"""Time floors: how long a clip must take at least, and whether printed times agree among themselves.

The argument. A sampling step evaluates the network, and no evaluation needs fewer operations than `flops` counts. A
GPU does no more of them in a second than its dense peak. So operations over peak is a floor for the seconds of a clip.
Every choice that the text leaves open is made in its favour: the fastest GPU that the name admits, its lowest
precision even in attention, the shortest clip, no guidance, nothing for encoding, decoding and moving memory. A printed
time below that floor is impossible. Where no GPU is named, a time below the floor of all known ones only needs a run.

Times of one network on one GPU and one size of clip must leave room for a fixed cost and an equal cost a step. Between
two GPUs, the ratio of times should lie between the least and the greatest ratio of their peaks and bandwidths, if both
are used equally well: outside of that range nothing is shown, it only needs a run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from alice_repro.audit.findings import IMPOSSIBLE, INCONSISTENT, NEEDS_A_RUN, Finding, Reading, Record, judge
from alice_repro.audit.interval import APPROXIMATE, Interval, may_hold, show
from alice_repro.audit.stated import Stated, limit_finding, model_of, stated
from alice_repro.models.flops import clip_known, forward_flops, latent_frames, tokens
from alice_repro.papers import Gpu, Model, Paper, Timing, gpus

FATAL = 1.1  # a floor that exceeds the printed time by this factor leaves no doubt about the peak's exact value
TERA, PETA = 1e12, 1e15


@dataclass(frozen=True)
class Peak:
    """A GPU at one precision."""

    gpu: Gpu
    precision: str

    @property
    def flops(self) -> float:
        return self.gpu.peaks[self.precision] * TERA

    def __str__(self) -> str:
        return f"{self.gpu.name}, {self.precision}, {show(self.gpu.peaks[self.precision])} TFLOP/s"


def check_times(record: Record) -> Iterator[Finding]:
    """A floor for every timing, then their agreement over steps and over GPUs."""
    for document in record.documents:
        timings = [t for t in document.timings if clip_known(model_of(document, t.model))]
        yield from (_floor(record, document, timing) for timing in timings)
        yield from _steps(record, document, timings)
        yield from _ratios(record, document, timings)


def peaks(names: tuple[str, ...], precision: str) -> list[Peak]:
    """What a text admits, the fastest first: the named GPUs (all known ones if none is named) at the stated precision.

    No precision stated, or none that the GPU has units for: any.
    """
    found = []
    for gpu in (gpus()[name] for name in names or gpus()):
        fitting = [p for p in gpu.peaks if p == precision or p.startswith(f"{precision}-")] if precision else []
        found += [Peak(gpu, p) for p in fitting or gpu.peaks]
    return sorted(found, key=lambda peak: -peak.flops)


def clip_flops(model: Model, width: int, height: int, frames: int, half_rate: bool = False) -> float:
    """Operations of one evaluation; at half the rate every second latent frame is left out."""
    latents = latent_frames(model, frames)
    return forward_flops(model, tokens(model, width, height, (latents + 1) // 2 if half_rate else latents))


def timing_flops(timing: Timing, model: Model, steps: float, frames: int, evaluations: int) -> float:
    """Operations of a whole generation."""
    full = clip_flops(model, timing.width, timing.height, frames)
    half = clip_flops(model, timing.width, timing.height, frames, half_rate=True)
    return evaluations * ((steps - timing.half_rate) * full + timing.half_rate * half)


def _floor(record: Record, document: Paper, timing: Timing) -> Finding:
    facts = stated(record, document, timing.steps, timing.seconds)
    model = model_of(document, timing.model)
    steps, limit = facts.interval(timing.steps).low, facts.interval(timing.seconds).high
    frames, evaluations = min(timing.frames), min(timing.evaluations)
    admitted = peaks(timing.gpus, timing.precision)
    best = admitted[0]
    operations = timing_flops(timing, model, steps, frames, evaluations)
    floor = operations / best.flops
    readings = [_reading(str(peak), operations / peak.flops, limit) for peak in admitted]
    for clip in sorted(set(timing.frames)):
        for times in sorted(set(timing.evaluations)):
            if (clip, times) != (frames, evaluations):
                cost = timing_flops(timing, model, steps, clip, times) / best.flops
                readings.append(_reading(f"{clip} frames, {_guidance(times)}, {best}", cost, limit))
    if floor > limit:
        readings += _inadmissible(timing, model, steps, best, floor, limit)
    verdict = judge(readings, IMPOSSIBLE if timing.gpus else NEEDS_A_RUN, facts.damaged)
    one = clip_flops(model, timing.width, timing.height, frames)
    n = tokens(model, timing.width, timing.height, latent_frames(model, frames))
    half = f", {timing.half_rate} steps of it at half the frame rate," if timing.half_rate else ""
    text = (
        f"One evaluation of {model.name} on {frames} frames of {timing.width}x{timing.height} ({show(n)} tokens) takes "
        f"at least {one / PETA:.3g} PFLOP. The run of {show(steps)} steps{half} {_guidance(evaluations)}, at 100 % of "
        f"the highest dense peak that the text admits ({best}), takes {floor:.3g} s, with nothing for the text "
        f"encoder, the decoder and memory. The printed {facts.shown(timing.seconds)} allows {limit:.4g} s: "
    )
    if floor > limit:
        text += f"the floor is {floor / limit:.2f} times that."
    else:
        rate = operations / limit / TERA
        text += f"above the floor, at {rate:.3g} TFLOP/s or {100 * floor / limit:.2g} % of that peak."
    if not timing.gpus:
        text += " No GPU is named; all known ones are admitted."
    return limit_finding(
        facts,
        "time",
        timing.id,
        timing.place,
        facts.quote(timing.seconds),
        f"at least {floor:.3g} s",
        readings,
        verdict,
        "fatal" if floor >= FATAL * limit else "major",
        text,
    )


def _reading(name: str, floor: float, limit: float, admissible: bool = True) -> Reading:
    return Reading(name, f"at least {floor:.3g} s", floor <= limit, admissible)


def _guidance(evaluations: int) -> str:
    return "without guidance" if evaluations == 1 else f"with guidance ({evaluations} evaluations a step)"


def _inadmissible(
    timing: Timing, model: Model, steps: float, best: Peak, floor: float, limit: float
) -> Iterator[Reading]:
    """What would make the time possible, though the text excludes it."""
    count = math.ceil(floor / limit)
    yield _reading(f"on {count} such GPUs without any loss; one is named", floor / count, limit, admissible=False)
    yield _reading("2:4 sparsity in every product, attention included; not stated", floor / 2, limit, admissible=False)
    stride = model.stride[0]
    for frames in range(stride * ((min(timing.frames) - 2) // stride) + 1, 0, -stride):
        cost = timing_flops(timing, model, steps, frames, min(timing.evaluations)) / best.flops
        if cost <= limit:
            yield _reading(f"only {frames} frames", cost, limit, admissible=False)
            return


def _steps(record: Record, document: Paper, timings: list[Timing]) -> Iterator[Finding]:
    """t = a + b s with a, b >= 0 for all timings of one network, GPU and clip."""
    groups: dict[tuple[object, ...], list[Timing]] = {}
    for t in timings:
        first = t.gpus[0] if t.gpus else ""
        key = (t.model, first, t.width, t.height, t.frames, t.evaluations, t.half_rate, t.precision)
        groups.setdefault(key, []).append(t)
    for group in groups.values():
        facts = stated(record, document, *(node for t in group for node in (t.steps, t.seconds)))
        points = [(facts.interval(t.steps).low, _measured(facts.interval(t.seconds))) for t in group]
        if len({steps for steps, _ in points}) < 2:
            continue
        low, high = _slopes(points)
        holds = low <= high
        cost = f"{low:.3g} to {high:.3g} s a step" if holds else "no cost a step fits all of them"
        listed = "; ".join(f"{facts.shown(t.steps)}: {facts.shown(t.seconds)}" for t in group)
        readings = [Reading("a fixed cost and an equal cost a step, each time good to 5 %", cost, holds)]
        verdict = judge(readings, INCONSISTENT, facts.damaged)
        yield limit_finding(
            facts,
            "steps",
            group[0].id,
            group[-1].place,
            facts.quote(group[-1].seconds),
            cost,
            readings,
            verdict,
            "minor",
            f"The same network, GPU and clip with different numbers of steps ({listed}): a fixed cost of 0 or more "
            f"and an equal cost for each step, with every time good to 5 %, {'fit' if holds else 'cannot fit'} all.",
        )


def _measured(seconds: Interval) -> Interval:
    return Interval(seconds.low * (1 - APPROXIMATE), seconds.high * (1 + APPROXIMATE))


def _slopes(points: list[tuple[float, Interval]]) -> tuple[float, float]:
    """Costs a step that leave room for all points, exact: bounds from every pair, and from a fixed cost >= 0."""
    low, high = 0.0, math.inf
    for steps, time in points:
        high = min(high, time.high / steps)
        for more, longer in points:
            if more > steps:
                low = max(low, (longer.low - time.high) / (more - steps))
                high = min(high, (longer.high - time.low) / (more - steps))
            elif more == steps and not may_hold(time, "=", longer):
                return 1.0, 0.0
    return low, high


def _ratios(record: Record, document: Paper, timings: list[Timing]) -> Iterator[Finding]:
    """Each timing against the first of the same run on other GPUs."""
    first: dict[tuple[object, ...], Timing] = {}
    for t in timings:
        key = (t.model, t.place, str(t.steps), t.width, t.height, t.frames, t.evaluations, t.half_rate)
        reference = first.setdefault(key, t)
        if t is not reference and t.gpus and reference.gpus and not set(t.gpus) & set(reference.gpus):
            facts = stated(record, document, t.seconds, reference.seconds)
            yield _ratio(facts, t, reference)


def _ratio(facts: Stated, timing: Timing, reference: Timing) -> Finding:
    slow, fast = peaks(timing.gpus, timing.precision), peaks(reference.gpus, reference.precision)
    bandwidths = [f.gpu.bandwidth / s.gpu.bandwidth for f in fast for s in slow]
    bounds = [f.flops / s.flops for f in fast for s in slow] + bandwidths
    possible = Interval(min(bounds), max(bounds))
    ratio = facts.interval(timing.seconds) / facts.interval(reference.seconds)
    holds = may_hold(ratio, "=", possible)
    readings = [Reading("both GPUs used equally well", f"{possible.low:.3g} to {possible.high:.3g}", holds)]
    verdict = judge(readings, NEEDS_A_RUN, facts.damaged)
    return limit_finding(
        facts,
        "gpus",
        timing.id,
        timing.place,
        facts.quote(timing.seconds),
        f"ratio {ratio.low:.3g} to {ratio.high:.3g}; peaks and bandwidths give {readings[0].computed}",
        readings,
        verdict,
        "minor",
        f"{facts.shown(timing.seconds)} on {slow[0].gpu.name} over {facts.shown(reference.seconds)} on "
        f"{fast[0].gpu.name} is {ratio.low:.3g} to {ratio.high:.3g}. Over all admitted variants and precisions, peaks "
        f"and bandwidths of the two differ by {readings[0].computed}; "
        + ("the ratio lies within that." if holds else "the ratio lies outside, so both are not used equally well."),
    )
