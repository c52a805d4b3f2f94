"""Sizes: parameters from a stated architecture, and weights against the memory of a GPU.

The argument on parameters. The sizes of a transformer's blocks fix the number of its parameters (see `flops`). The
printed number must round to it, or be a nominal size good to `NOMINAL` (Wan2.1-T2V-1.3B has 1.42 billion). A gated MLP,
or a projection of the noise level in each block, would add some: admitted, unless the document says that its blocks
are those of a model that has neither. Where the sizes of that model are others, its blocks are not the same as they
stand, whatever the document says; then both are admitted, but need more than the document prints.

The argument on memory. A run that is timed on a GPU holds the weights of the active network there: the printed number
of parameters, 2 bytes each where no lower precision is stated. The vendor's GB are read as 2^30 bytes; activations, the
text encoder and the decoder count as nothing. Lower precision and weights that wait outside of the GPU are admitted,
but need a run to show, where the document does not print them. A document that marks one GPU of the same table as
needing a lower precision excludes both for the GPUs that it does not mark: with either, no mark would be needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from alice_repro.audit.findings import CONSISTENT, INCONSISTENT, NEEDS_A_RUN, Finding, Reading, Record, judge
from alice_repro.audit.interval import Interval, distance, may_hold
from alice_repro.audit.stated import limit_finding, model_of, stated
from alice_repro.models.flops import parameters, sizes_known
from alice_repro.papers import Model, Name, Paper, Timing, gpus

NOMINAL = 0.1
BYTES = {"bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0}
DEFAULT, LOWER = "bf16", "fp8"
BILLION, GB, GIB = 1e9, 1e9, 2.0**30


def check_sizes(record: Record) -> Iterator[Finding]:
    """Every model with stated sizes and a printed number of parameters; every timed run on a named GPU."""
    for document in record.documents:
        for model in document.models:
            if sizes_known(model) and model.parameters is not None:
                yield _parameters(record, document, model)
        seen = set()
        for timing in document.timings:
            model = model_of(document, timing.model)
            key = (timing.model, timing.gpus, timing.precision)
            if timing.gpus and model.parameters is not None and key not in seen:
                seen.add(key)
                yield _memory(record, document, timing, model)


def _parameters(record: Record, document: Paper, model: Model) -> Finding:
    facts = stated(record, document, model.parameters)
    printed = facts.interval(model.parameters)
    counted = parameters(model)
    nominal = Interval(counted * (1 - NOMINAL), counted * (1 + NOMINAL))
    kin = next((other for other in document.models if other.id == model.like), None)
    readings = [
        Reading("two-layer MLP, one shared modulation", _billions(counted), may_hold(float(counted), "=", printed)),
        Reading(
            f"the same as a nominal size, good to {NOMINAL:.0%}", _billions(counted), may_hold(nominal, "=", printed)
        ),
    ]
    for name, options in (
        ("gated MLP", {"gated": True}),
        ("a modulation of its own in each block", {"own_modulation": True}),
    ):
        other = parameters(model, **options)
        near = Interval(other * (1 - NOMINAL), other * (1 + NOMINAL))
        differs = f"; not that of {kin.name}" if kin else ""
        admitted = kin is None or _other_sizes(model, kin)
        readings.append(Reading(name + differs, _billions(other), may_hold(near, "=", printed), admitted))
    verdict = judge(readings, INCONSISTENT, facts.damaged)
    if verdict == CONSISTENT and kin and not any(reading.holds for reading in readings[:2]):
        verdict = NEEDS_A_RUN
    text = (
        f"{model.layers} blocks of width {model.hidden} and inner width {model.mlp} have {_billions(counted)} "
        f"parameters with embeddings, biases and norms; printed is “{facts.shown(model.parameters)}”."
    )
    if kin and sizes_known(kin):
        text += f" The same count gives {_billions(parameters(kin))} for {kin.name}, whose blocks it is said to share."
        if _other_sizes(model, kin):
            text += " But its sizes are others, so a gated MLP or a modulation in each block is not ruled out."
    return limit_finding(
        facts,
        "parameters",
        model.id,
        model.place,
        facts.quote(model.parameters),
        _billions(counted),
        readings,
        verdict,
        "major" if distance(printed, float(counted)) >= NOMINAL else "minor",
        text,
        printed=f"{model.layers} blocks, width {model.hidden}, MLP {model.mlp}; {facts.printed}",
    )


def _other_sizes(model: Model, kin: Model) -> bool:
    """Whether both state the sizes of their blocks, and not the same."""
    return sizes_known(kin) and (model.hidden, model.mlp) != (kin.hidden, kin.mlp)


def _billions(count: float) -> str:
    return f"{count / BILLION:.4g}B"


def _memory(record: Record, document: Paper, timing: Timing, model: Model) -> Finding:
    facts = stated(record, document, model.parameters, timing.seconds)
    count = facts.interval(model.parameters).low
    memory = _memory_of(timing)
    readings = [_weights("all weights on the GPU", count, timing.precision or DEFAULT, memory)]
    # The document marks where a lower precision is needed; so nothing else made room where it has no mark.
    marked = [t for t in document.timings if t.place == timing.place and t.precision not in ("", DEFAULT)]
    free = not marked or timing in marked
    why = "" if free else f"; only {gpus()[marked[0].gpus[0]].name} is marked as needing {marked[0].precision}"
    if not timing.precision:
        readings.append(_weights(f"at a lower precision{why}", count, LOWER, memory, free))
    readings.append(Reading(f"weights wait outside of the GPU{why}", "any number of parameters", True, free))
    if sizes_known(model) and parameters(model) < count:
        name = "as many parameters as the stated sizes have; printed are more"
        readings.append(_weights(name, parameters(model), timing.precision or DEFAULT, memory, admissible=False))
    verdict = judge(readings, INCONSISTENT, facts.damaged, plain_first=True)
    fits = "fit into" if readings[0].holds else "do not fit into"
    text = (
        f"{facts.shown(model.parameters)} of {model.name} at {timing.precision or DEFAULT} take at least "
        f"{readings[0].computed} and {fits} the {memory:g} GB of the GPU, with nothing for activations."
    )
    if not readings[0].holds:
        text += (
            " Lower precision or weights outside of the GPU could make room, which the document does not state."
            if free
            else f" The same table marks another GPU as needing {marked[0].precision}, so this one needs nothing."
        )
    return limit_finding(
        facts,
        "memory",
        timing.id,
        timing.place,
        facts.quote(timing.seconds),
        f"weights of {readings[0].computed} for {memory:g} GB",
        readings,
        verdict,
        "minor",
        text,
        printed=f"{facts.printed}; {gpus()[timing.gpus[0]].name}",
    )


def _memory_of(timing: Timing) -> float:
    """GB that the row's label prints; else the most that the admitted GPUs have."""
    label = timing.seconds.row if isinstance(timing.seconds, Name) else ""
    printed = re.search(r"(\d+)\s?GB", label)
    return float(printed[1]) if printed else max(gpus()[name].memory for name in timing.gpus)


def _weights(name: str, count: float, precision: str, memory: float, admissible: bool = True) -> Reading:
    size = count * BYTES.get(precision, BYTES[DEFAULT])
    return Reading(f"{name}, {precision}", f"{size / GB:.3g} GB", size <= memory * GIB, admissible)
