"""The comparison of two checkpoints on a terminal: the verdict first, then what it rests on and what it leaves open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from alice_repro.audit.checkpoints.compare import Compared, Comparison
from alice_repro.audit.checkpoints.tables import (
    architecture_lines,
    blocks_table,
    matching_line,
    speed_line,
    statement_lines,
    uncertainty_lines,
    verdict_lines,
)

_WIDE = 160
_PARTS = 6  # of the verdict
_ROWS = 12  # of the table of blocks


def print_comparison(
    comparison: Comparison, pages: Sequence[Path] = (), against: bool = False, console: Console | None = None
) -> None:
    """Print a comparison. against: whether the user named documents; then every size that does not fit is printed."""
    console = console or Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDE
    for side, checkpoint in (("A", comparison.a), ("B", comparison.b)):
        console.print(Text(f"{side}  {checkpoint.path}", "dim"), Text(f"({checkpoint.layout})", "dim"))
    for one in comparison.networks:
        _network(console, one)
    console.print(Text("\nArchitecture", "bold"))
    _architectures(console, comparison, against)
    if comparison.notes:
        console.print(Text("\nNot read, or read with a reservation", "bold"))
        _lines(console, dict.fromkeys(comparison.notes))
    console.print(Text(f"\n{speed_line(comparison)}", "dim"))
    for page in pages:
        console.print(Text(str(page)), soft_wrap=True)


def _network(console: Console, one: Compared) -> None:
    console.print(Text.assemble("\n", (f"{one.name}: ", "bold"), (one.judgement.kind, "bold cyan")))
    _lines(console, verdict_lines(one, _PARTS))
    if one.pair.note:
        _lines(console, [one.pair.note])
    _lines(console, [matching_line(one)])
    _lines(console, uncertainty_lines(one))
    if one.evidence:
        console.print(Padding(_table(one), (0, 0, 0, 2)))


def _table(one: Compared) -> Table:
    sheet = blocks_table(one)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for head in sheet.heads:
        table.add_column(head.label, justify="right" if head.number else "left", overflow="fold")
    cut = len(sheet.rows) > _ROWS
    shown = [*sheet.rows[: _ROWS - 2], sheet.rows[-1]] if cut else sheet.rows
    for place, row in enumerate(shown):
        if cut and place == len(shown) - 1:
            table.add_row(f"... {len(sheet.rows) - len(shown)} more rows on the page")
        table.add_row(*(Text(row[head.key]) for head in sheet.heads))
    return table


def _architectures(console: Console, comparison: Comparison, against: bool) -> None:
    """What each side's tensors imply, and what is stated: once, where both sides say the same."""
    lines, stated = {}, {}
    for side, statements in comparison.statements.items():
        lines[side] = architecture_lines(comparison.architectures[side], statements)
        stated[side] = statement_lines(statements, against)
    same = lines["a"] == lines["b"] and stated["a"] == stated["b"]
    for side in ("a",) if same else ("a", "b"):
        _lines(console, [f"{'A and B' if same else side.upper()}  {line}" for line in lines[side]])
        for line in stated[side]:
            style = "yellow" if line.startswith("does not fit") else "green" if line.startswith("fits") else ""
            console.print(Padding(Text(line, style), (0, 0, 0, 5)))


def _lines(console: Console, lines) -> None:
    for line in lines:
        console.print(Padding(Text(line), (0, 0, 0, 2)))
