"""Counts behind shares, noise behind differences, copied rows: in both directions."""

from __future__ import annotations

from math import sqrt

import pytest

from alice_repro.audit.findings import CHECK_PDF, CONSISTENT, INCONSISTENT, NEEDS_A_RUN, Record
from alice_repro.audit.statistics import check
from alice_repro.papers import load_paper, load_paper_file

VOTES = """
[[table]]
id = "table01"
number = 1
place = "Table 1"
caption = "Votes."
columns = [
  {{ key = "pair", label = "Pair", kind = "name" }},
  {{ key = "win", label = "Win", kind = "number", role = "share", unit = "%", higher_is_better = true }},
  {{ key = "tie", label = "Tie", kind = "number", role = "share", unit = "%" }},
  {{ key = "loss", label = "Loss", kind = "number", role = "share", unit = "%", higher_is_better = false }},
]
rows = [["us and them", {cells}]]
rules = ["win + tie + loss = 100"]
samples = [{{ columns = ["win", "tie", "loss"], sizes = ["{size}"], unit = "judgements", why = "as stated" }}]
{extra}
"""

MOTION = """
[[table]]
id = "table01"
number = 1
place = "Table 1"
caption = "Motion."
benchmark = "vbench"
columns = [
  {{ key = "method", label = "Method", kind = "name" }},
  {{ key = "dynamic", label = "Dynamic Degree", kind = "number", role = "dimension", higher_is_better = true }},
]
rows = {rows}
samples = [{{ columns = ["dynamic"], sizes = ["{size}"], unit = "videos", why = "as stated" }}]
{extra}
"""

ROWS = """
[[table]]
id = "{id}"
number = {number}
place = "Table {number}"
caption = ""
columns = [
  {{ key = "method", label = "Method", kind = "name" }},
  {{ key = "a", label = "A", kind = "number", role = "score" }},
  {{ key = "b", label = "B", kind = "number", role = "score" }},
  {{ key = "c", label = "C", kind = "number", role = "score" }},
]
rows = {rows}
{extra}
"""


def entries(paper, kind: str = ""):
    return {entry.id: entry for entry in check(Record((paper,))) if kind in entry.rule}


def votes(win: str, tie: str, loss: str, size: str = "250", extra: str = "") -> str:
    return VOTES.format(cells=f'"{win}", "{tie}", "{loss}"', size=size, extra=extra)


def motion(*values: str, size: str = "72 * 5", extra: str = "") -> str:
    return MOTION.format(rows=[[f"M{i}", value] for i, value in enumerate(values, 1)], size=size, extra=extra)


def rows(*cells: list[str], number: int = 1, extra: str = "") -> str:
    return ROWS.format(id=f"table0{number}", number=number, rows=[list(row) for row in cells], extra=extra)


@pytest.mark.parametrize(
    ("printed", "size", "verdict"),
    [
        ("92.39", "57 * 3", CONSISTENT),  # 158 of 171 = 92.3977, cut off
        ("92.40", "57 * 3", CONSISTENT),  # the same, rounded
        ("92.41", "57 * 3", INCONSISTENT),
        ("85.56", "72 * 5", CONSISTENT),  # 308 of 360 = 85.5556, rounded
        ("100.00", "72 * 5", CONSISTENT),
        ("0.00", "72 * 5", CONSISTENT),
        ("92.69", "57 * 3", NEEDS_A_RUN),  # 317 of 342: the average of two runs
        ("92.4", "7", INCONSISTENT),
        ("92", "7", NEEDS_A_RUN),  # 13 of 14 = 92.86, cut off
    ],
)
def test_a_share_is_a_whole_count(read, printed, size, verdict):
    entry = entries(read(motion("50.00", printed, size=size)), "share")["small.statistics.share.table01.m2.dynamic"]
    assert entry.verdict == verdict


def test_counts_at_the_edges_of_rounding(read):
    """1 of 8 = 12.5 %: prints as 12 (cut off or rounded to even) or 13, not as 11 or 14."""
    for printed, sound in (("12", True), ("13", True), ("11", False), ("14", False)):
        found = entries(read(votes(f"{printed}%", "50%", "38%", size="8")), "share")
        assert found["small.statistics.share.table01.us-and-them.win"].sound is sound


def test_any_reading_of_the_size_that_fits_is_enough(read):
    text = motion("50.00", "92.39").replace('sizes = ["72 * 5"]', 'sizes = ["72 * 5", "57 * 3"]')
    assert entries(read(text), "share")["small.statistics.share.table01.m2.dynamic"].sound


