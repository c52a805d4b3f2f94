"""Rows that have every digit in common.

The argument. Two settings that were both measured do not agree in three or more scores to the last printed digit, if
these have `DIGITS` digits or more between them. So equal rows are one measurement. That is sound if they are one
setting: the document says that they state the same quantity, they stand for the same arm, or bear one name. It is a
contradiction if the document tells them apart: two rows of one table, or rows of arms that are not the same. In two
tables under two names they may be one setting: that needs a run, as do equal rows of fewer digits. Where the name of a
row is lost and nothing else tells, the PDF has to be looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from alice_repro.audit.findings import CHECK_PDF, CONSISTENT, INCONSISTENT, NEEDS_A_RUN, Finding, Reading, graded
from alice_repro.audit.statistics_samples import dimension_of
from alice_repro.papers import Paper, Quantity, Table
from alice_repro.papers.table import slug

LEAST = 3  # scores in common
FEW, DIGITS = 6, 12  # digits in common: fewer than FEW are no news, fewer than DIGITS may be chance
_SCORES = ("dimension", "category", "total", "average", "score", "share")
_METHODS = ("baseline", "new")


@dataclass(frozen=True)
class Profile:
    """The scores of one setting in one table. label: as printed, "" if lost; arms: those that it may stand for."""

    table: Table
    label: str
    key: str
    cells: dict[str, Quantity]
    about: dict[str, str]
    arms: frozenset[str]
    lost: bool

    @property
    def name(self) -> str:
        return f"{self.label or 'a row without a name'} ({self.table.place})"


def check_document(document: Paper) -> Iterator[Finding]:
    """Each pair of settings whose common scores are all equal."""
    profiles = [profile for table in document.tables for profile in _profiles(table)]
    for one, other in combinations(profiles, 2):
        common = [measure for measure in one.cells if measure in other.cells]
        if (
            len(common) >= LEAST
            and _digits(one, common) >= FEW
            and all(one.cells[m].printed == other.cells[m].printed for m in common)
        ):
            yield _duplicate(document, one, other, common)


def _duplicate(document: Paper, one: Profile, other: Profile, common: list[str]) -> Finding:
    same = [
        Reading(
            "the document says that they state one quantity",
            ", ".join(sorted({one.about[m] for m in common if m in one.about and one.about[m] == other.about.get(m)})),
            any(m in one.about and one.about[m] == other.about.get(m) for m in common),
        ),
        Reading("they stand for one arm", _arms(one, other), bool(one.arms & other.arms)),
        Reading("they bear one name", f"{one.label!r}, {other.label!r}", _same_label(one, other)),
    ]
    apart = bool(one.arms and other.arms) or (one.table is other.table and not (one.lost or other.lost))
    damaged = any(profile.cells[m].damaged for profile in (one, other) for m in common)
    if any(reading.holds for reading in same):
        verdict, text = CONSISTENT, "They are one setting, printed twice."
    elif damaged or (not apart and (one.lost or other.lost)):
        verdict, text = CHECK_PDF, "What tells the rows apart is lost in the text."
    elif apart and _digits(one, common) < DIGITS:
        verdict, text = NEEDS_A_RUN, "With so few digits that may be chance."
    elif apart:
        verdict = INCONSISTENT
        text = "The document tells them apart, so at least one of the rows is not what it is said to be."
        text += _consequence(document, one, other)
    else:
        verdict, text = NEEDS_A_RUN, "They may be one setting under two names; the document does not say so."
    values = ", ".join(f"{measure} {one.cells[measure].printed}" for measure in common)
    return Finding(
        f"{document.id}.statistics.duplicate.{one.table.id}.{one.key}.{other.table.id}.{other.key}",
        document.id,
        f"{one.table.place}, {one.label or one.key}; {other.table.place}, {other.label or other.key}",
        one.table.caption or other.table.caption,
        "statistics.duplicate",
        values,
        f"{len(common)} of {len(common)} scores equal to the last digit",
        tuple(same),
        verdict,
        graded(verdict, "major"),
        f"{one.name} and {other.name} have all {len(common)} common scores equal to the last printed digit. {text}",
    )


def _consequence(document: Paper, one: Profile, other: Profile) -> str:
    """What follows where a superlative rests on a table of two rows, one of which is the copy."""
    for profile in (one, other):
        for ranking in document.rankings:
            if ranking.table == profile.table.id and len(profile.table.rows) == 2:
                return f" If the names in {profile.table.place} were exchanged, {ranking.quote!r} would turn round."
    return ""


def _digits(profile: Profile, common: list[str]) -> int:
    """Significant digits of the common scores; a score at the end of its scale (0, 1, 100) counts none."""
    cells = [profile.cells[measure] for measure in common if profile.cells[measure].value not in (0.0, 1.0, 100.0)]
    return sum(len(re.sub(r"\D", "", cell.printed).lstrip("0")) for cell in cells)


def _arms(one: Profile, other: Profile) -> str:
    return f"{', '.join(sorted(one.arms)) or 'none named'}; {', '.join(sorted(other.arms)) or 'none named'}"


def _same_label(one: Profile, other: Profile) -> bool:
    return bool(slug(one.label)) and slug(one.label) == slug(other.label) and one.table is not other.table


def _profiles(table: Table) -> Iterator[Profile]:
    columns = [c for c in table.columns if c.kind == "number" and c.role in _SCORES]
    if len(columns) >= LEAST:
        lost = any(d.row is None and d.column in table.label_columns for d in table.damaged)
        for i, label in enumerate(table.labels):
            cells = {_measure(table, i, c.key): table.cell(i, c.key) for c in columns}
            about = {_measure(table, i, c.key): table.about[i, c.key] for c in columns if (i, c.key) in table.about}
            key = slug(label) if slug(label) and table.labels.count(label) == 1 else f"row{i + 1}"
            yield _profile(table, label, key, cells, about, lost or not slug(label))
    methods = [c for c in table.columns if c.kind == "number" and c.role in _METHODS]
    rows = [i for i in range(len(table.rows)) if i != table.total_row]
    if len(rows) >= LEAST:
        for column in methods:
            cells = {_measure(table, i, column.key): table.cell(i, column.key) for i in rows}
            about = {_measure(table, i, column.key): table.about.get((i, column.key), "") for i in rows}
            about = {measure: name for measure, name in about.items() if name}
            yield _profile(table, column.label, column.key, cells, about, False)


def _profile(
    table: Table, label: str, key: str, cells: dict[str, Quantity], about: dict[str, str], lost: bool
) -> Profile:
    named = frozenset(arm for arm, target in table.arms.items() if target in (label, key))
    arms = named or frozenset(table.unplaced)
    return Profile(table, label, key, {m: cell for m, cell in cells.items() if cell.is_number}, about, arms, lost)


def _measure(table: Table, row: int, key: str) -> str:
    """What a cell measures, by one name in all tables."""
    column = table.columns[table.keys.index(key)]
    if dimension := dimension_of(table, row, column):
        return dimension.name
    return table.labels[row] if column.role in _METHODS else column.label
