"""The audit as one HTML page that stands alone: what does not hold, as visibly what holds, and what no rule decides.

It works without JavaScript; with it, entries can be filtered and searched. It loads nothing from anywhere.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from alice_repro.audit.findings import (
    CHECK_PDF,
    CONSISTENT,
    IMPOSSIBLE,
    INCONSISTENT,
    NEEDS_A_RUN,
    NOT_TESTABLE,
    PERSON,
    SEVERITIES,
    Finding,
)
from alice_repro.audit.run import Report
from alice_repro.reporting.render import PAGE_CSS, Head, Sheet, page_templates

if TYPE_CHECKING:
    from jinja2 import Environment

TOP = 10
FAULTS = (IMPOSSIBLE, INCONSISTENT)
VERDICTS = (*FAULTS, CONSISTENT, CHECK_PDF, NEEDS_A_RUN, NOT_TESTABLE, PERSON)

_TABLE = re.compile(r".*?\bTable \d+")
_SEVERITY_MEANS = {
    "fatal": "a headline claim cannot be true: totals out of reach, or below a physical floor",
    "major": "a number that carries an argument is wrong",
    "minor": "a slip without consequence, or an ambiguous one",
    "note": "worth knowing, no fault",
}
_UNDECIDED_MEANS = {
    CHECK_PDF: "The text that was read is damaged here: compare with the PDF before saying anything.",
    NEEDS_A_RUN: "What is printed settles it neither way; an experiment would.",
    NOT_TESTABLE: "Nothing here can test it; the entry says why.",
    PERSON: "Read by a person and dated, not computed: two quotes that do not fit.",
}


@dataclass(frozen=True)
class Group:
    """Entries under one heading of a section."""

    title: str
    lead: str
    entries: tuple[Finding, ...]


@dataclass(frozen=True)
class Section:
    """A part of the page. unfolded: whether its entries start open."""

    id: str
    title: str
    lead: str
    groups: tuple[Group, ...]
    unfolded: bool = False

    @property
    def count(self) -> int:
        """How many entries it has."""
        return sum(len(group.entries) for group in self.groups)


def render(report: Report) -> str:
    """The whole page. All text of the documents is escaped; ids of entries are anchors."""
    entries = report.entries
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            css=PAGE_CSS,
            report=report,
            top=most_serious(report),
            counts=[sheet.html() for sheet in counts(report)],
            sections=sections(report),
            choices={
                "paper": [document.id for document in report.documents],
                "severity": [name for name in SEVERITIES if any(e.severity == name for e in entries)],
                "verdict": [name for name in VERDICTS if any(e.verdict == name for e in entries)],
                "rule": _with_families({entry.rule for entry in entries}),
            },
            arguments=arguments({family(entry) for entry in entries}),
        )
    )


def card(entry: Finding) -> str:
    """One entry by itself, unfolded, as HTML without the page's style: for notebooks."""
    return str(_environment().get_template("entry.html.j2").module.item(entry, unfolded=True, links=False))


def counts(report: Report) -> tuple[Sheet, Sheet]:
    """How many entries there are of each verdict and severity: by document, and by rule."""
    heads = [
        Head("what", ""),
        *(Head(verdict, verdict.removesuffix(" on paper"), "do not hold", True) for verdict in FAULTS),
        *(Head(severity, severity, "of these", True) for severity in SEVERITIES[:3]),
        Head(CONSISTENT, CONSISTENT, "hold", True),
        *(Head(verdict, verdict, "no rule decides", True) for verdict in VERDICTS[3:]),
        Head("all", "all", "", True),
    ]
    titles = {document.id: document.title for document in report.documents}
    by_paper = _count(report, "document", heads, tuple(titles), lambda entry: entry.paper)
    rules = tuple(dict.fromkeys(sorted(entry.rule for entry in report.entries)))
    by_rule = _count(report, "rule", heads, rules, lambda entry: entry.rule)
    return by_paper, by_rule


