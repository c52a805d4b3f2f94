"""Strict reading of a paper's TOML file. Anything unknown, missing, doubled or unreadable is a UserError.

The format (`alice.toml` is a full example; `?` marks what may be left out):

    [paper]      id, title, arxiv?, date?, authors?
    [[table]]    id, number, place, caption, columns, rows, label_columns?, footnotes?, arms?, damaged?
                 columns: key, label, kind ("name", "number", "text"), unit?, exact?, group?,
                 higher_is_better?
                 rows: lists of strings, the cells as printed; damaged: why, row? (from 0), column?
    [[claim]]    id, quote, place, endpoint, better, worse, testable (true, or why not), experiment?,
                 because?, tables?
    [[figure]]   id, number, place, caption, content, plots? (table, column)
    [[quantity]] id, name, printed, place, quote, exact?, damaged?
    [[equation]] id, number, place, latex?
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from alice_repro.errors import UserError, unknown_name
from alice_repro.files import read_toml
from alice_repro.papers.checks import (
    Malformed,
    check_keys,
    check_known,
    check_slug,
    check_unique,
    strings,
    texts,
)
from alice_repro.papers.quantity import parse_quantity
from alice_repro.papers.record import (
    KINDS,
    Claim,
    Column,
    Damage,
    Equation,
    Figure,
    Paper,
    Plot,
    Statement,
    Table,
)

_FOLDER = Path(__file__).parent
_T = TypeVar("_T")


def available_papers() -> tuple[str, ...]:
    """Ids of the papers whose record is shipped."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


@cache
def load_paper(paper: str) -> Paper:
    """The shipped record of a paper, for example "alice".

    Raises:
        UserError: no such paper.
    """
    if paper not in available_papers():
        raise unknown_name("paper", paper, available_papers())
    return load_paper_file(_FOLDER / f"{paper}.toml")


def load_paper_file(path: str | Path) -> Paper:
    """Read a record from a file of the user's own, by the same rules.

    Raises:
        UserError: naming the file, the key and the reason.
    """
    raw = read_toml(path)
    try:
        return _paper(raw)
    except Malformed as error:
        raise UserError(f"{path}: {error}") from None


def _paper(raw: dict[str, Any]) -> Paper:
    sections = ("table", "claim", "figure", "quantity", "equation")
    check_keys(raw, "top level", {"paper": dict}, dict.fromkeys(sections, list))
    head_keys = {"id": str, "title": str}, {"arxiv": str, "date": str, "authors": list}
    head = check_keys(raw["paper"], "paper", *head_keys)
    check_slug(head["id"], "paper.id")
    paper = Paper(
        **head | {"authors": strings(head.get("authors", []), "paper.authors")},
        tables=_entries(raw, "table", _table),
        claims=_entries(raw, "claim", _claim),
        figures=_entries(raw, "figure", _figure),
        quantities=_entries(raw, "quantity", _statement),
        equations=_entries(raw, "equation", _equation),
    )
    _check_references(paper)
    return paper


def _table(raw: dict[str, Any], where: str) -> Table:
    fields = check_keys(
        raw,
        where,
        {"id": str, "number": int, "place": str, "caption": str, "columns": list, "rows": list},
        {"label_columns": list, "footnotes": dict, "arms": dict, "damaged": list},
    )
    columns = tuple(_column(c, f"{where}.columns[{i}]") for i, c in enumerate(fields["columns"]))
    keys = [column.key for column in columns]
    check_unique(keys, f"{where}.columns", "key")
    rows = tuple(strings(row, f"{where}.rows[{i}]") for i, row in enumerate(fields["rows"]))
    for i, row in enumerate(rows):
        if len(row) != len(columns):
            raise Malformed(
                f"{where}.rows[{i}]", f"{len(row)} cells, but {len(columns)} columns: {list(row)}"
            )
        for column, cell in zip(columns, row, strict=True):
            _check_cell(cell, column, f"{where}.rows[{i}].{column.key}")
    labels = fields.get("label_columns") or [column.key for column in columns if column.kind == "name"]
    if not labels:
        raise Malformed(f"{where}.label_columns", 'missing, and no column has kind = "name"')
    for key in strings(labels, f"{where}.label_columns"):
        check_known(key, keys, f"{where}.label_columns")
    table = Table(
        **fields
        | {
            "columns": columns,
            "rows": rows,
            "label_columns": tuple(labels),
            "footnotes": texts(fields.get("footnotes", {}), f"{where}.footnotes"),
            "arms": texts(fields.get("arms", {}), f"{where}.arms"),
            "damaged": tuple(
                _damage(entry, f"{where}.damaged[{i}]") for i, entry in enumerate(fields.get("damaged", []))
            ),
        }
    )
    _check_inside(table, where)
    return table


def _column(raw: Any, where: str) -> Column:
    fields = check_keys(
        raw,
        where,
        {"key": str, "label": str, "kind": str},
        {"unit": str, "higher_is_better": bool, "exact": bool, "group": str},
    )
    check_slug(fields["key"], f"{where}.key")
    check_known(fields["kind"], KINDS, f"{where}.kind")
    return Column(**fields)


