"""Arithmetic between the numbers that a document prints.

The argument. A printed number stands for all values that round to it ("~" adds 5 % on either side, see `interval`).
Whatever a document derives from its own numbers (a gain, a speed-up, an average, shares that make up 100 %, GPU-hours,
the increments of an ablation) must come out of some choice of such values, under some reading of the sentence. If
none does, the document contradicts itself, whichever of its numbers is the wrong one. Likewise a superlative must not
be beaten in the table that it speaks of (a tie within rounding is not a defeat), and a sentence that says how many
things it lists must list so many.

Severity: what is off by less than `SLIP` of its size, a sentence that miscounts its list, and a word that has no size
of its own ("small", "comparable") are minor; else major.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alice_repro.audit.expressions import damage, printed, quantities, reading, sides
from alice_repro.audit.findings import (
    INCONSISTENT,
    Finding,
    Reading,
    Record,
    graded,
    judge,
)
from alice_repro.audit.interval import Interval, distance, may_hold, printed_interval
from alice_repro.papers import Comparison, Count, Name, Paper, Quantity, Ranking, Relation, RowRule, Table, names
from alice_repro.papers.table import slug

SLIP = 0.02


def check(record: Record) -> Iterator[Finding]:
    """All arithmetic that the documents state or that follows from what their quantities are."""
    for document in record.documents:
        for table in document.tables:
            yield from check_rows(document, table)
        for relation in document.relations:
            if not is_agreement(relation):
                yield relation_finding(record, document, relation)
        yield from (_count(document, count) for count in document.counts)
        yield from (_ranking(document, ranking) for ranking in document.rankings)


def check_rows(document: Paper, table: Table) -> Iterator[Finding]:
    """Each rule of a table (delta, ratio, sum, average) in each row that has all of its cells."""
    for i, rule in enumerate(table.rules):
        for row in rule.rows:
            found = {name: table.cell(row, name.id) for name in names(rule.rule)}
            if all(cell.is_number for cell in found.values()):
                key = "-".join(filter(None, (_subject(rule), str(i) if i else "")))
                yield _row(document, table, rule, row, key, found)


def _row(document: Paper, table: Table, rule: RowRule, row: int, key: str, found: dict[Name, Quantity]) -> Finding:
    tried = (reading(rule.rule, found),)
    label = table.labels[row] or f"row {row}"
    why = {"definition": "The columns' names say it", "stated": "The text says it"}[rule.basis]
    return _finding(
        document,
        f"arithmetic.row.{table.id}.{slug(label)}"
        + ("" if table.labels.count(table.labels[row]) == 1 else f".{row}")
        + f".{key}",
        f"{table.place}, row {label}",
        table.caption,
        found,
        [rule.rule],
        tried,
        why + f": {rule.rule.text}.",
    )


def _subject(rule: RowRule) -> str:
    """What a rule is called after: the column that stands alone on its left, else "sum"."""
    return rule.rule.left.id if isinstance(rule.rule.left, Name) else "sum"


def is_agreement(relation: Relation) -> bool:
    """Whether a relation computes nothing: two printed numbers are to be equal. That is `agreement`'s to check."""
    return all(
        reading.symbol == "=" and isinstance(reading.left, Name) and isinstance(reading.right, Name)
        for reading in relation.readings
    )


def relation_finding(record: Record, document: Paper, relation: Relation, rule: str = "arithmetic") -> Finding:
    """A relation between printed numbers, of one document or several: one of its readings must hold."""
    found: dict[Name, Quantity] = {}
    for comparison in relation.readings:
        found |= quantities(record, document, comparison)
    tried = tuple(reading(comparison, found) for comparison in relation.readings)
    basis = (
        f"The text says: “{relation.quote.rstrip('.')}”."
        if relation.basis == "stated"
        else f"It must hold: {relation.why}."
    )
    name = f"{rule}.relation.{relation.id}"
    return _finding(
        document, name, relation.place, relation.quote, found, relation.readings, tried, basis, relation.word
    )


def _finding(
    document: Paper,
    name: str,
    place: str,
    quote: str,
    found: dict[Name, Quantity],
    comparisons: Sequence[Comparison],
    tried: Sequence[Reading],
    basis: str,
    word: str = "",
) -> Finding:
    verdict = judge(tried, INCONSISTENT, damage(found))
    misses = [_off(comparison, found) for comparison in comparisons]
    off = min(misses)
    nearest = tried[misses.index(off)]
    by = f", off by {100 * off:.2g} %" if off else ""
    return Finding(
        id=f"{document.id}.{name}",
        paper=document.id,
        place=place,
        quote=quote,
        rule=".".join(name.split(".")[:2]),
        printed=printed(found),
        computed=next((one.computed for one in tried if one.holds), f"asks {nearest.computed}{by}"),
        readings=tuple(tried),
        verdict=verdict,
        severity=graded(verdict, "major" if off >= SLIP and not word else "minor"),
        explanation=f"{basis} {_outcome(tried, found)}{by and f' The nearest is {by[2:]}.'}"
        + (f" No number says how much “{word}” is; the readings do." if word else ""),
    )


def _off(comparison: Comparison, found: dict[Name, Quantity]) -> float:
    """How far the sides are from meeting, as a share of the larger."""
    try:
        return distance(*sides(comparison, found))
    except ZeroDivisionError:
        return 0.0