def sections(report: Report) -> tuple[Section, ...]:
    """The page's lists: findings by severity, what holds by document, what no rule decides by verdict."""
    return (
        Section(
            "does-not-hold",
            "What does not hold",
            "Computed from what is printed. Where the text admits several readings, every admissible one fails.",
            _groups(report.findings, SEVERITIES, lambda e: e.severity, _SEVERITY_MEANS),
            unfolded=True,
        ),
        Section(
            "holds",
            "What was checked and holds",
            "Computed by the same rules. An entry holds if any admissible reading of the text does.",
            _groups(report.sound, [d.id for d in report.documents], lambda e: e.paper, _titles(report)),
        ),
        Section(
            "undecided",
            "What no rule decides",
            "None of these is an accusation.",
            _groups([e for e in report.notes if e.verdict != PERSON], VERDICTS, lambda e: e.verdict, _UNDECIDED_MEANS),
        ),
        Section(
            "read",
            "What a person read",
            "",
            _groups([e for e in report.notes if e.verdict == PERSON], VERDICTS, lambda e: e.verdict, _UNDECIDED_MEANS),
            unfolded=True,
        ),
    )


def most_serious(report: Report, limit: int = TOP) -> list[tuple[Finding, ...]]:
    """The most serious findings; what one rule finds in one table (or at one place) counts as one, its worst first."""
    alike: dict[tuple[str, str, str], list[Finding]] = {}
    for entry in report.findings:
        table = _TABLE.match(entry.place)
        alike.setdefault((entry.paper, entry.rule, table[0] if table else entry.place), []).append(entry)
    return [tuple(group) for group in alike.values()][:limit]


def deciding(entry: Finding) -> str:
    """In one line, what the reading most favourable to the document comes to."""
    admissible = [reading for reading in entry.readings if reading.admissible]
    held = [reading for reading in admissible if reading.holds]
    fits = sum(reading.holds for reading in entry.readings if not reading.admissible)
    outside = f"; {fits} more would fit, but {'is' if fits == 1 else 'are'} not admissible" if fits else ""
    if not admissible:
        return f"no reading is admissible{outside}"
    if held:
        failed = len(admissible) - len(held)
        return f"holds, read as: {held[0].name}" + (f" ({failed} of {len(admissible)} readings fail)" if failed else "")
    if len(admissible) == 1:
        return f"the only admissible reading fails{outside}"
    return f"none of the {len(admissible)} admissible readings holds{outside}"


def family(entry: Finding) -> str:
    """The kind of evidence: what stands before the dot of a rule."""
    return entry.rule.partition(".")[0]


def arguments(families: Iterable[str]) -> dict[str, list[str]]:
    """Family -> paragraphs of the docstrings of its modules: why its rules are right."""
    found: dict[str, list[str]] = {name: [] for name in sorted(families)}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        name = path.stem.partition("_")[0]
        if name in found:
            text = inspect.getdoc(import_module(f"alice_repro.audit.{path.stem}")) or ""
            found[name] += text.split("\n\n")
    return found


@cache
def _environment() -> Environment:
    environment = page_templates(Path(__file__).parent)
    environment.globals |= {"deciding": deciding, "family": family, "faults": FAULTS}
    return environment


def _count(
    report: Report, what: str, heads: Sequence[Head], names: Sequence[str], of: Callable[[Finding], str]
) -> Sheet:
    """A table of counts, a row for each name and one for all."""

    def row(label: str, entries: Sequence[Finding]) -> dict[str, str]:
        cells = {v: sum(e.verdict == v for e in entries) for v in VERDICTS}
        cells |= {s: sum(e.severity == s and e.verdict in FAULTS for e in entries) for s in SEVERITIES[:3]}
        return {"what": label, "all": str(len(entries))} | {key: str(n or "·") for key, n in cells.items()}

    rows = [row(name, [e for e in report.entries if of(e) == name]) for name in names]
    return Sheet(f"By {what}", tuple(heads), (*rows, row("all", report.entries)))


def _groups(
    entries: Iterable[Finding], names: Sequence[str], of: Callable[[Finding], str], leads: dict[str, str]
) -> tuple[Group, ...]:
    """Entries by name, in the order of names; empty groups are left out."""
    by_name: dict[str, list[Finding]] = {name: [] for name in names}
    for entry in entries:
        by_name[of(entry)].append(entry)
    return tuple(Group(name, leads.get(name, ""), tuple(group)) for name, group in by_name.items() if group)


def _titles(report: Report) -> dict[str, str]:
    return {document.id: document.title for document in report.documents}


def _with_families(rules: Iterable[str]) -> list[str]:
    """Rules, each family before its members."""
    return sorted({*rules, *(rule.partition(".")[0] for rule in rules)})
