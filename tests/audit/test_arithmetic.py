"""Arithmetic: planted slips are found, rounding at the edge is not flagged, damaged text is never called an error."""

from __future__ import annotations

import pytest

from alice_repro.audit.arithmetic import check
from alice_repro.audit.findings import CHECK_PDF, CONSISTENT, INCONSISTENT, Record
from alice_repro.audit.interval import Interval, distance

TABLE = """
[[table]]
id = "table01"
number = 1
place = "Table 1"
caption = "Scores."
columns = [
  { key = "model", label = "Model", kind = "name" },
  { key = "old", label = "Old", kind = "number", role = "baseline", higher_is_better = true },
  { key = "new", label = "New", kind = "number", role = "new", higher_is_better = true },
  { key = "delta", label = "Gain", kind = "number", role = "delta" },
  { key = "time", label = "Time", kind = "number", unit = "s", higher_is_better = false },
]
rows = [
  ["A", "0.50", "0.62", "+0.12", "8s"],
  ["B", "0.40", "0.47", "%s", "9s"],
  ["C", "0.30", "0.33", "-", "10s"],
]
rules = ["delta = new - old"]
"""


def entries(paper, kind=""):
    return {entry.id: entry for entry in check(Record((paper,))) if kind in entry.rule}


@pytest.mark.parametrize(
    ("delta", "verdict"),
    [("+0.07", CONSISTENT), ("+0.08", CONSISTENT), ("+0.06", CONSISTENT), ("+0.09", INCONSISTENT)],
)
def test_a_difference_may_be_off_by_the_rounding_of_its_parts_and_no_more(read, delta, verdict):
    found = entries(read(TABLE % delta))
    assert found["small.arithmetic.row.table01.b.delta"].verdict == verdict
    assert found["small.arithmetic.row.table01.a.delta"].verdict == CONSISTENT


def test_a_missing_cell_is_not_checked(read):
    assert set(entries(read(TABLE % "+0.07"))) == {f"small.arithmetic.row.table01.{row}.delta" for row in "ab"}


def test_a_damaged_cell_yields_only_check_the_pdf(read):
    damaged = TABLE % "+0.19" + 'damaged = [{ row = 1, column = "delta", why = "a digit is lost" }]\n'
    entry = entries(read(damaged))["small.arithmetic.row.table01.b.delta"]
    assert (entry.verdict, entry.severity) == (CHECK_PDF, "note")
    assert "a digit is lost" in entry.explanation


def test_the_entry_shows_what_was_printed_and_computed(read):
    entry = entries(read(TABLE % "+0.19"))["small.arithmetic.row.table01.b.delta"]
    assert entry.printed == "delta = +0.19; new = 0.47; old = 0.40"
    assert entry.computed == "asks 0.185 to 0.195 = 0.06 to 0.08, off by 54 %"
    assert entry.place == "Table 1, row B" and entry.severity == "major"


SENTENCES = """
[[sentence]]
place = "Section 1"
quote = "%s GPU-hours (%s for 4 weeks), a 7x gain over three things: one and two"
values = [
  { id = "hours", printed = "%s" },
  { id = "gpus", printed = "%s", exact = true },
  { id = "weeks", printed = "4 weeks", exact = true },
  { id = "things", printed = "three things", exact = true },
]

[[relation]]
id = "cost"
place = "Section 1"
readings = ["hours = gpus * weeks * 168"]
basis = "stated"
quote = "hours"
"""


@pytest.mark.parametrize(
    ("hours", "verdict"),
    [("43,008", CONSISTENT), ("43,000", INCONSISTENT), ("~43,000", CONSISTENT), ("~38,000", INCONSISTENT)],
)
def test_a_product_is_held_to_the_printed_precision_and_5_percent_after_a_tilde(read, hours, verdict):
    text = SENTENCES % (hours, "64 GPUs", hours, "64 GPUs")
    assert entries(read(text))["small.arithmetic.relation.cost"].verdict == verdict


def test_one_reading_that_holds_is_enough(read):
    text = SENTENCES % ("43,000", "64 GPUs", "43,000", "64 GPUs")
    text = text.replace('168"]', '168", "hours = 43000"]')
    entry = entries(read(text))["small.arithmetic.relation.cost"]
    assert entry.verdict == CONSISTENT and [reading.holds for reading in entry.readings] == [False, True]


