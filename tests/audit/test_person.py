"""What no rule computes: shown with its quotes or its experiment, and never an accusation."""

from __future__ import annotations

import pytest

from alice_repro.audit.findings import CHECK_PDF, NEEDS_A_RUN, NOT_TESTABLE, PERSON, Record
from alice_repro.audit.person import check
from alice_repro.papers import available_papers, companions, load_paper

DOCUMENT = """
[[note]]
id = "two-words"
date = "2026-01-02"
quotes = [
  { document = "small", place = "Section 1", quote = "real data" },
  { document = "small", place = "Section 2", quote = "rendered data" },
]
reading = "What is rendered is called real."

[[lost]]
id = "figure"
place = "Figure 2"
quote = "0% 50% 100%"
why = "the bars are lost"

[[claim]]
id = "tested"
quote = "mining helps"
place = "Section 3"
endpoint = "sound"
better = "mined"
worse = ["plain"]
because = "it shows more failures"
experiment = "make reproduce-table8"
testable = true

[[claim]]
id = "closed"
quote = "better than the closed system"
place = "Section 3"
endpoint = "score"
better = "ours"
worse = ["closed"]
testable = "the system is closed"

[[table]]
id = "table01"
number = 1
place = "Table 1"
caption = "Scores."
columns = [
  { key = "model", label = "Model", kind = "name" },
  { key = "score", label = "Score", kind = "number" },
]
rows = [["A", "40.40"], ["B", ""]]
damaged = [{ row = 0, column = "score", why = "the point is restored" }]
"""


@pytest.fixture
def entries(read):
    return {entry.id: entry for entry in check(Record((read(DOCUMENT),)))}


def test_a_note_shows_its_date_and_both_quotes(entries):
    entry = entries["small.person.note.two-words"]
    assert entry.verdict == PERSON
    assert "“real data” (small, Section 1)" in entry.printed and "“rendered data”" in entry.printed
    assert "2026-01-02" in entry.explanation and "What is rendered is called real." in entry.explanation


def test_damaged_text_is_for_the_pdf(entries):
    assert entries["small.person.lost.figure"].verdict == CHECK_PDF
    cell = entries["small.person.damaged.table01.0"]
    assert (cell.verdict, cell.printed, cell.place) == (CHECK_PDF, "40.40", "Table 1, row A, column Score")


def test_a_claim_names_its_experiment_or_the_reason_why_there_is_none(entries):
    tested, closed = entries["small.person.claim.tested"], entries["small.person.claim.closed"]
    assert tested.verdict == NEEDS_A_RUN
    assert "make reproduce-table8" in tested.explanation and "it shows more failures" in tested.explanation
    assert closed.verdict == NOT_TESTABLE and "the system is closed" in closed.explanation


def test_none_accuses(entries):
    assert len(entries) == 5
    assert {entry.severity for entry in entries.values()} == {"note"}


def test_every_claim_of_the_shipped_papers_has_its_entry():
    for paper in map(load_paper, available_papers()):
        found = {entry.id for entry in check(Record((paper, *companions(paper.id))))}
        for claim in paper.claims:
            assert f"{paper.id}.person.claim.{claim.id}" in found
