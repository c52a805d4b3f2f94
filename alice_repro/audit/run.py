"""The audit from end to end: load what was published, run every rule over it, sort what comes out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from alice_repro.audit.findings import CONSISTENT, IMPOSSIBLE, INCONSISTENT, SEVERITIES, Finding, Record
from alice_repro.errors import UserError
from alice_repro.papers import Paper, available_papers, companions, load_paper, load_paper_file

RULES = ("arithmetic", "repairs", "agreement", "benchmark", "limits", "statistics", "equations", "person")
"""Modules beside this one, each with `check(record) -> Iterator[Finding]`."""


@dataclass(frozen=True)
class Report:
    """What the audit says of some documents, each part sorted: the most severe first, then as the papers stand.

    findings: what rules computed and what does not hold; sound: what rules computed and what holds; notes: the rest,
    which no rule can decide: text to check in the PDF, claims that need a run, a person's readings.
    """

    documents: tuple[Paper, ...]
    findings: tuple[Finding, ...]
    sound: tuple[Finding, ...]
    notes: tuple[Finding, ...]

    @property
    def entries(self) -> tuple[Finding, ...]:
        """Everything that was checked."""
        return self.findings + self.sound + self.notes

    def to_dict(self) -> dict[str, list[dict[str, Any]]]:
        """Plain data, for JSON."""
        parts = {"findings": self.findings, "sound": self.sound, "notes": self.notes}
        return {name: [entry.to_dict() for entry in part] for name, part in parts.items()}


def load_records(papers: Sequence[str] = (), my_table: Path | None = None) -> tuple[Record, ...]:
    """The shipped papers with these ids (all if none is named), or a document of the user's own.

    Raises:
        UserError: no such paper, or a malformed file: names the file, the key and the reason.
    """
    if my_table is not None:
        return (Record((load_paper_file(my_table),)),)
    return tuple(Record((load_paper(paper), *companions(paper))) for paper in papers or available_papers())


def audit(records: Sequence[Record], table: int | None = None) -> Report:
    """Run every rule over every record; with `table`, keep what speaks of the table of that number.

    Raises:
        UserError: no record has such a table.
    """
    documents = tuple(document for record in records for document in record.documents)
    entries = [entry for record in records for entry in _entries(record)]
    doubled = [name for name, count in Counter(entry.id for entry in entries).items() if count > 1]
    if doubled:
        raise ValueError(f"several entries have the id {doubled[0]!r}")
    if table is not None:
        entries = [entry for entry in entries if _speaks_of(entry, table)]
        if not any(t.number == table for document in documents for t in document.tables):
            numbers = ", ".join(f"{d.id} 1 to {max(t.number for t in d.tables)}" for d in documents if d.tables)
            raise UserError(f"no table {table}; there are {numbers or 'no tables'}")
    return report(documents, entries)


def report(documents: Sequence[Paper], entries: Iterable[Finding]) -> Report:
    """Sort entries into what does not hold, what holds, and what no rule decides."""
    ids = [document.id for document in documents]
    ordered = sorted(entries, key=lambda e: (SEVERITIES.index(e.severity), e.verdict != IMPOSSIBLE, ids.index(e.paper)))
    return Report(
        documents=tuple(documents),
        findings=tuple(entry for entry in ordered if entry.verdict in (INCONSISTENT, IMPOSSIBLE)),
        sound=tuple(entry for entry in ordered if entry.verdict == CONSISTENT),
        notes=tuple(entry for entry in ordered if entry.verdict not in (INCONSISTENT, IMPOSSIBLE, CONSISTENT)),
    )


def reaches(report: Report, severity: str) -> bool:
    """Whether something that does not hold is at least as severe."""
    limit = SEVERITIES.index(severity)
    return any(SEVERITIES.index(finding.severity) <= limit for finding in report.findings)


def _entries(record: Record) -> Iterator[Finding]:
    for rule in RULES:
        yield from import_module(f"alice_repro.audit.{rule}").check(record)


def _speaks_of(entry: Finding, table: int) -> bool:
    words = " ".join((entry.id, entry.place, entry.printed, *(reading.name for reading in entry.readings)))
    return re.search(rf"\b[Tt]able\s?0*{table}(?!\d)", words) is not None
