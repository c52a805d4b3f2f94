"""Differences that an argument rests on, against the noise that the number of clips leaves.

The argument. A score that is a mean over clips, each between `low` and `high`, has a variance of at most
(high - mean)(mean - low) / n; for a share of clips that is the variance itself. A total with weights w that add to 1
has at most max(w / n) * total * (1 - total). Clips are taken as independent and digits as printed, both of which favour
the paper. If a printed difference is more than 1.96 of the standard errors so bounded, it is told from noise, whatever
the spread was. If it is less, it may or may not be: the document prints no spread, so the argument needs a run (or the
scores of each clip). That is a limit of what is printed, and no fault of the numbers. Training runs are not counted:
that another seed would give the same order is not shown by any of this.

Differences are looked for where a document argues with them: its rankings, and its relations that compare two scores of
one kind or take one from the other. Differences in the wrong direction are left to `arithmetic`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

from alice_repro.audit.benchmark_scores import fraction_scale, read_label
from alice_repro.audit.findings import CHECK_PDF, CONSISTENT, NEEDS_A_RUN, Finding, Reading, Record, graded
from alice_repro.audit.statistics_samples import dimension_of, sample_of, sizes
from alice_repro.evaluation.vbench import Suite, suite
from alice_repro.papers import Column, Comparison, Name, Paper, Quantity, Ranking, Relation, Table, load_paper, names
from alice_repro.papers.expressions import Node, Operation

_Z = 1.96
_SCORES = ("dimension", "category", "total", "average", "share", "score", "delta", "baseline", "new")
_Place = tuple[Paper, Table, int, Column]


@dataclass(frozen=True)
class Score:
    """A printed score in its unit; variance: its largest, None where nothing bounds it; n: of clips, in words."""

    name: str
    cell: Quantity
    variance: float | None
    n: str


@dataclass(frozen=True)
class Gap:
    """A difference of two scores, in their printed unit, and its largest standard error."""

    one: Score
    other: Score

    @property
    def size(self) -> float:
        return self.one.cell.value - self.other.cell.value

    @property
    def noise(self) -> float | None:
        if self.one.variance is None or self.other.variance is None:
            return None
        return _Z * sqrt(self.one.variance + self.other.variance)

    @property
    def told(self) -> bool:
        return self.noise is not None and abs(self.size) >= self.noise

    @property
    def text(self) -> str:
        pair = f"{self.one.name} {self.one.cell.printed} against {self.other.name} {self.other.cell.printed}"
        bound = "no bound on the noise" if self.noise is None else f"noise up to {self.noise:.2g} ({self.one.n})"
        return f"{pair}: {self.size:+.4g}, {bound}"


def check_document(record: Record, document: Paper) -> Iterator[Finding]:
    """Each ranking, and each relation that argues with a difference of two scores."""
    for ranking in document.rankings:
        yield from _ranking(record, document, ranking)
    for relation in document.relations:
        yield from _relation(record, document, relation)


def _ranking(record: Record, document: Paper, ranking: Ranking) -> Iterator[Finding]:
    """The closest pair of each column; of "most" columns, those on which the first lead."""
    table, closest = document.table(ranking.table), []
    for key in ranking.columns:
        column = table.columns[table.keys.index(key)]
        if column.kind != "number" or column.role not in _SCORES:
            continue
        rows = [row for row in (*ranking.better, *ranking.worse) if table.cell(row, key).value is not None]
        scores = {row: _score(record, (document, table, row, column)) for row in rows}
        gaps = [Gap(scores[b], scores[w]) for b in ranking.better for w in ranking.worse if b in scores and w in scores]
        if gaps and all(gap.size > 0 for gap in gaps):
            closest.append((column.label, min(gaps, key=_ease)))
    if closest:
        needed = len(closest) if ranking.demand == "each" else len(ranking.columns) // 2 + 1
        yield _finding(document, ranking.id, ranking.place, ranking.quote, closest, needed)


def _relation(record: Record, document: Paper, relation: Relation) -> Iterator[Finding]:
    gaps = []
    for comparison in relation.readings:
        for left, right in _differences(comparison):
            one, other = (_place(record, document, name) for name in (left, right))
            if not one and not other:
                continue
            pair = [
                _named(record, document, name, place, near)
                for name, place, near in ((left, one, other), (right, other, one))
            ]
            if all(score is not None for score in pair) and pair[0].cell.value != pair[1].cell.value:
                gaps.append(("", Gap(*pair)))
    if gaps:
        yield _finding(document, relation.id, relation.place, relation.quote or relation.why, gaps[:1], 1)


def _finding(
    document: Paper, name: str, place: str, quote: str, closest: Sequence[tuple[str, Gap]], needed: int
) -> Finding:
    told = [gap for _, gap in closest if gap.told]
    damaged = any(score.cell.damaged for _, gap in closest for score in (gap.one, gap.other))
    verdict = CONSISTENT if len(told) >= needed else CHECK_PDF if damaged else NEEDS_A_RUN
    readings = tuple(
        Reading(f"{label}, closest pair" if label else "printed pair", g.text, g.told) for label, g in closest
    )
    hardest = min((gap for _, gap in closest), key=_ease).text
    if verdict == CONSISTENT:
        ending = "That is more than 1.96 standard errors at the largest possible spread: told from noise over clips."
        text = f"{hardest}. {ending}" if needed == len(closest) else f"Of {len(closest)} columns {len(told)} are told."
    else:
        text = (
            f"{hardest}. {len(told)} of {len(closest)} told from noise over clips, {needed} would be needed. The "
            "document prints no spread: that the difference is real is neither shown nor refuted by these numbers."
        )
    return Finding(
        f"{document.id}.statistics.noise.{name}",
        document.id,
        place,
        quote,
        "statistics.noise",
        "; ".join(f"{g.one.cell.printed} - {g.other.cell.printed}" for _, g in closest),
        "; ".join(gap.text for _, gap in closest),
        readings,
        verdict,
        graded(verdict, "minor"),
        text,
    )


def _score(record: Record, place: _Place, cell: Quantity | None = None) -> Score:
    """A cell, or another number of the same kind, with the largest variance that its mean can have."""
    document, table, row, column = place
    cell = cell or table.cell(row, column.key)
    variance, n = _variance(record, place, cell)
    return Score(table.labels[row] or f"row {row + 1}", cell, variance, n)


def _variance(record: Record, place: _Place, cell: Quantity) -> tuple[float | None, str]:
    """Largest variance of a printed mean, in its printed unit squared, and the number of clips in words."""
    document, table, row, column = place
    if column.role == "delta":
        return _delta(record, place)
    if column.role == "average":
        return _average(record, place)
    scale = 100.0 if column.unit == "%" else fraction_scale([c for c in table.column(column.key) if c.is_number])
    dimension = dimension_of(table, row, column)
    if sample := sample_of(table, row, column.key):
        n = max(sizes(record, document, sample), default=0)
        low, high = (dimension.low, dimension.high) if dimension else (0.0, 1.0)
        return (_bound(cell, scale, n, low, high), f"{n:,} {sample.unit}") if n else (None, "")
    if dimension and dimension.prompts:
        n = dimension.prompts * dimension.videos
        return _bound(cell, scale, n, dimension.low, dimension.high), f"{n:,} videos of the standard suite"
    benchmark = column.benchmark or table.benchmark
    if benchmark and column.role in ("total", "category"):
        chosen = suite(benchmark)
        largest = _largest_weight(chosen, column)
        if largest:
            p = min(max(cell.value / scale, 0.0), 1.0)
            return largest * p * (1 - p) * scale**2, "videos of the standard suite"
    return None, ""


def _bound(cell: Quantity, scale: float, n: int, low: float, high: float) -> float:
    p = min(max(cell.value / scale, low), high)
    return (high - p) * (p - low) / n * scale**2


def _delta(record: Record, place: _Place) -> tuple[float | None, str]:
    """Of a difference of two columns: the sum of theirs."""
    document, table, row, _ = place
    parts = [
        _variance(record, (document, table, row, column), table.cell(row, column.key))
        for column in table.columns
        if column.role in ("baseline", "new") and table.cell(row, column.key).is_number
    ]
    known = [variance for variance, _ in parts if variance is not None]
    return (sum(known), parts[0][1]) if len(known) == 2 else (None, "")


def _average(record: Record, place: _Place) -> tuple[float | None, str]:
    """Of a plain mean of columns, as a rule of the table has it, the columns being measured independently."""
    document, table, row, column = place
    rule = next((r.rule for r in table.rules if isinstance(r.rule.left, Name) and r.rule.left.id == column.key), None)
    keys = {name.id for name in names(rule)} - {column.key} if rule else set()
    members = [c for c in table.columns if c.key in keys]
    parts = [_variance(record, (document, table, row, c), table.cell(row, c.key)) for c in members]
    if not parts or any(variance is None for variance, _ in parts):
        return None, ""
    return sum(variance for variance, _ in parts) / len(parts) ** 2, parts[0][1]


def _largest_weight(chosen: Suite, column: Column) -> float | None:
    """max(w / n) over the dimensions of a total or a category; None where the suite's sizes are not known."""
    group = "" if column.role == "total" else read_label(column.label, chosen).group
    members = [d for d in chosen.dimensions.values() if group in ("", d.group)]
    if not all(d.prompts for d in members):
        return None
    inside = {g: sum(d.weight for d in members if d.group == g) for g in chosen.group_weights}
    outer = {g: 1.0 if group else w / sum(chosen.group_weights.values()) for g, w in chosen.group_weights.items()}
    return max(outer[d.group] * d.weight / inside[d.group] / (d.prompts * d.videos) for d in members)