def _damage(raw: Any, where: str) -> Damage:
    fields = check_keys(raw, where, {"why": str}, {"row": int, "column": str})
    if len(fields) == 1:
        raise Malformed(where, "names neither row nor column")
    return Damage(**fields)


def _claim(raw: dict[str, Any], where: str) -> Claim:
    required = {"id": str, "quote": str, "place": str, "endpoint": str, "better": str, "worse": list}
    optional = {"experiment": str, "because": str, "tables": list}
    fields = check_keys(raw, where, required | {"testable": bool | str}, optional)
    testable = fields.pop("testable")
    if testable in (False, ""):
        raise Malformed(f"{where}.testable", "say true, or a string with the reason why not")
    if testable is True and not fields.get("experiment"):
        raise Malformed(f"{where}.experiment", "missing; a testable claim names the command that tests it")
    worse = strings(fields["worse"], f"{where}.worse")
    if not worse:
        raise Malformed(f"{where}.worse", "names no arm")
    tables = strings(fields.get("tables", []), f"{where}.tables")
    fields |= {"worse": worse, "tables": tables, "not_testable": "" if testable is True else testable}
    return Claim(**fields)


def _figure(raw: dict[str, Any], where: str) -> Figure:
    required = {"id": str, "number": int, "place": str, "caption": str, "content": str}
    fields = check_keys(raw, where, required, {"plots": list})
    plots = [
        Plot(**check_keys(plot, f"{where}.plots[{i}]", {"table": str, "column": str}, {}))
        for i, plot in enumerate(fields.get("plots", []))
    ]
    return Figure(**fields | {"plots": tuple(plots)})


def _statement(raw: dict[str, Any], where: str) -> Statement:
    required = {"id": str, "name": str, "printed": str, "place": str, "quote": str}
    fields = check_keys(raw, where, required, {"exact": bool, "damaged": str})
    printed = fields.pop("printed")
    if printed not in fields["quote"]:
        raise Malformed(f"{where}.printed", f"{printed!r} does not occur in the quote")
    quantity = parse_quantity(printed, exact=fields.pop("exact", False))
    if not quantity.is_number:
        raise Malformed(f"{where}.printed", f"{printed!r} is not a number")
    return Statement(**fields | {"quantity": replace(quantity, damaged=fields.pop("damaged", ""))})


def _equation(raw: dict[str, Any], where: str) -> Equation:
    return Equation(**check_keys(raw, where, {"id": str, "number": int, "place": str}, {"latex": str}))


def _entries(raw: dict[str, Any], section: str, read: Callable[[dict[str, Any], str], _T]) -> tuple[_T, ...]:
    """Read each [[section]] entry; an error names it by its id where it has one."""
    entries = []
    for i, entry in enumerate(raw.get(section, [])):
        named = isinstance(entry, dict) and isinstance(entry.get("id"), str)
        where = f"{section}[{i}]" + (f" {entry['id']!r}" if named else "")
        entries.append(read(entry, where))
        check_slug(entry["id"], f"{where}.id")
    for name in ("id", "number"):
        check_unique([e[name] for e in raw.get(section, []) if name in e], section, name)
    return tuple(entries)


def _check_cell(cell: str, column: Column, where: str) -> None:
    if column.kind != "number":
        return
    quantity = parse_quantity(cell)
    if quantity.missing:
        return
    if not quantity.is_number:
        raise Malformed(where, f'{cell!r} is not a number (kind = "text" takes any cell)')
    if quantity.unit and quantity.unit != column.unit:
        raise Malformed(where, f"{cell!r} has the unit {quantity.unit!r}, its column {column.unit!r}")


def _check_inside(table: Table, where: str) -> None:
    """What a table says of itself (arms, footnotes, damaged cells) must exist in it."""
    printed = [*(cell for row in table.rows for cell in row), *(column.label for column in table.columns)]
    for mark in table.footnotes:
        if not any(mark in text for text in printed):
            raise Malformed(f"{where}.footnotes", f"no cell bears the mark {mark!r}")
    for arm, target in table.arms.items():
        if table.labels.count(target) + table.keys.count(target) != 1:
            raise Malformed(f"{where}.arms.{arm}", f"{target!r} names neither one row nor a column")
    for i, damage in enumerate(table.damaged):
        if damage.row is not None and not 0 <= damage.row < len(table.rows):
            raise Malformed(f"{where}.damaged[{i}].row", f"no row {damage.row}")
        if damage.column is not None:
            check_known(damage.column, table.keys, f"{where}.damaged[{i}].column")


def _check_references(paper: Paper) -> None:
    keys = {table.id: table.keys for table in paper.tables}
    for claim in paper.claims:
        for table in claim.tables:
            check_known(table, keys, f"claim {claim.id!r}.tables")
    for figure in paper.figures:
        for plot in figure.plots:
            check_known(plot.table, keys, f"figure {figure.id!r}.plots")
            check_known(plot.column, keys[plot.table], f"figure {figure.id!r}.plots")
