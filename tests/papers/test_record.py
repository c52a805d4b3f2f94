"""The record of Alice v1 against golden cells of the paper, parsing in closed cases, and planted faults."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import pytest

from alice_repro.errors import UserError
from alice_repro.papers import available_papers, load_paper, load_paper_file, parse_quantity

# Rows, columns and a cell (row, column, printed) at each corner or trap of the tables of arXiv:2605.08115v1.
PRINTED = {
    1: (8, 2, [("Hidden dimension", "specification", "4096"), (5, "specification", "2×2 spatial")]),
    2: (4, 3, [("Typical failure mode", "scm", "Blurry averages"), (3, "dmd", "Mode collapse")]),
    3: (7, 5, [("Duration", "stage1", "100K steps"), ("Learning rate", "stage4", "1e-6")]),
    4: (6, 6, [("Mochi", "vbench", "80.2"), ("HunyuanVideo", "params", "8.3B"), ("Alice v1", "time", "8s")]),
    5: (8, 4, [("Subject Consistency", "teacher", "0.78"), ("Human Actions", "delta", "+0.09")]),
    6: (4, 4, [("vs Wan2.2", "win", "68%"), ("vs Sora2 (API)", "loss", "26%")]),
    7: (3, 3, [("Consistency only (L_sCM)", "vbench", "82.1"), ("Combined rCM", "vbench", "91.2")]),
    8: (3, 3, [("Quality filtered", "vbench", "88.7"), ("+ Hard example mining", "physics", "0.86")]),
    9: (4, 3, [("1", "vbench", "78.4"), ("8", "time", "16s")]),
    10: (
        5,
        4,
        [("A100 40GB", "student", "14s"), ("RTX 4080 16GB", "teacher", "250s"), (4, "speedup", "7.1×")],
    ),
    11: (17, 4, [("Spatial Relationship", "teacher", "0.65"), ("Total", "delta", "+7.2")]),
    12: (9, 5, [("Warmup steps", "stage2", "500"), ("Score reg. λ", "stage4", "0.05")]),
}

SOUND = """
[paper]
id = "mine"
title = "A leaderboard"

[[table]]
id = "table01"
number = 1
place = "Table 1"
caption = "Scores."
columns = [
  { key = "model", label = "Model", kind = "name" },
  { key = "score", label = "Score", kind = "number" },
  { key = "time", label = "Time", kind = "number", unit = "s" },
]
rows = [["A*", "84.0", "2s"], ["B", "-", "~8s"]]
footnotes = { "*" = "retrained" }
arms = { "teacher-50" = "B" }

rules = ["score > time"]
samples = [{ columns = ["score"], rows = ["#0"], sizes = ["gain * 2"], unit = "clips", why = "stated" }]
about = [{ row = "#0", column = "score", states = "score-of-a" }]

[[relation]]
id = "gain-twice"
place = "Section 1"
readings = ["2 * gain = table01[#0].score / 14"]
basis = "implied"
why = "as planted"

[[count]]
id = "things"
place = "Abstract"
quote = "two things: this and that"
stated = "gain"
items = ["this", "that"]

[[ranking]]
id = "best"
quote = "A is best."
place = "Section 1"
table = "table01"
better = ["#0"]
worse = []
columns = ["time"]

[[model]]
id = "net"
name = "Net"
place = "Section 2"
basis = "stated"
layers = 2
patch = [1, 2, 2]

[[timing]]
id = "run"
model = "net"
place = "Table 1"
gpus = ["a100-40gb"]
width = 64
height = 64
frames = [17]
steps = "4"
seconds = "table01[#0].time"

[[note]]
id = "reading"
date = "2026-01-01"
quotes = [
  { document = "mine", place = "Section 1", quote = "yes" },
  { document = "mine", place = "Section 2", quote = "no" },
]
reading = "they differ"

[[claim]]
id = "a-wins"
quote = "A beats B."
place = "Section 1"
endpoint = "correct-and-sound"
better = "A"
worse = ["B"]
tables = ["table01"]
experiment = "make it"
testable = true