def _named(record: Record, document: Paper, name: Name, place: _Place | None, near: _Place | None) -> Score | None:
    """The score that a name stands for; a number of the text is one of the kind that it is compared with."""
    cell = record.quantity(document, name)
    kind = place or near
    if cell.value is None or kind is None or kind[3].role not in _SCORES:
        return None
    score = _score(record, kind, cell)
    if place is None:
        score = Score(name.id, cell, score.variance, score.n)
    return score if score.variance is not None else None


def _place(record: Record, document: Paper, name: Name) -> _Place | None:
    """The cell that a name is, or that states the same quantity as a number of the text."""
    home = document
    if name.document:
        home = next((other for other in record.documents if other.id == name.document), None)
        home = home or load_paper(name.document)
    if name.row:
        table = home.table(name.id)
        return home, table, table.row_index(name.row), table.columns[table.keys.index(name.column)]
    about = next((q.about for q in home.quantities if q.id == name.id), "")
    for other in record.documents:
        for table in other.tables:
            for (row, key), states in table.about.items():
                if states == about:
                    return other, table, row, table.columns[table.keys.index(key)]
    return None


def _differences(comparison: Comparison) -> Iterator[tuple[Name, Name]]:
    """Pairs of names that are compared as such, or subtracted."""
    if comparison.symbol in ("<", ">") and isinstance(comparison.left, Name) and isinstance(comparison.right, Name):
        yield comparison.left, comparison.right
    for side in (comparison.left, comparison.right):
        yield from _subtractions(side)


def _subtractions(node: Node) -> Iterator[tuple[Name, Name]]:
    if isinstance(node, Operation):
        if node.symbol == "-" and isinstance(node.left, Name) and isinstance(node.right, Name):
            yield node.left, node.right
        yield from _subtractions(node.left)
        yield from _subtractions(node.right)


def _ease(gap: Gap) -> float:
    """Small where a difference is hard to tell: its size over the noise; one half where nothing bounds that."""
    return 0.5 if gap.noise is None else abs(gap.size) / max(gap.noise, 1e-12)
