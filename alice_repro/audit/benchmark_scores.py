"""What the tables of a document print of each method on each benchmark, in the benchmark's own names.

A table may hold a method a row (columns with the roles dimension, category, total) or a dimension a row (a name column
with the role dimension, methods side by side). Both become `Scores`. Names are matched without regard to capitals and
joining signs, to a plural, or to one or two letters ("Human Actions" is human_action); all else is no dimension of the
benchmark.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from statistics import median

from alice_repro.audit.interval import Interval, printed_interval
from alice_repro.errors import UserError
from alice_repro.evaluation.vbench import Suite, suite, suites
from alice_repro.papers import Column, Quantity, Table
from alice_repro.papers.table import slug

_SPELLING = 0.88  # likeness of two names that differ by a plural or a letter
_METHODS = ("baseline", "new", "score")


@dataclass(frozen=True)
class Scores:
    """What a table prints of one method on one benchmark.

    method: as printed; key: unique within the table and benchmark; dimensions, groups: by the benchmark's names;
    foreign: what is printed among them and is none; delta: key of the column that holds differences, for a dimension
    a row.
    """

    table: Table
    suite: Suite
    method: str
    key: str
    dimensions: dict[str, Quantity] = field(default_factory=dict)
    groups: dict[str, Quantity] = field(default_factory=dict)
    total: Quantity | None = None
    foreign: dict[str, Quantity] = field(default_factory=dict)

    @property
    def missing(self) -> tuple[str, ...]:
        """Dimensions of the benchmark that the table does not print."""
        return tuple(name for name in self.suite.dimensions if name not in self.dimensions)


@dataclass(frozen=True)
class Label:
    """A name that stands for a dimension or a category, and what it is in the benchmark: "" if nothing there."""

    printed: str
    suite: Suite
    dimension: str = ""
    group: str = ""
    elsewhere: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        return bool(self.dimension or self.group)


def read_label(printed: str, chosen: Suite, measures: str = "") -> Label:
    """Look a name up in a suite; `measures` is the suite's own name, where the document says which it is."""
    group = "" if measures else _find_group(chosen, printed)
    dimension = "" if group else find_dimension(chosen, measures or printed)
    known = dimension or group
    elsewhere = () if known else tuple(s.name for s in suites() if s is not chosen and find_dimension(s, printed))
    return Label(printed, chosen, dimension, group, elsewhere)


def find_dimension(chosen: Suite, printed: str) -> str:
    """A suite's name of a dimension, "" if it has none of that name."""
    return _find_dimension(chosen.name, printed)


@cache
def _find_dimension(chosen: str, printed: str) -> str:
    try:
        return suite(chosen).dimension(printed).name
    except UserError:
        return _near(printed, suite(chosen).dimensions)


def labels(table: Table) -> Iterator[Label]:
    """Every name in a table that stands for a benchmark's dimension or category."""
    for column in table.columns:
        benchmark = column.benchmark or table.benchmark
        if column.role not in ("dimension", "category") or not benchmark:
            continue
        if column.kind == "number":
            yield read_label(column.label, suite(benchmark), column.measures)
        elif column.kind == "name":
            j = table.keys.index(column.key)
            for i, row in enumerate(table.rows):
                if i != table.total_row:
                    yield read_label(row[j], suite(benchmark))


def read_scores(table: Table) -> Iterator[Scores]:
    """All that a table prints of each method on each benchmark; none where it names no benchmark."""
    names = [c for c in table.with_role("dimension") if c.kind == "name"]
    yield from _dimension_a_row(table, names[0]) if names else _method_a_row(table)


def fraction_scale(quantities: Sequence[Quantity]) -> float:
    """1 for scores from 0 to 1, 100 for percent: a table has one scale, that of most of its scores."""
    return 100.0 if quantities and median(abs(q.high) for q in quantities) > 1 else 1.0


def as_fraction(quantity: Quantity, scale: float) -> Interval:
    """What a printed score may stand for, from 0 to 1."""
    return printed_interval(quantity) / scale


def cut_off(interval: Interval) -> Interval:
    """The same where digits may also have been cut off instead of rounded: one more half unit upwards."""
    return Interval(interval.low, interval.high + (interval.high - interval.low) / 2)


def _method_a_row(table: Table) -> Iterator[Scores]:
    by_suite: dict[str, list[Column]] = {}
    for column in table.columns:
        benchmark = column.benchmark or table.benchmark
        if benchmark and column.kind == "number" and column.role in ("dimension", "category", "total"):
            by_suite.setdefault(benchmark, []).append(column)
    for benchmark, columns in by_suite.items():
        chosen = suite(benchmark)
        for i, label in enumerate(table.labels):
            scores = Scores(
                table, chosen, label or f"row {i + 1}", _row_key(table, i, several=len(by_suite) > 1, of=chosen)
            )
            for column in columns:
                cell = table.cell(i, column.key)
                if cell.is_number and column.role == "total":
                    scores = _with_total(scores, cell)
                elif cell.is_number:
                    _add(scores, read_label(column.label, chosen, column.measures), cell)
            yield scores


def _dimension_a_row(table: Table, names: Column) -> Iterator[Scores]:
    benchmark = names.benchmark or table.benchmark
    if not benchmark:
        return
    chosen, j = suite(benchmark), table.keys.index(names.key)
    for column in table.columns:
        if column.kind != "number" or column.role not in _METHODS:
            continue
        scores = Scores(table, chosen, column.label, column.key)
        for i, row in enumerate(table.rows):
            cell = table.cell(i, column.key)
            if cell.is_number and i == table.total_row:
                scores = _with_total(scores, cell)
            elif cell.is_number:
                _add(scores, read_label(row[j], chosen), cell)
        yield scores


def _with_total(scores: Scores, cell: Quantity) -> Scores:
    return Scores(**{name: getattr(scores, name) for name in scores.__dataclass_fields__} | {"total": cell})


def _add(scores: Scores, label: Label, cell: Quantity) -> None:
    if label.dimension:
        scores.dimensions[label.dimension] = cell
    elif label.group:
        scores.groups[label.group] = cell
    else:
        scores.foreign[label.printed] = cell


def _row_key(table: Table, row: int, several: bool, of: Suite) -> str:
    label = slug(table.labels[row]) or f"row{row + 1}"
    doubled = [slug(other) for other in table.labels].count(slug(table.labels[row])) > 1
    return ".".join(filter(None, (of.name if several else "", label + (f".{row + 1}" if doubled else ""))))


def _find_group(chosen: Suite, printed: str) -> str:
    name = _joined(printed)
    for ending in ("_score", "_quality", ""):
        short = name.removesuffix(ending)
        if short in chosen.group_weights:
            return short
    return ""


def _near(printed: str, known: dict[str, object]) -> str:
    name = _joined(printed)
    plain = {key: key for key in known} | {key.removesuffix("s"): key for key in known}
    if (single := name.removesuffix("s")) in plain:
        return plain[single]
    near = difflib.get_close_matches(name, known, n=1, cutoff=_SPELLING)
    return near[0] if near else ""


def _joined(printed: str) -> str:
    return "_".join(printed.lower().replace("-", " ").replace("_", " ").split())
