"""What no rule can compute, shown apart from what rules found.

Four kinds. A *note* is a person's dated reading of two quotes that do not fit (a definition that is not what it is
said to be). A *lost* passage or cell is text that the extraction damaged: nothing can be said of it but "check the
PDF". A *claim* that one arm beats another, for a cause that the paper names, is settled by no arithmetic: it needs
the experiment that the entry names, or cannot be tested here, for the reason that the entry gives. None of these
accuses: their severity is always "note".
"""

from __future__ import annotations

from collections.abc import Iterator

from alice_repro.audit.findings import CHECK_PDF, NEEDS_A_RUN, NOT_TESTABLE, PERSON, Finding, Record
from alice_repro.papers import Claim, Damage, Lost, Note, Paper, Table


def check(record: Record) -> Iterator[Finding]:
    """All notes, lost passages, damaged cells and claims of the documents."""
    for document in record.documents:
        yield from (_note(document, note) for note in document.notes)
        yield from (_claim(document, claim) for claim in document.claims)
        yield from (_lost(document, lost) for lost in document.lost)
        for table in document.tables:
            yield from (_damage(document, table, damage, i) for i, damage in enumerate(table.damaged))


def _note(document: Paper, note: Note) -> Finding:
    quotes = "; ".join(f"“{quote.quote}” ({quote.document}, {quote.place})" for quote in note.quotes)
    return _entry(
        document,
        f"note.{note.id}",
        place=note.quotes[0].place,
        quote=note.quotes[0].quote,
        printed=quotes,
        computed="",
        verdict=PERSON,
        explanation=f"{note.reading} (Read by a person on {note.date}; no rule computes it.)",
    )


def _claim(document: Paper, claim: Claim) -> Finding:
    cause = f" The cause that the paper gives: {claim.because}." if claim.because else ""
    compared = f"{claim.better} against {', '.join(claim.worse)} on {claim.endpoint}."
    settled = (
        f"The experiment that tests it: `{claim.experiment}`."
        if claim.testable
        else f"Not testable here: {claim.not_testable}."
    )
    return _entry(
        document,
        f"claim.{claim.id}",
        place=claim.place,
        quote=claim.quote,
        printed=f"{compared}{cause}",
        computed="",
        verdict=NEEDS_A_RUN if claim.testable else NOT_TESTABLE,
        explanation=f"The claim compares {compared}{cause} No arithmetic on printed numbers can show it. {settled}",
    )


def _lost(document: Paper, lost: Lost) -> Finding:
    return _entry(
        document,
        f"lost.{lost.id}",
        place=lost.place,
        quote=lost.quote,
        printed=lost.quote,
        computed="",
        verdict=CHECK_PDF,
        explanation=f"The text that this was read from is damaged: {lost.why}. Nothing follows before the PDF is read.",
    )


def _damage(document: Paper, table: Table, damage: Damage, number: int) -> Finding:
    rows = range(len(table.rows)) if damage.row is None else (damage.row,)
    columns = table.keys if damage.column is None else (damage.column,)
    row = "" if damage.row is None else f", row {table.labels[damage.row] or damage.row}"
    column = "" if damage.column is None else f", column {table.columns[table.keys.index(damage.column)].label}"
    cells = "; ".join(table.rows[i][table.keys.index(key)] or "(nothing)" for i in rows for key in columns)
    return _entry(
        document,
        f"damaged.{table.id}.{number}",
        place=f"{table.place}{row}{column}",
        quote=table.caption,
        printed=cells,
        computed="",
        verdict=CHECK_PDF,
        explanation=f"These cells cannot be trusted: {damage.why}. What rests on them is not called an error.",
    )


def _entry(document: Paper, name: str, **fields: str) -> Finding:
    rule = f"person.{name.partition('.')[0]}"
    return Finding(
        id=f"{document.id}.person.{name}", paper=document.id, rule=rule, readings=(), severity="note", **fields
    )