def test_a_damaged_share_yields_only_check_the_pdf(read):
    extra = 'damaged = [{ row = 1, column = "dynamic", why = "a digit too many" }]'
    entry = entries(read(motion("50.00", "97.717", extra=extra)), "share")["small.statistics.share.table01.m2.dynamic"]
    assert (entry.verdict, entry.severity) == (CHECK_PDF, "note")
    assert "352 of 360 = 97.778 %" in entry.explanation


def test_only_shares_are_counted(read):
    """Subject consistency is a mean of cosines: any value may come out of 360 videos."""
    text = motion("50.00", "92.41").replace("Dynamic Degree", "Subject Consistency")
    assert not entries(read(text), "share")


def test_win_tie_and_loss_come_from_one_number_of_judgements(read):
    name = "small.statistics.counts.table01.us-and-them"
    assert entries(read(votes("68%", "15%", "17%")))[name].sound
    assert entries(read(votes("33%", "33%", "33%", size="3")))[name].sound
    found = entries(read(votes("33%", "33%", "33%", size="300")))  # cut off: 99 to 101 each, 297 to 303
    assert found[name].sound
    found = entries(read(votes("33%", "33%", "32%", size="300")))
    assert found[name].verdict == CONSISTENT  # 101 + 101 + 98, all cut off
    assert entries(read(votes("33%", "33%", "30%", size="300")))[name].verdict == INCONSISTENT


def test_a_preference_is_told_from_a_toss_up_or_not(read):
    name = "small.statistics.preference.table01.us-and-them"
    assert entries(read(votes("51%", "22%", "27%")))[name].sound
    assert entries(read(votes("40%", "24%", "36%")))[name].verdict == NEEDS_A_RUN
    assert entries(read(votes("40%", "24%", "36%", size="100000")))[name].sound


def test_shares_that_fit_a_far_smaller_number_make_the_stated_one_doubtful(read):
    name = "small.statistics.denominator.table01.dynamic"
    doubtful = entries(read(motion("0.5000", "0.3750", "0.5625", size="560")))[name]
    assert doubtful.verdict == NEEDS_A_RUN and "16" in doubtful.computed
    one = entries(read(motion("0.5000", "0.3750", "0.5589", size="560")))[name]  # 313 of 560
    assert one.sound
    speaks = entries(read(motion("85.56", "72.22", "78.61", "99.72")))[name]
    assert speaks.sound and "speak for the stated size" in speaks.explanation
    coarse = entries(read(votes("68%", "15%", "17%", size="1000")))["small.statistics.denominator.table01.win"]
    assert coarse.sound


def ranking(demand: str = "each", better: str = "#0", worse: str = "#1", column: str = "dynamic") -> str:
    return f"""
[[ranking]]
id = "best"
quote = "ours moves most"
place = "Section 1"
table = "table01"
better = ["{better}"]
worse = ["{worse}"]
columns = ["{column}"]
demand = "{demand}"
"""


def test_a_difference_is_told_from_noise_at_the_size_at_which_it_should_be(read):
    """Two shares of n: 1.96 standard errors of their difference."""
    noise = 1.96 * 100 * sqrt((0.6 * 0.4 + 0.5 * 0.5) / 360)
    assert 7 < noise < 8
    name = "small.statistics.noise.best"
    told = entries(read(motion("60.00", "50.00") + ranking()))[name]
    assert told.sound and f"{noise:.2g}" in told.explanation
    assert entries(read(motion("55.00", "50.00") + ranking()))[name].verdict == NEEDS_A_RUN
    assert entries(read(motion("55.00", "50.00", size="72 * 5 * 10") + ranking()))[name].sound
    assert name not in entries(read(motion("50.00", "60.00") + ranking()))  # the wrong way round: for arithmetic


def test_a_relation_of_two_scores_is_an_argument_and_one_of_times_is_none(read):
    relation = """
[[relation]]
id = "more-motion"
place = "Section 2"
readings = ["table01[#0].dynamic > table01[#1].dynamic"]
basis = "stated"
quote = "ours moves more"
"""
    entry = entries(read(motion("52.00", "50.00") + relation))["small.statistics.noise.more-motion"]
    assert (entry.verdict, entry.severity) == (NEEDS_A_RUN, "minor")
    timed = motion("52.00", "50.00").replace('role = "dimension"', 'role = "seconds"')
    assert "small.statistics.noise.more-motion" not in entries(read(timed + relation))


def test_a_score_without_bound_is_undecided(read):
    scores = rows(["A", "18.5", "1", "1"], ["B", "9.1", "1", "1"]) + ranking(column="a")
    entry = entries(read(scores))["small.statistics.noise.best"]
    assert entry.verdict == NEEDS_A_RUN and "no bound" in entry.explanation


LOST = 'damaged = [{ column = "method", why = "lost" }]\n'
COPY = ["0.9666", "0.9625", "0.3750"]
OTHER = ["0.9690", "0.9620", "0.5000"]


