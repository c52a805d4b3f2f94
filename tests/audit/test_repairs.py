"""Repairs: a planted swap is found as the one exchange that works; what one change cannot explain has no repair."""

from __future__ import annotations

import pytest

from alice_repro.audit.findings import INCONSISTENT, Record
from alice_repro.audit.repairs import check, find_repairs
from alice_repro.papers import load_paper, load_paper_file

TABLE = """
[[table]]
id = "table01"
number = 1
place = "Table 1"
caption = "Scores."
columns = [
  {{ key = "model", label = "Model", kind = "name" }},
  {{ key = "a", label = "A", kind = "number" }},
  {{ key = "b", label = "B", kind = "number" }},
  {{ key = "mean", label = "Mean", kind = "number", role = "average" }},
]
rows = [
  ["one", "{a1}", "{b1}", "{m1}"],
  ["two", "{a2}", "{b2}", "{m2}"],
  ["three", "10.00", "90.00", "50.00"],
]
rules = ["mean = (a + b) / 2"]
"""
SOUND = {"a1": "71.32", "b1": "48.18", "m1": "59.75", "a2": "64.58", "b2": "33.94", "m2": "49.26"}


def entries(paper):
    return list(check(Record((paper,))))


def test_a_sound_table_needs_no_repair(read):
    assert entries(read(TABLE.format(**SOUND))) == []


@pytest.mark.parametrize("column", ["a", "b", "m"])
def test_a_planted_swap_of_two_rows_is_the_only_exchange_that_works(read, column):
    first, second = f"{column}1", f"{column}2"
    paper = read(TABLE.format(**SOUND | {first: SOUND[second], second: SOUND[first]}))
    (repair,) = find_repairs(paper, paper.tables[0])
    j = ("a", "b", "m").index(column) + 1
    undone = {((0, j), SOUND[first]), ((1, j), SOUND[second])}
    # A swap of one column, or of one of the others with the same effect on both means: only the planted one is exact.
    assert repair.kind == "swap" and set(repair.cells) == undone
    (entry,) = entries(paper)
    assert (entry.id, entry.verdict, entry.severity) == ("small.repairs.table01", INCONSISTENT, "minor")
    assert SOUND[first] in entry.computed and "where the slip probably is" in entry.explanation


def test_a_planted_digit_is_among_the_slips_and_none_is_singled_out(read):
    paper = read(TABLE.format(**SOUND | {"m1": "59.78"}))
    repairs = list(find_repairs(paper, paper.tables[0]))
    assert {repair.kind for repair in repairs} == {"digit"}
    assert (((0, 3), "59.75"),) in [repair.cells for repair in repairs]
    assert "only the authors can tell" in entries(paper)[0].explanation


def test_what_one_change_cannot_explain_has_no_repair(read):
    assert entries(read(TABLE.format(**SOUND | {"m1": "93.11", "m2": "12.87"}))) == []


def test_a_damaged_cell_is_not_repaired(read):
    damaged = 'damaged = [{ row = 0, why = "smudged" }]\n'
    assert entries(read(TABLE.format(**SOUND | {"m1": "59.78"}) + damaged)) == []


def test_the_benchmarks_totals_count_as_rules_of_the_table(edit):
    """AVD's Table 1: its VBench totals hold in each row but two, and in all once these two exchange their quality."""
    (entry,) = entries(load_paper("avd"))
    assert "79.36 of PCM" in entry.computed and "79.27 of DCM" in entry.computed
    swapped = {'"79.36", "51.40"': '"79.27", "51.40"', '"79.27", "52.16"': '"79.36", "52.16"'}
    assert entries(load_paper_file(edit("avd", swapped))) == []