def _outcome(tried: Sequence[Reading], found: dict[Name, Quantity]) -> str:
    widths = "With every printed number anywhere within its rounding"
    if any(quantity.approximate for quantity in found.values()):
        widths += ' ("~" widened by 5 %)'
    for one in tried:
        if one.holds:
            return f"{widths}, {one.name} comes to {one.computed}, which can hold."
    asked = "; ".join(f"{one.name} asks {one.computed}" for one in tried)
    none = f"none of {len(tried)} readings holds" if len(tried) > 1 else "it does not hold"
    text = f"{widths}, {none}: {asked}."
    return f"{text} But the text is damaged here: {damage(found)}." if damage(found) else text


def _count(document: Paper, count: Count) -> Finding:
    quantity = document.quantity(count.stated).quantity
    listed = len(count.items)
    holds = may_hold(printed_interval(quantity), "=", float(listed))
    tried = (Reading("the sentence lists as many as it says", f"{listed} listed: {'; '.join(count.items)}", holds),)
    verdict = judge(tried, INCONSISTENT, quantity.damaged)
    return Finding(
        id=f"{document.id}.arithmetic.count.{count.id}",
        paper=document.id,
        place=count.place,
        quote=count.quote,
        rule="arithmetic.count",
        printed=quantity.printed,
        computed=f"{listed} listed" + ("" if holds else f", not “{quantity.printed}”"),
        readings=tried,
        verdict=verdict,
        severity=graded(verdict, "minor"),
        explanation=f"The text says “{quantity.printed}” and lists {listed}: {'; '.join(count.items)}."
        + ("" if holds else " Even if each item counts as one thing, the numbers differ."),
    )


def _ranking(document: Paper, ranking: Ranking) -> Finding:
    table = document.table(ranking.table)
    pairs = [
        (better, worse, column)
        for column in ranking.columns
        for better in ranking.better
        for worse in ranking.worse
        if table.cell(better, column).is_number and table.cell(worse, column).is_number
    ]
    lost = [pair for pair in pairs if not _beats(table, *pair)]
    damaged = "; ".join({why for pair in lost if (why := _pair_damage(table, *pair))})
    failing = {column for _, _, column in lost}
    if ranking.demand == "each":
        holds, demand = not lost, "each of them"
    else:
        holds, demand = len(failing) * 2 < len(ranking.columns), "more than half of them"
    columns = {column.key: column.label for column in table.columns}
    listed = "; ".join(_versus(table, columns[pair[2]], *pair) for pair in lost)
    rows = ", ".join(table.labels[i] or f"row {i}" for i in ranking.better)
    computed = listed or "no row that it is compared with is better on any of these columns"
    name = f"{rows} above the others on {demand}: {', '.join(columns[key] for key in ranking.columns)}"
    tried = (Reading(name, computed, holds),)
    verdict = judge(tried, INCONSISTENT, damaged)
    off = max((_defeat(table, *pair) for pair in lost), default=0.0)
    return Finding(
        id=f"{document.id}.arithmetic.ranking.{ranking.id}",
        paper=document.id,
        place=ranking.place,
        quote=ranking.quote,
        rule="arithmetic.ranking",
        printed="; ".join(_row_cells(table, i, ranking.columns) for i in (*ranking.better, *ranking.worse)),
        computed=computed,
        readings=tried,
        verdict=verdict,
        severity=graded(verdict, "major" if off >= SLIP else "minor"),
        explanation=_ranking_text(table, demand, rows, listed, holds, damaged),
    )


def _ranking_text(table: Table, demand: str, rows: str, listed: str, holds: bool, damaged: str) -> str:
    text = (
        f"The sentence puts {rows} of {table.place} above the others on {demand}; a tie within rounding counts as won."
    )
    if not listed:
        return f"{text} The table agrees."
    text += f" The table has the contrary: {listed}."
    if damaged:
        text += f" The text is damaged here: {damaged}."
    return f"{text} {'So many columns it may lose.' if holds else 'The sentence is not true of the table.'}"


def _interval(table: Table, row: int, column: str) -> Interval:
    return printed_interval(table.cell(row, column))


def _order(table: Table, column: str) -> str:
    descending = next(c for c in table.columns if c.key == column).higher_is_better
    return "<=" if descending is False else ">="


def _beats(table: Table, better: int, worse: int, column: str) -> bool:
    return may_hold(_interval(table, better, column), _order(table, column), _interval(table, worse, column))


def _defeat(table: Table, better: int, worse: int, column: str) -> float:
    return distance(_interval(table, better, column), _interval(table, worse, column))


def _pair_damage(table: Table, better: int, worse: int, column: str) -> str:
    return table.cell(better, column).damaged or table.cell(worse, column).damaged


def _versus(table: Table, label: str, better: int, worse: int, column: str) -> str:
    first, second = (table.cell(row, column).printed for row in (better, worse))
    return f"{label} {first} against {second} of {table.labels[worse] or f'row {worse}'}"


def _row_cells(table: Table, row: int, columns: Sequence[str]) -> str:
    return f"{table.labels[row] or f'row {row}'}: {', '.join(table.cell(row, key).printed for key in columns)}"
