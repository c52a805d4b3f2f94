"""A plan: the work of an experiment on a machine, as ranges; memory, disk, and what stands in the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from alice_repro.audit.planner import disk, memory
from alice_repro.audit.planner.machines import Machine
from alice_repro.audit.planner.memory import Part, Setup
from alice_repro.audit.planner.network import network_of
from alice_repro.audit.planner.work import FIXED, Work, arms, scoring, starting, training, training_clips, update_calls
from alice_repro.config import Recipe, Scale

HOUR, GB = 3600.0, 1e9


@dataclass(frozen=True)
class Variant:
    """What is trained: a recipe (under the variant's name) on a scale's data."""

    scale: Scale
    recipe: Recipe


@dataclass(frozen=True)
class Experiment:
    """What is to be run.

    Attributes:
        title: in words.
        scale: of everything that no variant changes.
        variants: what is trained.
        teachers: each variant is distilled from each of them.
        runs: training runs of each.
        whole: with the teacher's own arms and the students' snapshots, as a table needs them; else the last student.
        tables: steps of the workflow beside data, training, videos and scores.
    """

    title: str
    scale: Scale
    variants: tuple[Variant, ...]
    teachers: tuple[str, ...] = ("trained",)
    runs: int = 1
    whole: bool = False
    tables: int = 0


@dataclass(frozen=True)
class Line:
    """A piece of work with its hours on the machine, least and most."""

    work: Work
    hours: tuple[float, float]
    wall: tuple[float, float]


@dataclass(frozen=True)
class Training:
    """The memory of one training on the machine's GPUs."""

    recipe: str
    setup: Setup
    parts: tuple[Part, ...]
    fits: bool
    fewest: int | None
    host: tuple[float, float]

    @property
    def bytes(self) -> float:
        return memory.total(list(self.parts))


@dataclass(frozen=True)
class Plan:
    """The result. Hours of GPUs (or cores) count those that work; idle ones show in the wall time alone."""

    title: str
    scale: str
    machine: Machine
    lines: tuple[Line, ...]
    trainings: tuple[Training, ...] = ()
    files: tuple[Part, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def hours(self) -> tuple[float, float]:
        """GPU-hours, least and most."""
        return _sum(line.hours for line in self.lines)

    @property
    def wall(self) -> tuple[float, float]:
        """Hours from beginning to end, least and most."""
        return _sum(line.wall for line in self.lines)

    @property
    def evaluations(self) -> float:
        """Network evaluations times clips."""
        return sum(line.work.evaluations for line in self.lines)

    @property
    def operations(self) -> float:
        """Operations of all networks."""
        return sum(line.work.operations for line in self.lines)

    @property
    def disk(self) -> float:
        """Bytes on disk."""
        return sum(part.bytes for part in self.files)

    @property
    def fits(self) -> bool:
        """Whether every training fits the GPUs' memory."""
        return all(one.fits for one in self.trainings)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "title": self.title,
            "scale": self.scale,
            "machine": self.machine.name,
            "utilisation": {kind: self.machine.described(kind) for kind in ("sampling", "training")},
            "hours": {"unit": self.machine.unit, "least": self.hours[0], "most": self.hours[1]},
            "wall_hours": {"least": self.wall[0], "most": self.wall[1]},
            "network_evaluations": self.evaluations,
            "operations": self.operations,
            "lines": [{**asdict(line.work), "hours": line.hours, "wall_hours": line.wall} for line in self.lines],
            "memory": [
                {**asdict(one), "bytes": one.bytes, "host": {"start": one.host[0], "checkpoint": one.host[1]}}
                for one in self.trainings
            ],
            "fits": self.fits,
            "disk": {"bytes": self.disk, "parts": [asdict(part) for part in self.files]},
            "notes": list(self.notes),
        }


def make_plan(experiment: Experiment, machine: Machine) -> Plan:
    """The plan of an experiment.

    Raises:
        UserError: a scale whose network's sizes are not known.
    """
    network = network_of(experiment.scale)
    trainings = tuple(_memory(variant, machine) for variant in experiment.variants)
    works: list[Work] = []
    data: dict[tuple[str, str], int] = {}
    sampled = 0
    for teacher in experiment.teachers:
        for variant, one in zip(experiment.variants, trainings, strict=True):
            source = (teacher, variant.scale.data.source)
            if source not in data:
                made, data[source] = training_clips(variant.scale, network, teacher)
                works.append(made)
            works += training(variant.scale, variant.recipe, network, teacher, experiment.runs, one.setup.recomputed)
        students = [
            (v.recipe, experiment.runs * (1 + disk.snapshots(v.recipe) * experiment.whole)) for v in experiment.variants
        ]
        works += arms(experiment.scale, network, teacher, students, experiment.whole)
        sampled += sum(count for _, count in students) + 2 * experiment.whole
    works.append(scoring(experiment.scale, sampled))
    runs = len(experiment.teachers) * experiment.runs
    works.append(starting(len(data) + runs * len(experiment.variants) + 2 * sampled + experiment.tables))
    kept = [(variant.recipe, runs) for variant in experiment.variants]
    files = disk.files(experiment.scale, network, sum(data.values()), kept, sampled)
    return Plan(
        experiment.title, experiment.scale.name, machine, lines(works, machine), trainings, tuple(files),
        tuple(_notes(experiment, machine, trainings)),
    )  # fmt: skip


def lines(works: Sequence[Work], machine: Machine) -> tuple[Line, ...]:
    """Each work with its hours; one after another, each on as many GPUs as it can use."""
    found = []
    for work in works:
        if work.kind == FIXED:
            hours = tuple(seconds / HOUR for seconds in work.seconds)
        else:
            slow, fast = machine.speeds(work.kind)
            hours = (work.operations / fast / HOUR, work.operations / slow / HOUR)
        # A CPU's cores work on one batch together.
        share = machine.count if machine.gpu is None and work.kind != FIXED else work.usable(machine.count)
        wall = (hours[0] / share, hours[1] / share)
        busy = hours if machine.gpu is None or work.kind != FIXED else (0.0, 0.0)  # the host's cores do it
        found.append(Line(work, busy, wall))
    return tuple(found)


def _memory(variant: Variant, machine: Machine) -> Training:
    network = network_of(variant.scale)
    if machine.gpu is None:  # one process
        setup, limit = Setup(1), float("inf")
    else:
        limit = machine.gpu.memory * GB
        processes = training(variant.scale, variant.recipe, network)[0].usable(machine.count)
        setup = memory.choose_setup(variant.scale, variant.recipe, network, processes, limit)
    parts = memory.training_memory(variant.scale, variant.recipe, network, setup, machine.gpu is not None)
    fewest = memory.smallest_count(variant.scale, variant.recipe, network, limit) if machine.gpu else None
    host = memory.host_memory(network, variant.recipe)
    return Training(variant.recipe.name, setup, tuple(parts), memory.total(parts) <= limit, fewest, host)


def _notes(experiment: Experiment, machine: Machine, trainings: Sequence[Training]) -> list[str]:
    notes: list[str] = []
    for variant, one in zip(experiment.variants, trainings, strict=True):
        notes += [f"{one.recipe}: {note}" for note in _training_notes(variant, one, machine)]
    if machine.gpu and experiment.scale.rung == "lab":
        notes.append("the lab's network does not fill a GPU: its rates there are not known, and less than these")
    if machine.gpu is None and experiment.scale.rung != "lab":
        notes.append("the rates of CPU cores were measured on the lab's small network")
    if machine.gpu:
        notes.append(
            "the code samples and decodes in one process, on the CPU; planned as if every GPU took its share of the "
            f"clips, with the whole pipeline in float32 ({_pipeline(experiment.scale) / GB:,.0f} GB)"
        )
    if "exact" in experiment.teachers:
        notes.append("the exact teacher is no network; its closed form is not counted")
    return notes


def _training_notes(variant: Variant, one: Training, machine: Machine) -> Iterator[str]:
    """What stands in the way of a training on GPUs."""
    if machine.gpu is None:
        return
    used, network = one.setup.processes, network_of(variant.scale)
    if used < machine.count:
        yield (
            f"the batches are shared evenly by at most {used} of the {machine.count} GPUs; "
            f"{machine.count - used} stand idle while it trains"
        )
    if one.setup.recomputed:
        yield "planned with activations recomputed block by block, which the code does not do"
    derived = any(
        calls.derivative
        for stage in variant.recipe.stages
        for calls in update_calls(variant.recipe, stage).student.values()
    )
    if one.setup.fused and derived:
        scores = memory.derivative_scores(network, variant.recipe.precision) / GB
        yield (
            "planned with fused attention in the forward-mode derivative; as plain products, which is what the code "
            f"runs, the scores of one clip alone take {scores:,.0f} GB"
        )
    if not one.fits:
        yield f"does not fit {machine.gpu.memory:g} GB; " + (
            f"it fits {one.fewest} or more of them"
            if one.fewest
            else "no number of them is enough: one clip's activations, or what stays whole, exceed one GPU, and the "
            "code does not split a clip over GPUs"
        )


def _pipeline(scale: Scale) -> float:
    network = network_of(scale)
    return memory.FLOAT * (network.parameters * network.model.experts + network.text_encoder)


def _sum(ranges: Iterable[tuple[float, float]]) -> tuple[float, float]:
    ranges = list(ranges)
    return sum(low for low, _ in ranges), sum(high for _, high in ranges)