def test_a_relation_over_damaged_text_is_for_the_pdf(read):
    text = SENTENCES % ("13,000", "64 GPUs", "13,000", "64 GPUs")
    text = text.replace('printed = "13,000"', 'printed = "13,000", damaged = "the 1 may be a 4"')
    assert entries(read(text))["small.arithmetic.relation.cost"].verdict == CHECK_PDF


def test_a_word_without_a_size_of_its_own_is_at_most_a_minor_slip(read):
    text = SENTENCES % ("13,000", "64 GPUs", "13,000", "64 GPUs")
    assert entries(read(text))["small.arithmetic.relation.cost"].severity == "major"
    entry = entries(read(text + 'word = "hours"\n'))["small.arithmetic.relation.cost"]
    assert (entry.verdict, entry.severity) == (INCONSISTENT, "minor") and "how much “hours” is" in entry.explanation


def test_a_divisor_that_may_be_zero_accuses_nobody(read):
    text = SENTENCES % ("0", "64 GPUs", "0", "64 GPUs")
    text = text.replace("hours = gpus * weeks * 168", "weeks = gpus / hours")
    assert entries(read(text))["small.arithmetic.relation.cost"].verdict == CONSISTENT


@pytest.mark.parametrize(("items", "verdict"), [('"one", "two"', INCONSISTENT), ('"one", "two", "over"', CONSISTENT)])
def test_a_sentence_lists_as_many_things_as_it_says(read, items, verdict):
    text = SENTENCES % ("43,008", "64 GPUs", "43,008", "64 GPUs") + (
        '[[count]]\nid = "things"\nplace = "Section 1"\nstated = "things"\n'
        f'quote = "a 7x gain over three things: one and two"\nitems = [{items}]\n'
    )
    entry = entries(read(text), "count")["small.arithmetic.count.things"]
    assert entry.verdict == verdict
    assert entry.severity == ("note" if verdict == CONSISTENT else "minor")


def ranking(better: str, columns: str, demand: str = "each") -> str:
    return TABLE % "+0.07" + (
        f'[[ranking]]\nid = "best"\nquote = "the best"\nplace = "Section 4"\ntable = "table01"\n'
        f'better = ["{better}"]\nworse = []\ncolumns = [{columns}]\ndemand = "{demand}"\n'
    )


@pytest.mark.parametrize(
    ("better", "columns", "demand", "holds"),
    [
        ("A", '"old", "new"', "each", True),
        ("B", '"old"', "each", False),
        ("A", '"time"', "each", True),  # fewer seconds are better
        ("C", '"time"', "each", False),
        ("B", '"old", "new", "time"', "most", False),
    ],
)
def test_a_superlative_is_looked_up_in_its_table(read, better, columns, demand, holds):
    entry = entries(read(ranking(better, columns, demand)), "ranking")["small.arithmetic.ranking.best"]
    assert entry.sound == holds


def test_the_majority_of_columns_may_leave_one_lost(read):
    text = ranking("A", '"old", "new", "time"', "most").replace('"+0.12", "8s"', '"+0.12", "12s"')
    assert entries(read(text), "ranking")["small.arithmetic.ranking.best"].sound
    text = text.replace('"most"', '"each"')
    entry = entries(read(text), "ranking")["small.arithmetic.ranking.best"]
    assert entry.verdict == INCONSISTENT and "12s against 9s of B" in entry.computed


def test_a_tie_within_rounding_is_no_defeat_but_one_digit_more_is(read):
    tied = ranking("A", '"old"').replace('"0.40"', '"0.51"')
    assert entries(read(tied), "ranking")["small.arithmetic.ranking.best"].sound
    beaten = ranking("A", '"old"').replace('"0.40"', '"0.52"')
    assert not entries(read(beaten), "ranking")["small.arithmetic.ranking.best"].sound


def test_a_defeat_by_a_damaged_cell_is_for_the_pdf(read):
    text = ranking("B", '"old"').replace("rules =", 'damaged = [{ row = 0, column = "old", why = "smudged" }]\nrules =')
    assert entries(read(text), "ranking")["small.arithmetic.ranking.best"].verdict == CHECK_PDF


def test_distance_is_a_share_of_the_largest_number():
    assert distance(Interval(1, 2), Interval(2, 3)) == 0
    assert distance(Interval(1, 2), Interval(4, 8)) == pytest.approx(2 / 8)
    assert distance(Interval(-8, -4), 0.0) == pytest.approx(4 / 8)