[[figure]]
id = "figure01"
number = 1
place = "Figure 1"
caption = "Scores."
content = "bars"
plots = [{ table = "table01", column = "score" }]

[[sentence]]
place = "Abstract"
quote = "a gain of 3%"
values = [{ id = "gain", printed = "3%" }]
"""


CLAIMS_WITH_ARMS = {
    "student-exceeds-teacher",
    "combination-beats-each-alone",
    "combination-prevents-collapse",
    "speedup",
    "four-steps-suffice",
    "eight-steps-add-little",
    "filtering-helps",
    "hard-mining-helps",
}


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def markdown_cells(text: str) -> list[tuple[str, ...]]:
    """Read a pipe table back: the header and the rows, without the rule between them."""
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines()]
    cells = [tuple(re.sub(r"\\(.)", r"\1", cell[1:-1]) for cell in line) for line in lines]
    return [cells[0], *cells[2:]]


def test_alice_holds_all_that_the_paper_numbers() -> None:
    paper = load_paper("alice")
    assert "alice" in available_papers()
    assert [table.number for table in paper.tables] == list(range(1, 13))
    assert [figure.number for figure in paper.figures] == list(range(1, 9))
    assert [equation.number for equation in paper.equations] == list(range(1, 10))
    assert (paper.arxiv, paper.date, len(paper.authors)) == ("2605.08115v1", "2026-04-27", 3)


@pytest.mark.parametrize("number", PRINTED)
def test_each_table_is_complete(number: int) -> None:
    rows, columns, cells = PRINTED[number]
    table = load_paper("alice").table(number)
    assert (len(table.rows), len(table.columns)) == (rows, columns)
    assert table is load_paper("alice").table(f"table{number:02d}")
    for row, column, printed in cells:
        assert table.cell(row, column).printed == printed


def test_alice_table_4_cells() -> None:
    table = load_paper("alice").table(4)
    params = table.cell("Wan2.2", "params")
    assert (params.value, params.unit, params.note) == (14.0, "B", "active")
    sora = table.cell("Sora2", "vbench")
    assert (sora.printed, sora.value, sora.approximate, sora.damaged) == ("~88", 88.0, True, "")
    assert table.cell("Sora2*", "model").marks == ("*",)
    assert "Closed-source" in table.footnotes["*"]
    assert table.cell("Veo3", "params").missing and "check the PDF" in table.cell("Veo3", "params").damaged
    assert all(cell.damaged for cell in table.column("open"))
    steps = table.cell("Alice v1", "steps")
    assert (steps.low, steps.value, steps.high) == (4.0, 4.0, 4.0)  # a count is not rounded


def test_alice_tables_5_and_11_print_the_same_dimensions() -> None:
    paper = load_paper("alice")
    assert paper.table(5).rows == paper.table(11).rows[:8]


def test_alice_claims() -> None:
    paper = load_paper("alice")
    claim = paper.claim("student-exceeds-teacher")
    assert "rCM-based distillation can exceed teacher model quality" in claim.quote
    assert (claim.better, claim.worse, claim.endpoint) == ("student-4", ("teacher-50",), "correct-and-sound")
    assert claim.testable and claim.experiment == "make reproduce-table4"
    assert paper.claim("combination-beats-each-alone").worse == ("scm-4", "dmd-4")
    assert not paper.claim("closed-systems-surpassed").testable
    assert paper.claim("closed-systems-surpassed").not_testable.startswith("closed")
    for claim in paper.claims:
        arms = {arm for table in claim.tables for arm in paper.table(table).arms}
        if claim.testable and claim.id in CLAIMS_WITH_ARMS:
            assert {claim.better, *claim.worse} <= arms, claim.id
    for quoted in [*paper.claims, *paper.quantities]:
        assert "\\" not in quoted.quote and quoted.place, quoted.id


@pytest.mark.parametrize(
    ("printed", "value", "low", "high", "unit"),
    [
        ("84.0", 84.0, 83.95, 84.05, ""),
        ("91", 91.0, 90.5, 91.5, ""),
        ("+0.08", 0.08, 0.075, 0.085, ""),
        ("-0.08", -0.08, -0.085, -0.075, ""),
        ("−7.2", -7.2, -7.25, -7.15, ""),  # U+2212
        ("0.0", 0.0, -0.05, 0.05, ""),
        ("2s", 2.0, 1.5, 2.5, "s"),
        ("8 seconds", 8.0, 7.5, 8.5, "s"),
        ("68%", 68.0, 67.5, 68.5, "%"),
        ("7.5x", 7.5, 7.45, 7.55, "x"),
        ("7.5×", 7.5, 7.45, 7.55, "x"),
        ("1e-5", 1e-5, 0.5e-5, 1.5e-5, ""),
        ("100K steps", 100.0, 99.5, 100.5, "K steps"),
        ("17,000", 17000.0, 16999.5, 17000.5, ""),
        ("80GB", 80.0, 79.5, 80.5, "GB"),
        ("14B (active)", 14.0, 13.5, 14.5, "B"),
        ("35s*", 35.0, 34.5, 35.5, "s"),
        ("10-35×", None, 9.5, 35.5, "x"),
        ("three thresholds", 3.0, 3.0, 3.0, "thresholds"),
    ],
)
def test_parse(printed: str, value: float | None, low: float, high: float, unit: str) -> None:
    quantity = parse_quantity(printed)
    assert (quantity.printed, quantity.value, quantity.unit) == (printed, value, unit)
    assert (quantity.low, quantity.high) == (low, high)
    assert not quantity.approximate and not quantity.missing


@pytest.mark.parametrize("printed", ["~88", "∼88", "approximately 88", "About 88"])
def test_approximate_is_marked_and_not_widened(printed: str) -> None:
    quantity = parse_quantity(printed)
    assert quantity.approximate and (quantity.value, quantity.low, quantity.high) == (88.0, 87.5, 88.5)


@pytest.mark.parametrize(
    "text",
    ["Wan2.2", "480p, 3s", "480p→720p", "2×2 spatial", "70:30", "50x2", "12,34", "1.2.3", "5-3", "BF16"],
)
def test_text_is_no_number(text: str) -> None:
    quantity = parse_quantity(text)
    assert not quantity.is_number and not quantity.missing and quantity.value is None


@pytest.mark.parametrize("text", ["", "-", "–", "—", "N/A", " - "])
def test_missing(text: str) -> None:
    assert parse_quantity(text).missing and not parse_quantity(text).is_number


def test_scaled_multiplies_the_prefix_in() -> None:
    steps = parse_quantity("100K steps").scaled()
    assert (steps.value, steps.low, steps.high, steps.unit) == (100_000, 99_500, 100_500, "steps")
    assert parse_quantity("14B (active)").scaled().value == 14e9
    assert parse_quantity("2s").scaled() == parse_quantity("2s")


def test_frame_printed_and_parsed() -> None:
    table = load_paper("alice").table(4)
    printed, parsed = table.to_frame(printed=True), table.to_frame()
    assert [tuple(row) for row in printed.itertuples(index=False)] == list(table.rows)
    assert parsed["vbench"].tolist() == [80.2, 82.5, 84.0, 88.0, 90.0, 91.2]
    assert math.isnan(parsed["params"][4]) and parsed["params"].dtype == float
    assert parsed["model"][3] == "Sora2*"


@pytest.mark.parametrize("number", range(1, 13))
def test_markdown_round_trip(number: int) -> None:
    table = load_paper("alice").table(number)
    labels = tuple(column.label for column in table.columns)
    assert markdown_cells(table.to_markdown()) == [labels, *table.rows]


def test_markdown_escapes_pipes(tmp_path: Path) -> None:
    table = load_paper_file(write(tmp_path, SOUND.replace('"A*"', r'"A|\\b*"'))).table(1)
    assert table.rows[0][0] == r"A|\b*"
    assert markdown_cells(table.to_markdown())[1:] == list(table.rows)


def test_record_becomes_plain_data() -> None:
    plain = dataclasses.asdict(load_paper("alice"))
    assert plain["tables"][3]["footnotes"] == {"*": "Closed-source; scores estimated from API outputs."}


def test_sound_user_file_loads(tmp_path: Path) -> None:
    paper = load_paper_file(write(tmp_path, SOUND))
    table = paper.table(1)
    assert table.cell("A", "time").value == 2.0 and table.cell("B", "score").missing
    assert paper.quantity("gain").quantity.value == 3.0
    assert paper.figure(1).plots[0].column == "score"
    assert paper.rankings[0].worse == (1,)  # all other rows
    assert table.about == {(0, "score"): "score-of-a"} and table.rules[0].rows == (0, 1)
    assert table.samples[0].rows == (0,) and paper.timings[0].frames == (17,)


@pytest.mark.parametrize(
    ("sound", "fault", "names"),
    [
        ('title = "A leaderboard"', "", "paper.title: missing key"),
        ('title = "A', 'titel = "x"\ntitle = "A', "paper.titel: unknown key; did you mean 'title'"),
        ('caption = "Scores."\ncolumns', "columns", "table[0] 'table01'.caption: missing key"),
        ('number = 1\nplace = "Table', 'number = true\nplace = "Table', ".number: expected int"),
        ('unit = "s"', 'units = "s"', "columns[2].units: unknown key; did you mean 'unit'"),
        ('kind = "name"', 'kind = "nam"', "columns[0].kind: unknown 'nam'; did you mean 'name'"),
        ('key = "time"', 'key = "score"', "columns: key 'score' occurs more than once"),
        ('kind = "name"', 'kind = "text"', "label_columns: missing"),
        ('["B", "-", "~8s"]', '["B", "-"]', "rows[1]: 2 cells, but 3 columns"),
        ('["B", "-", "~8s"]', '["B", 84.0, "~8s"]', "rows[1][1]: expected a string, found 84.0"),
        ('"84.0"', '"good"', "rows[0].score: 'good' is not a number"),
        ('"2s"', '"2min"', "rows[0].time: '2min' has the unit 'min', its column 's'"),
        ('{ "*" =', '{ "†" =', "footnotes: no cell bears the mark '†'"),
        ('"teacher-50" = "B"', '"teacher-50" = "C"', "arms.teacher-50: 'C'"),
        ("arms =", 'damaged = [{ row = 2, why = "blurred" }]\narms =', "damaged[0].row: no row 2"),
        ("arms =", 'damaged = [{ why = "blurred" }]\narms =', "damaged[0]: names neither row nor column"),
        ("testable = true", "testable = false", "claim[0] 'a-wins'.testable: say true, or"),
        ('experiment = "make it"', "", ".experiment: missing"),
        ('worse = ["B"]', "worse = []", ".worse: names no arm"),
        ('tables = ["table01"]', 'tables = ["table02"]', "claim 'a-wins'.tables: unknown 'table02'"),
        ('column = "score" }]', 'column = "scor" }]', "figure 'figure01'.plots: unknown 'scor'"),
        ('printed = "3%"', 'printed = "4%"', "sentence[0].values[0] 'gain'.printed: '4%' does not occur in the quote"),
        ('printed = "3%"', 'printed = "gain"', "'gain' is not a number"),
        ("[[figure]]", "[[figurs]]", "top level.figurs: unknown key; did you mean 'figure'"),
        ('id = "mine"', 'id = "My paper"', "paper.id: 'My paper' must be lower-case"),
        ("[paper]", "[paper", "malformed TOML"),
        ('"score > time"', '"score > tim"', "table[0] 'table01'.rules[0]: unknown 'tim'; did you mean 'time'"),
        ('"score > time"', '"score + time"', "rules[0]: 'score + time': expected one of = <"),
        ('"score > time"', '"score > table01[A].time"', "a table's rules speak of its own columns"),
        ('columns = ["score"], rows', 'columns = ["scor"], rows', "samples[0].columns: unknown 'scor'"),
        ('sizes = ["gain * 2"]', 'sizes = ["gian * 2"]', "table01.samples: unknown quantity of paper 'mine' 'gian'"),
        ('{ row = "#0", column', '{ row = "#2", column', "about[0].row: table01: no row 2"),
        ('states = "score-of-a"', 'states = "Score of A"', "'Score of A' must be lower-case"),
        ('key = "score", label', 'role = "goal", key = "score", label', ".role: unknown 'goal'"),
        ("[#0].score / 14", "[A].scor / 14", "relation 'gain-twice': unknown column of table01 'scor'"),
        ("[#0].score / 14", "[B].score / 14", "relation 'gain-twice': 'table01' B score is no number"),
        ("2 * gain", "2 * mine:gain", "relation 'gain-twice': unknown paper 'mine'"),
        ("2 * gain =", "2 ** gain =", "readings[0]: '2 ** gain"),
        ('basis = "implied"', 'basis = "stated"', "relation[0] 'gain-twice'.quote: missing"),
        ('basis = "implied"', 'basis = "implied"\nword = "low"', "relation[0] 'gain-twice'.word: 'low' does not occur"),
        ('stated = "gain"', 'stated = "pain"', "count 'things'.stated: unknown 'pain'; did you mean 'gain'"),
        ('items = ["this", "that"]', 'items = ["these"]', "items: 'these' does not occur in the quote"),
        ('better = ["#0"]', 'better = ["Z"]', "ranking 'best': unknown row of table01 'Z'"),
        ('columns = ["time"]', 'columns = ["tme"]', "ranking 'best'.columns: unknown 'tme'"),
        ("patch = [1, 2, 2]", 'patch = ["1"]', "model[0] 'net'.patch: expected a list of whole numbers"),
        ('gpus = ["a100-40gb"]', 'gpus = ["a100"]', "timing[0] 'run'.gpus: unknown 'a100'"),
        ('steps = "4"', 'steps = "four"', "timing 'run': unknown quantity of paper 'mine' 'four'"),
        ('  { document = "mine", place = "Section 2", quote = "no" },', "", "note[0] 'reading'.quotes: a reading sets"),
    ],
)
def test_planted_faults_name_file_key_and_reason(tmp_path: Path, sound: str, fault: str, names: str) -> None:
    assert sound in SOUND
    path = write(tmp_path, SOUND.replace(sound, fault, 1))
    with pytest.raises(UserError) as error:
        load_paper_file(path)
    assert str(path) in str(error.value) and names in str(error.value)


@pytest.mark.parametrize("section", ["table", "claim", "figure", "sentence"])
def test_duplicate_ids(tmp_path: Path, section: str) -> None:
    start = SOUND.index(f"[[{section}]]")
    following = SOUND.find("\n[[", start)
    block = SOUND[start : following if following > 0 else len(SOUND)]
    with pytest.raises(UserError, match="occurs more than once"):
        load_paper_file(write(tmp_path, SOUND + "\n" + block))


def test_unknown_names_suggest_the_nearest(tmp_path: Path) -> None:
    paper = load_paper("alice")
    for look_up, hint in [
        (lambda: load_paper("alise"), "'alice'"),
        (lambda: paper.table(13), "unknown table of paper 'alice' '13'"),
        (lambda: paper.claim("student-exceed-teacher"), "'student-exceeds-teacher'"),
        (lambda: paper.table(4).cell("Alice", "vbench"), "'Alice v1'"),
        (lambda: paper.table(4).cell("Alice v1", "vbensh"), "'vbench'"),
        (lambda: paper.table(4).cell(6, "vbench"), "rows are 0 to 5"),
        (lambda: load_paper_file(tmp_path / "none.toml"), "none.toml: no such file"),
    ]:
        with pytest.raises(UserError, match=hint):
            look_up()


def test_rows_of_the_same_name(tmp_path: Path) -> None:
    twice = SOUND.replace('["B", "-", "~8s"]', '["B", "-", "~8s"], ["B", "1.0", "9s"]')
    twice = twice.replace('arms = { "teacher-50" = "B" }', "")
    table = load_paper_file(write(tmp_path, twice)).table(1)
    with pytest.raises(UserError, match="give the row's index"):
        table.cell("B", "score")
    assert table.cell(2, "score").value == 1.0
    named = twice.replace("footnotes", 'label_columns = ["model", "time"]\nfootnotes', 1)
    assert load_paper_file(write(tmp_path, named)).table(1).cell("B / 9s", "score").value == 1.0
