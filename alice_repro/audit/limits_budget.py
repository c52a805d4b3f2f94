"""Budgets and overheads: GPU-hours against the operations that they pay for, and the cost of a derivative.

The argument on budgets. Steps times clips times the least forward passes a clip (a backward pass counts as two) are
operations that no GPU does faster than its dense peak; a printed number of GPU-hours below that is impossible. The
precision is the stated one where the document states it.

The argument on overheads. A forward-mode derivative with its value multiplies every matrix of the clip twice and takes
three times attention's products (see `flops`). A printed cost is read as the whole cost in forward passes, and as what
comes on top of one; the second needs a run, since the words say the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from alice_repro.audit.findings import IMPOSSIBLE, NEEDS_A_RUN, Finding, Reading, Record, judge
from alice_repro.audit.interval import Interval, show
from alice_repro.audit.limits_time import FATAL, Peak, clip_flops, peaks
from alice_repro.audit.stated import Stated, limit_finding, model_of, stated
from alice_repro.models.flops import clip_known, derivative_flops, forward_flops, latent_frames, tokens
from alice_repro.papers import Budget, Model, Overhead, Paper

HOUR = 3600.0


def check_budgets(record: Record) -> Iterator[Finding]:
    """Every budget and every overhead of a model whose sizes are stated."""
    for document in record.documents:
        for budget in document.budgets:
            if clip_known(model_of(document, budget.model)):
                yield _budget(record, document, budget)
        for overhead in document.overheads:
            if clip_known(model_of(document, overhead.model)):
                yield _overhead(record, document, overhead)


def _budget(record: Record, document: Paper, budget: Budget) -> Finding:
    nodes = [node for stage in budget.stages for node in (stage.steps, stage.batch)]
    facts = stated(record, document, budget.hours, *nodes)
    model = model_of(document, budget.model)
    limit = facts.interval(budget.hours).high
    shortest = stage_operations(facts, model, budget, longest=False)
    admitted = peaks(budget.gpus, budget.precision)
    best = admitted[0]
    hours = partial(_reading, limit)
    readings = [hours(str(peak), sum(shortest), peak) for peak in admitted]
    readings.append(
        hours(f"the longest clips, {best}", sum(stage_operations(facts, model, budget, longest=True)), best)
    )
    floor = sum(shortest) / best.flops / HOUR
    anything = peaks(budget.gpus, "")[0]
    if floor > limit and anything != best:
        name = f"{anything}; {budget.precision} is stated"
        readings.append(hours(name, sum(shortest), anything, admissible=False))
    verdict = judge(readings, IMPOSSIBLE if budget.gpus else NEEDS_A_RUN, facts.damaged)
    parts = "; ".join(
        f"{facts.shown(s.steps)} of {facts.shown(s.batch)} at {s.width}x{s.height}, {min(s.frames)} frames, "
        f"{s.evaluations:g} passes: {cost / best.flops / HOUR:,.0f} h"
        for s, cost in zip(budget.stages, shortest, strict=True)
    )
    ends = f"the floor is {floor / limit:.2f} times that" if floor > limit else f"{floor / limit:.0%} of it are needed"
    return limit_finding(
        facts,
        "budget",
        budget.id,
        budget.place,
        facts.quote(budget.hours),
        f"at least {floor:,.0f} GPU-hours",
        readings,
        verdict,
        "fatal" if floor >= FATAL * limit else "major",
        f"At 100 % of the highest dense peak that the text admits ({best}), with the shortest clips and the fewest "
        f"passes of {model.name} for a clip ({parts}), the work takes {floor:,.0f} GPU-hours. The printed "
        f"{facts.shown(budget.hours)} allows {limit:,.0f}: {ends}. Encoders, decoders, optimiser, recomputation and "
        f"ablations count as nothing.",
    )


def stage_operations(facts: Stated, model: Model, budget: Budget, longest: bool) -> list[float]:
    """Least operations of each stage, on the shortest or the longest clips that the text admits."""
    costs = []
    for stage in budget.stages:
        clips: Interval = facts.interval(stage.steps) * facts.interval(stage.batch)
        frames = max(stage.frames) if longest else min(stage.frames)
        costs.append(clips.low * stage.evaluations * clip_flops(model, stage.width, stage.height, frames))
    return costs


def _reading(limit: float, name: str, operations: float, peak: Peak, admissible: bool = True) -> Reading:
    floor = operations / peak.flops / HOUR
    return Reading(name, f"at least {floor:,.0f} GPU-hours", floor <= limit, admissible)


def _overhead(record: Record, document: Paper, overhead: Overhead) -> Finding:
    facts = stated(record, document, overhead.ratio)
    model = model_of(document, overhead.model)
    printed = facts.interval(overhead.ratio)
    counts = [
        tokens(model, overhead.width, overhead.height, latent_frames(model, frames)) for frames in overhead.frames
    ]
    least, n = min((derivative_flops(model, n) / forward_flops(model, n), n) for n in counts)
    readings = [
        Reading("the derivative costs so many forward passes", f"at least {least:.3g}", printed.high >= least),
        Reading("so many forward passes on top of one", f"at least {least - 1:.3g} on top", printed.high + 1 >= least),
    ]
    verdict = judge(readings, IMPOSSIBLE, facts.damaged, plain_first=True)
    ends = (
        "that is enough"
        if readings[0].holds
        else "that is too little as a whole, and enough only if it comes on top of a forward pass"
        if readings[1].holds
        else "that is too little even on top of a forward pass"
    )
    return limit_finding(
        facts,
        "derivative",
        overhead.id,
        overhead.place,
        overhead.quote,
        f"at least {least:.3g} forward passes",
        readings,
        verdict,
        "major",
        f"With its value, a forward-mode derivative of {model.name} over {show(n)} tokens (the smallest clip that the "
        f"document trains on) takes at least {least:.3g} times the operations of a forward pass: twice in every "
        f"matrix, three times in self-attention. Printed is {facts.shown(overhead.ratio)}: {ends}.",
    )
