"""Strict reading of a [[table]] entry; its format stands in `loader`."""

from __future__ import annotations

from typing import Any

from alice_repro.errors import UserError
from alice_repro.papers.checks import (
    Malformed,
    check_keys,
    check_known,
    check_slug,
    check_unique,
    comparison,
    expression,
    strings,
    texts,
)
from alice_repro.papers.expressions import names
from alice_repro.papers.quantity import parse_quantity
from alice_repro.papers.table import KINDS, ROLES, Column, Damage, RowRule, Sample, Table, slug

_REQUIRED = {"id": str, "number": int, "place": str, "caption": str, "columns": list, "rows": list}
_OPTIONAL = {
    "label_columns": list,
    "footnotes": dict,
    "arms": dict,
    "damaged": list,
    "benchmark": str,
    "total_row": str | int,
    "rules": list,
    "samples": list,
    "about": list,
    "unplaced": list,
}
_COLUMN = {"unit": str, "higher_is_better": bool, "exact": bool} | dict.fromkeys(
    ("group", "role", "benchmark", "measures", "about"), str
)


def read_table(raw: dict[str, Any], where: str) -> Table:
    """Check a [[table]] entry.

    Raises:
        Malformed: naming the key and the reason.
    """
    fields = check_keys(raw, where, _REQUIRED, _OPTIONAL)
    columns = tuple(_column(c, f"{where}.columns[{i}]") for i, c in enumerate(fields["columns"]))
    keys = [column.key for column in columns]
    check_unique(keys, f"{where}.columns", "key")
    rows = tuple(strings(row, f"{where}.rows[{i}]") for i, row in enumerate(fields["rows"]))
    for i, row in enumerate(rows):
        if len(row) != len(columns):
            raise Malformed(f"{where}.rows[{i}]", f"{len(row)} cells, but {len(columns)} columns: {list(row)}")
        for column, cell in zip(columns, row, strict=True):
            _check_cell(cell, column, f"{where}.rows[{i}].{column.key}")
    labels = fields.get("label_columns") or [column.key for column in columns if column.kind == "name"]
    if not labels:
        raise Malformed(f"{where}.label_columns", 'missing, and no column has kind = "name"')
    for key in strings(labels, f"{where}.label_columns"):
        check_known(key, keys, f"{where}.label_columns")
    table = Table(
        **{key: fields[key] for key in ("id", "number", "place", "caption")},
        columns=columns,
        rows=rows,
        label_columns=tuple(labels),
        footnotes=texts(fields.get("footnotes", {}), f"{where}.footnotes"),
        arms=texts(fields.get("arms", {}), f"{where}.arms"),
        damaged=tuple(_damage(d, f"{where}.damaged[{i}]") for i, d in enumerate(fields.get("damaged", []))),
        benchmark=fields.get("benchmark", ""),
        unplaced=strings(fields.get("unplaced", []), f"{where}.unplaced"),
    )
    _check_inside(table, where)
    return _with_relations(table, fields, where)


def _with_relations(table: Table, fields: dict[str, Any], where: str) -> Table:
    """The same table with what refers to its rows and columns."""
    total = fields.get("total_row")
    rules = [_rule(table, rule, f"{where}.rules[{i}]") for i, rule in enumerate(fields.get("rules", []))]
    samples = [_sample(table, sample, f"{where}.samples[{i}]") for i, sample in enumerate(fields.get("samples", []))]
    return Table(
        **{name: getattr(table, name) for name in table.__dataclass_fields__}
        | {
            "total_row": None if total is None else _row(table, total, f"{where}.total_row"),
            "rules": tuple(rules),
            "samples": tuple(samples),
            "about": _about(table, fields.get("about", []), f"{where}.about"),
        }
    )


def _column(raw: Any, where: str) -> Column:
    fields = check_keys(raw, where, {"key": str, "label": str, "kind": str}, _COLUMN)
    check_slug(fields["key"], f"{where}.key")
    check_known(fields["kind"], KINDS, f"{where}.kind")
    if "role" in fields:
        check_known(fields["role"], ROLES, f"{where}.role")
    return Column(**fields)


def _damage(raw: Any, where: str) -> Damage:
    fields = check_keys(raw, where, {"why": str}, {"row": int, "column": str})
    if len(fields) == 1:
        raise Malformed(where, "names neither row nor column")
    return Damage(**fields)


def _rule(table: Table, raw: Any, where: str) -> RowRule:
    fields = {"rule": raw} if isinstance(raw, str) else raw
    fields = check_keys(fields, where, {"rule": str}, {"rows": list, "basis": str})
    check_known(fields.get("basis", "definition"), ("definition", "stated"), f"{where}.basis")
    rule = comparison(fields["rule"], where)
    for name in names(rule):
        if name.document or name.row:
            raise Malformed(where, f"{name.id!r}: a table's rules speak of its own columns; use a [[relation]]")
        check_known(name.id, table.keys, where)
    return RowRule(**fields | {"rule": rule, "rows": _rows(table, fields.get("rows", []), f"{where}.rows")})


def _sample(table: Table, raw: Any, where: str) -> Sample:
    required = {"columns": list, "sizes": list, "unit": str, "why": str}
    fields = check_keys(raw, where, required, {"rows": list})
    for column in strings(fields["columns"], f"{where}.columns"):
        check_known(column, table.keys, f"{where}.columns")
    return Sample(
        columns=tuple(fields["columns"]),
        rows=_rows(table, fields.get("rows", []), f"{where}.rows"),
        sizes=tuple(expression(size, f"{where}.sizes") for size in fields["sizes"]),
        unit=fields["unit"],
        why=fields["why"],
    )


def _about(table: Table, raw: list[Any], where: str) -> dict[tuple[int, str], str]:
    """What each cell states: the columns' patterns filled in, then the cells named one by one."""
    about = {
        (i, column.key): column.about.replace("{row}", slug(table.labels[i]))
        for column in table.columns
        if column.about
        for i in range(len(table.rows))
        if i != table.total_row
    }
    for n, entry in enumerate(raw):
        fields = check_keys(entry, f"{where}[{n}]", {"row": str | int, "column": str, "states": str}, {})
        check_known(fields["column"], table.keys, f"{where}[{n}].column")
        about[_row(table, fields["row"], f"{where}[{n}].row"), fields["column"]] = fields["states"]
    for key, name in about.items():
        check_slug(name, f"{where}: {key}")
    return about


def _rows(table: Table, raw: list[Any], where: str) -> tuple[int, ...]:
    """Indices of the rows that are named, all if none is."""
    return tuple(_row(table, row, where) for row in raw) or tuple(range(len(table.rows)))


def _row(table: Table, raw: Any, where: str) -> int:
    try:
        return table.row_index(raw)
    except UserError as error:
        raise Malformed(where, str(error)) from None


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
