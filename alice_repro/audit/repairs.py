"""Simple repairs: would two cells swapped, or one digit mistyped, explain what is wrong with a table?

The argument. Where the cells of a table contradict its own rules (sums, averages, a benchmark's totals), a slip of the
typist is the mildest explanation. It can be tried: swap any two cells of one row or of one column, or change one digit
of one cell, and see whether every rule of the whole table then holds. One swap that does so, where hundreds are
possible, says where the slip probably is; several single changes that would each do say only that a slip is possible.
A repair is a suggestion. It excuses nothing and accuses nobody: the contradiction stands in the table's own findings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations

from alice_repro.audit import arithmetic, benchmark
from alice_repro.audit.findings import IMPOSSIBLE, INCONSISTENT, Finding, Reading, Record
from alice_repro.papers import Paper, Table

_SHOWN = 6
Cell = tuple[int, int]
Slice = tuple[str, int]


@dataclass(frozen=True)
class Repair:
    """Cells (row, column) with what they would have to say."""

    cells: tuple[tuple[Cell, str], ...]
    kind: str


def check(record: Record) -> Iterator[Finding]:
    """An entry for each table that contradicts itself and that one simple repair makes consistent."""
    for document in record.documents:
        for table in document.tables:
            repairs = list(find_repairs(document, table))
            if repairs:
                yield _finding(document, table, repairs)


def find_repairs(document: Paper, table: Table) -> Iterator[Repair]:
    """All swaps, else all digit slips, after which no rule of the table fails; none for a table that is sound."""

    @cache
    def fails(rows: tuple[tuple[str, ...], ...], part: Slice) -> bool:
        return _fails(document, _part(replace(table, rows=rows), part))

    broken = [part for part in _parts(table) if fails(table.rows, part)]
    if not broken:
        return
    for candidates in (_swaps(table), _slips(table)):
        found = False
        for repair in candidates:
            touched = _touched(table, repair)
            if all(part in touched for part in broken):
                rows = _apply(table, repair)
                if not any(fails(rows, part) for part in touched):
                    found = True
                    yield repair
        if found:
            return


def _parts(table: Table) -> list[Slice]:
    """The parts of a table that rules speak of: each row, and each column that a total row totals."""
    columns = [] if table.total_row is None else [("column", j) for j in _number_columns(table)]
    return [*(("row", i) for i in range(len(table.rows))), *columns]


def _touched(table: Table, repair: Repair) -> list[Slice]:
    parts = [part for (i, j), _ in repair.cells for part in (("row", i), ("column", j))]
    return [part for part in dict.fromkeys(parts) if part[0] == "row" or table.total_row is not None]


def _part(table: Table, part: Slice) -> Table:
    """A table with one row, or with the labels and one column, and the rules that still apply."""
    kind, index = part
    plain = replace(table, samples=(), about={}, arms={})
    if kind == "row":
        rules = tuple(replace(rule, rows=(0,)) for rule in table.rules if index in rule.rows)
        damaged = tuple(replace(d, row=None if d.row is None else 0) for d in table.damaged if d.row in (None, index))
        return replace(plain, rows=(table.rows[index],), total_row=None, rules=rules, damaged=damaged)
    named = {table.keys.index(key) for key in table.label_columns}
    kept = [j for j, column in enumerate(table.columns) if j == index or j in named or column.kind == "name"]
    rows = tuple(tuple(row[j] for j in kept) for row in table.rows)
    damaged = tuple(d for d in table.damaged if d.column in (None, table.keys[index]))
    return replace(plain, columns=tuple(table.columns[j] for j in kept), rows=rows, rules=(), damaged=damaged)


def _fails(document: Paper, table: Table) -> bool:
    alone = Paper(document.id, document.title, tables=(table,))
    entries = [*arithmetic.check_rows(alone, table), *benchmark.check(Record((alone,)))]
    return any(entry.verdict in (INCONSISTENT, IMPOSSIBLE) for entry in entries)


def _number_columns(table: Table) -> list[int]:
    return [j for j, column in enumerate(table.columns) if column.kind == "number"]


def _swaps(table: Table) -> Iterator[Repair]:
    """Two different cells of one column, or of one row, exchanged."""
    cells = [(i, j) for i in range(len(table.rows)) for j in _number_columns(table)]
    for (i, j), (k, m) in combinations(cells, 2):
        first, second = table.rows[i][j], table.rows[k][m]
        if (i == k or j == m) and first != second:
            yield Repair((((i, j), second), ((k, m), first)), "swap")


def _slips(table: Table) -> Iterator[Repair]:
    """One digit of one cell replaced by another."""
    for i in range(len(table.rows)):
        for j in _number_columns(table):
            printed = table.rows[i][j]
            for at, digit in enumerate(printed):
                for other in "0123456789" if digit.isdigit() else "":
                    if other != digit:
                        yield Repair((((i, j), printed[:at] + other + printed[at + 1 :]),), "digit")


def _apply(table: Table, repair: Repair) -> tuple[tuple[str, ...], ...]:
    rows = [list(row) for row in table.rows]
    for (i, j), text in repair.cells:
        rows[i][j] = text
    return tuple(tuple(row) for row in rows)


def _finding(document: Paper, table: Table, repairs: Sequence[Repair]) -> Finding:
    told = [_told(table, repair) for repair in repairs]
    single = len(repairs) == 1
    more = f"; and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    what = {"swap": "exchange of two cells", "digit": "change of one digit"}[repairs[0].kind]
    follows = (
        "No other exchange does, so this is where the slip probably is"
        if single and repairs[0].kind == "swap"
        else "A slip of the typist is possible; which one, only the authors can tell"
    )
    return Finding(
        id=f"{document.id}.repairs.{table.id}",
        paper=document.id,
        place=table.place,
        quote=table.caption,
        rule=f"repairs.{repairs[0].kind}",
        printed="; ".join(dict.fromkeys(_cell(table, cell) for one in repairs[:_SHOWN] for cell, _ in one.cells)),
        computed="; or ".join(told[:_SHOWN]) + more,
        readings=(
            Reading("as printed", "rules of the table fail", False),
            *(Reading(text, "every rule of the table holds", True, admissible=False) for text in told[:_SHOWN]),
        ),
        verdict=INCONSISTENT,
        severity="minor",
        explanation=f"The table contradicts itself as printed. {'One' if single else f'Any of {len(told)} times one'} "
        f"{what} makes all of its rules hold: {'; or '.join(told[:_SHOWN])}{more}. {follows}.",
    )


def _told(table: Table, repair: Repair) -> str:
    if repair.kind == "swap":
        return f"{_cell(table, repair.cells[0][0])} exchanged with {_cell(table, repair.cells[1][0])}"
    (cell, text) = repair.cells[0]
    return f"{_cell(table, cell)} read as {text}"


def _cell(table: Table, cell: Cell) -> str:
    i, j = cell
    column = table.columns[j]
    label = f"{column.group}, {column.label}" if column.group else column.label
    return f"{label} {table.rows[i][j]} of {table.labels[i] or f'row {i}'}"
