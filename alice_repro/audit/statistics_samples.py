"""The sample sizes behind cells, and which cells are shares of cases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from alice_repro.audit.benchmark_scores import fraction_scale, read_label
from alice_repro.audit.findings import Record
from alice_repro.audit.interval import Interval, printed_interval
from alice_repro.evaluation.vbench import Dimension, suite
from alice_repro.papers import Column, Paper, Quantity, Sample, Table, evaluate, names


@dataclass(frozen=True)
class Share:
    """A printed share of cases and the sizes that the text admits; value: as a fraction, where digits are rounded."""

    table: Table
    row: int
    column: Column
    cell: Quantity
    value: Interval
    sizes: tuple[int, ...]
    sample: Sample

    @property
    def centre(self) -> float:
        return (self.value.low + self.value.high) / 2

    @property
    def place(self) -> str:
        return f"{self.table.place}, {self.table.labels[self.row] or f'row {self.row + 1}'}, {self.column.label}"

    def fits(self, n: int) -> bool:
        """Whether some count out of n prints as this, digits rounded or cut off."""
        return bool(self.counts(n))

    def counts(self, n: int) -> range:
        """All k for which k of n prints as this, digits rounded or cut off."""
        width = self.value.high - self.value.low
        low, high = self.value.low * n, (self.value.low + 1.5 * width) * n
        first, last = _ceil(low), _floor(high)
        if width and last >= first and last == high:  # cut off, the upper end prints as the next digit
            last -= 1
        return range(max(first, 0), min(last, n) + 1)


def sizes(record: Record, document: Paper, sample: Sample) -> tuple[int, ...]:
    """What the readings of a sample's size come to, in whole cases; a reading without a single value is left out."""
    found = []
    for node in sample.sizes:
        values = {name: record.quantity(document, name).value for name in names(node)}
        if all(value is not None for value in values.values()):
            found.append(round(evaluate(node, values.__getitem__)))
    return tuple(dict.fromkeys(n for n in found if n > 0))


def sample_of(table: Table, row: int, column: str) -> Sample | None:
    """The sample behind a cell, None if the record has none."""
    return next((s for s in table.samples if column in s.columns and row in s.rows), None)


def dimension_of(table: Table, row: int, column: Column) -> Dimension | None:
    """The benchmark's dimension that a cell scores, None if it scores none."""
    benchmark = column.benchmark or table.benchmark
    if not benchmark:
        return None
    printed, measures = column.label, column.measures
    if column.role != "dimension":
        heading = next((c for c in table.with_role("dimension") if c.kind == "name"), None)
        if heading is None or column.role not in ("baseline", "new", "score"):
            return None
        benchmark = heading.benchmark or table.benchmark
        printed, measures = table.rows[row][table.keys.index(heading.key)], ""
    chosen = suite(benchmark)
    return chosen.dimensions.get(read_label(printed, chosen, measures).dimension)


def is_share(table: Table, row: int, column: Column) -> bool:
    """Whether a cell is a share of cases: by its role, or as the benchmark scores each video 0 or 1."""
    dimension = dimension_of(table, row, column)
    return column.role == "share" or bool(dimension and dimension.binary)


def shares(record: Record, document: Paper) -> Iterator[Share]:
    """Every printed share of which the record knows the sample."""
    for table in document.tables:
        for sample in table.samples:
            known = sizes(record, document, sample)
            for column in (c for c in table.columns if c.key in sample.columns and known):
                cells = {row: table.cell(row, column.key) for row in sample.rows if is_share(table, row, column)}
                cells = {row: cell for row, cell in cells.items() if cell.is_number}
                scale = 100.0 if column.unit == "%" else fraction_scale(list(cells.values()))
                for row, cell in cells.items():
                    yield Share(table, row, column, cell, printed_interval(cell) / scale, known, sample)


def _ceil(value: float) -> int:
    return -int(-(value - 1e-9) // 1)


def _floor(value: float) -> int:
    return int((value + 1e-9) // 1)