def test_equal_rows_of_one_table_are_one_measurement(read):
    found = entries(read(rows(["A", *COPY], ["B", *COPY], ["C", *OTHER])), "duplicate")
    assert set(found) == {"small.statistics.duplicate.table01.a.table01.b"}
    (entry,) = found.values()
    assert (entry.verdict, entry.severity) == (INCONSISTENT, "major")
    assert not entries(read(rows(["A", *COPY], ["B", *COPY[:2], "0.3751"])), "duplicate")


def test_few_digits_may_agree_by_chance(read):
    assert not entries(read(rows(["A", "1.0", "0.9", "0.8"], ["B", "1.0", "0.9", "0.8"])), "duplicate")
    (entry,) = entries(read(rows(["A", "0.98", "0.97", "0.91"], ["B", "0.98", "0.97", "0.91"])), "duplicate").values()
    assert entry.verdict == NEEDS_A_RUN


@pytest.mark.parametrize(
    ("label", "extra", "other", "verdict"),
    [
        ("A", "", "", CONSISTENT),  # one name in both tables
        ("B", "", "", NEEDS_A_RUN),  # perhaps one setting under two names
        ("B", 'arms = { "x" = "A" }', 'arms = { "x" = "B" }', CONSISTENT),
        ("B", 'arms = { "x" = "A" }', 'arms = { "y" = "B" }', INCONSISTENT),
        ("", "", LOST, CHECK_PDF),
        ("", 'arms = { "x" = "A" }', LOST + 'unplaced = ["y", "z"]', INCONSISTENT),
        ("", 'arms = { "x" = "A" }', LOST + 'unplaced = ["x", "z"]', CONSISTENT),
    ],
)  # fmt: skip
def test_equal_rows_of_two_tables(read, label, extra, other, verdict):
    text = rows(["A", *COPY], ["C", *OTHER], extra=extra)
    text += rows([label, *COPY], ["D", "0.1", "0.2", "0.3"], number=2, extra=other)
    (entry,) = entries(read(text), "duplicate").values()
    assert entry.verdict == verdict


def test_the_shipped_papers():
    """What must come out; nothing but two copied rows is called inconsistent."""
    found = {e.id: e for name in ("alice", "avd", "dfd") for e in check(Record((load_paper(name),)))}
    accused = [e.id for e in found.values() if e.verdict not in (CONSISTENT, NEEDS_A_RUN, CHECK_PDF)]
    assert accused == ["dfd.statistics.duplicate.table06.w-gan.table07.row2"]
    assert found["avd.statistics.share.table02.full-vif.dynamic"].verdict == CHECK_PDF
    assert found["avd.statistics.denominator.table02.instance"].computed == "whole counts out of 171"
    assert found["avd.statistics.noise.regression-drop"].verdict == NEEDS_A_RUN
    assert found["avd.statistics.noise.motion-restored"].verdict == CONSISTENT
    assert found["alice.statistics.noise.gain"].verdict == CONSISTENT
    assert found["alice.statistics.noise.eight-steps-increment"].verdict == NEEDS_A_RUN
    assert found["dfd.statistics.denominator.table06.dynamic"].verdict == NEEDS_A_RUN
    assert found["dfd.statistics.duplicate.table02.ours.table03.row1"].verdict == CONSISTENT


def test_correcting_the_copied_row_makes_its_finding_vanish_and_planting_one_makes_it_appear(edit):
    row = '["w GAN", "0.9666", "0.9625", "0.9831", "0.9912", "0.3750", "0.7213", "0.7210"]'
    paper = load_paper_file(edit("dfd", {row: row.replace("0.7213", "0.7214")}))
    assert all(entry.sound for entry in entries(paper, "duplicate").values())
    old = '["DMD2", "0.9340", "0.9473", "0.6095", "0.9722", "0.9892", "0.9805", "0.9868", "0.9171"]'
    new = '["DMD2", "0.9340", "0.9468", "0.6026", "0.9694", "0.9886", "0.9781", "0.9860", "0.9151"]'
    paper = load_paper_file(edit("dfd", {old: new}))
    assert entries(paper, "duplicate")["dfd.statistics.duplicate.table05.teacher.table05.dmd2"].verdict == INCONSISTENT


def test_a_document_may_compare_with_a_shipped_one(read):
    relation = """
[[relation]]
id = "above-theirs"
place = "Section 2"
readings = ["table01[#0].dynamic > avd:table02[DMD].dynamic"]
basis = "stated"
quote = "ours moves more than theirs"
"""
    entry = entries(read(motion("90.00", "50.00") + relation))["small.statistics.noise.above-theirs"]
    assert entry.verdict in (CONSISTENT, NEEDS_A_RUN) and "72.22" in entry.computed
