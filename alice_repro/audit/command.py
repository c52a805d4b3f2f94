"""What `alice-repro audit` does: choose documents, run the rules, print, write the page and the entries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from alice_repro.audit.run import Report, audit, load_records, reaches
from alice_repro.errors import UserError
from alice_repro.files import atomic_write_text, write_json

OUTPUT = Path("results/audit")


def run(
    papers: Sequence[str] = (),
    table: int | None = None,
    as_json: bool = False,
    fail_on: str | None = None,
    my_table: Path | None = None,
    out: Path | None = None,
) -> int:
    """Audit and report; the exit code: 1 if `fail_on` is given and something at least as severe does not hold, else 0.

    Raises:
        UserError: unknown paper or table, malformed file of the user's.
    """
    if my_table is not None and papers:
        raise UserError(f"give papers ({', '.join(papers)}) or --my-table, not both")
    report = audit(load_records(papers, my_table), table)
    if as_json:
        print(json.dumps(report.to_dict(), indent=2, ensure_ascii=False, allow_nan=False))
    written = write(report, out or OUTPUT, _name(report, papers, table, my_table)) if out or not as_json else ()
    if not as_json:
        from alice_repro.audit.summary import print_summary

        print_summary(report, written)
    return int(fail_on is not None and reaches(report, fail_on))


def write(report: Report, folder: Path, name: str = "audit") -> tuple[Path, Path]:
    """Write NAME.html and NAME.json; returns their paths."""
    from alice_repro.audit.page import render

    page, entries = folder / f"{name}.html", folder / f"{name}.json"
    atomic_write_text(page, render(report))
    write_json(entries, report.to_dict())
    return page, entries


def _name(report: Report, papers: Sequence[str], table: int | None, my_table: Path | None) -> str:
    """A name for each choice: a part does not replace the whole."""
    chosen = (report.documents[0].id,) if my_table else papers
    return "-".join(("audit", *chosen, *([f"table{table}"] if table is not None else ())))
