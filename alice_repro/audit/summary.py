"""The audit on a terminal: what does not hold, a line each; what holds, counted; where the full page lies."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from alice_repro.audit.findings import SEVERITIES, Finding
from alice_repro.audit.run import Report

_STYLES = {"fatal": "bold red", "major": "red", "minor": "yellow", "note": "dim"}
_WIDE = 200
_SHORT = 24


def print_summary(report: Report, pages: tuple[Path, ...] = (), console: Console | None = None) -> None:
    """Print a report; lines are cut to the console's width (200 columns where it is no terminal)."""
    console = console or Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDE
    for severity in SEVERITIES:
        found = [finding for finding in report.findings if finding.severity == severity]
        if found:
            console.print(Text(f"\n{severity} ({len(found)})", _STYLES[severity]))
            console.print(_lines(found, console.is_terminal))
    console.print()
    console.print(_counts(report))
    console.print(Text(_total(report)))
    for page in pages:
        console.print(Text(f"{page}"), soft_wrap=True)


def _lines(findings: list[Finding], fill: bool) -> Table:
    table = Table.grid(padding=(0, 2), expand=fill)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, max_width=34, overflow="ellipsis")
    table.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
    for finding in findings:
        table.add_row("  " + finding.paper, Text(finding.place, "dim"), Text(headline(finding)))
    return table


def headline(finding: Finding) -> str:
    """A finding in one line: what it is about, what is printed where that is short, and what came out."""
    thing = finding.id.removeprefix(f"{finding.paper}.").removeprefix(f"{finding.rule}.")
    thing = thing.removeprefix(f"{finding.rule.partition('.')[0]}.")
    about = thing.replace(".", " ").replace("-", " ")
    printed = finding.printed.split(",")[0]
    short = len(printed) <= _SHORT and not set("=:") & set(printed) and printed not in finding.computed
    return f"{about}: {f'printed {printed}; ' if short else ''}{finding.computed}"


def _counts(report: Report) -> Table:
    """What was checked: a row for each kind of evidence."""
    columns = ("holds", *SEVERITIES, "undecided")
    placed = [("holds", entry) for entry in report.sound]
    placed += [(finding.severity, finding) for finding in report.findings]
    placed += [("undecided", entry) for entry in report.notes]
    counts = Counter((entry.rule.partition(".")[0], column) for column, entry in placed)
    kinds = list(dict.fromkeys(entry.rule.partition(".")[0] for entry in report.entries))
    shown = [column for column in columns if any(counts[kind, column] for kind in kinds)]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("checked", no_wrap=True)
    for column in shown:
        table.add_column(column, justify="right", style=_STYLES.get(column, "green" if column == "holds" else ""))
    for kind in kinds:
        table.add_row(kind, *(str(counts[kind, column] or "") for column in shown))
    return table


def _total(report: Report) -> str:
    documents = ", ".join(document.id for document in report.documents)
    return (
        f"{len(report.entries)} checks of {documents}: {len(report.sound)} hold, {len(report.findings)} do not, "
        f"{len(report.notes)} no rule decides (a run, the PDF or a person's reading)."
    )
