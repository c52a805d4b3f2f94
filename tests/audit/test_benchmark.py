"""Benchmark definitions: planted faults are found in sound tables, sound tables stay sound, favourable readings win."""

from __future__ import annotations

import pytest

from alice_repro.audit.benchmark import check
from alice_repro.audit.findings import CHECK_PDF, CONSISTENT, IMPOSSIBLE, INCONSISTENT, NEEDS_A_RUN, Record
from alice_repro.errors import UserError
from alice_repro.evaluation.vbench import suite, total
from alice_repro.papers import load_paper, load_paper_file

DIMENSIONS = list(suite("vbench").dimensions)
# FlashVideo (arXiv 2502.05179) Table 1, percent: total, quality, semantic, then the dimensions in the suite's order.
MOCHI = (
    "80.13 82.64 70.08 96.99 97.28 99.40 99.02 61.85 56.94 60.64 86.51 50.47 94.60 79.73 69.24 36.99 20.33 23.65 25.15"
).split()
COGVIDEOX = (
    "81.61 82.75 77.04 96.23 96.52 98.66 96.92 70.97 61.98 62.90 85.23 62.11 99.40 82.81 66.35 53.20 24.91 25.38 27.59"
).split()


def wide(*rows: list[str], drop: tuple[str, ...] = (), extra: str = "") -> str:
    """A table with a method a row: total, both categories, all dimensions."""
    columns = [("vbench-total", "Total", "total"), ("quality", "Quality Score", "category")]
    columns += [("semantic", "Semantic Score", "category")]
    columns += [(name.replace("_", "-"), name.replace("_", " ").title(), "dimension") for name in DIMENSIONS]
    kept = [i for i, (key, _, _) in enumerate(columns) if key not in drop]
    lines = [
        f'{{ key = "{k}", label = "{label}", kind = "number", role = "{role}", higher_is_better = true }},'
        for k, label, role in (columns[i] for i in kept)
    ]
    printed = [[f"M{n}", *(row[i] for i in kept)] for n, row in enumerate(rows, 1)]
    return (
        '[[table]]\nid = "table01"\nnumber = 1\nplace = "Table 1"\ncaption = "Scores."\nbenchmark = "vbench"\n'
        "columns = [\n"
        '{ key = "method", label = "Method", kind = "name" },\n'
        + "\n".join(lines)
        + f"\n]\nrows = {printed}\n{extra}\n"
    )


def tall(scores: dict[str, tuple[str, str]], totals: tuple[str, str] | None = None, delta: str = "-") -> str:
    """A table with a dimension a row, two methods side by side, and their totals."""
    rows = [[name, *cells, "-"] for name, cells in scores.items()]
    if totals:
        rows.append(["Total", *totals, delta])
    return f"""
[[table]]
id = "table01"
number = 1
place = "Table 1"
caption = "All dimensions."
benchmark = "vbench"
columns = [
  {{ key = "dimension", label = "Dimension", kind = "name", role = "dimension" }},
  {{ key = "teacher", label = "Teacher", kind = "number", role = "baseline" }},
  {{ key = "student", label = "Student", kind = "number", role = "new" }},
  {{ key = "delta", label = "Gain", kind = "number", role = "delta" }},
]
rows = {rows}
""" + (f"total_row = {len(rows) - 1}\n" if totals else "")


def normalised(value: str) -> dict[str, tuple[str, str]]:
    return {name.replace("_", " ").title(): (value, value) for name in DIMENSIONS}


def entries(paper, kind: str = ""):
    return {entry.id: entry for entry in check(Record((paper,))) if kind in entry.rule}


def changed(row: list[str], name: str, value: str) -> list[str]:
    """A row with the total, a category or a dimension replaced."""
    place = ["total", "quality", "semantic", *DIMENSIONS].index(name)
    return [*row[:place], value, *row[place + 1 :]]


def test_published_rows_that_add_up_are_sound(read):
    found = entries(read(wide(MOCHI, COGVIDEOX)))
    assert {entry.verdict for entry in found.values()} == {CONSISTENT}
    assert {entry.rule for entry in found.values()} == {
        "benchmark.dimension", "benchmark.complete", "benchmark.range", "benchmark.total", "benchmark.category",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("total", "80.14", CONSISTENT),  # 80.128 with rounding of the categories: 80.122 to 80.134, so below 80.135
        ("total", "80.15", INCONSISTENT),
        ("total", "82.13", INCONSISTENT),
        ("semantic", "71.08", INCONSISTENT),
    ],
)
def test_a_total_is_the_weighted_mean_of_the_categories(read, name, value, expected):
    entry = entries(read(wide(changed(MOCHI, name, value))))["small.benchmark.total.table01.m1"]
    assert entry.verdict == expected
    assert (entry.severity == "fatal") == (value == "82.13")


def test_a_category_off_its_dimensions_is_impossible_and_a_total_below_dimensions_fatal(read):
    found = entries(read(wide(changed(MOCHI, "semantic", "76.08"))))
    assert found["small.benchmark.category.semantic.table01.m1"].verdict == IMPOSSIBLE
    assert found["small.benchmark.category.quality.table01.m1"].verdict == CONSISTENT
    found = entries(read(wide(changed(MOCHI, "total", "92.00"), drop=("quality", "semantic"))))
    entry = found["small.benchmark.total.table01.m1"]
    assert (entry.verdict, entry.severity) == (IMPOSSIBLE, "fatal")


def test_a_missing_dimension_widens_the_total_by_its_weight_and_no_more(read):
    scores = {name: float(value) / 100 for name, value in zip(DIMENSIONS, MOCHI[3:], strict=True)}
    low, high = (100 * total(scores | {"dynamic_degree": end}).total.low for end in (0.0, 1.0))
    drop = ("quality", "semantic", "dynamic-degree")
    for value, sound in ((low + 0.02, True), (high - 0.02, True), (high + 1, False)):
        found = entries(read(wide(changed(MOCHI, "total", f"{value:.2f}"), drop=drop)))
        assert found["small.benchmark.total.table01.m1"].sound is sound


def test_scores_may_be_normalised(read):
    sound = entries(read(tall(normalised("0.80"), ("80.0", "80.4"), "+0.4")))
    assert all(entry.sound for entry in sound.values())
    assert "appearance_style" in sound["small.benchmark.range.table01.teacher"].explanation  # only as normalised
    found = entries(read(tall(normalised("0.80"), ("80.0", "91.0"), "+11.0")))
    assert found["small.benchmark.total.table01.teacher"].sound
    assert found["small.benchmark.total.table01.student"].verdict == IMPOSSIBLE
    gain = found["small.benchmark.gain.table01.student"]
    assert (gain.verdict, gain.severity) == (INCONSISTENT, "major")


def test_each_score_is_taken_by_itself_only_where_some_can_but_be_normalised(read):
    def names(scores):
        entry = entries(read(tall(scores, ("10.0", "80.0"))))["small.benchmark.total.table01.teacher"]
        return {r.name for r in entry.readings if r.admissible and "digits" not in r.name}

    inside = {name: (f"{(suite('vbench').dimension(name).max + suite('vbench').dimension(name).min) / 2:.3f}", "0.5")
              for name in normalised("")}  # fmt: skip
    assert names(inside) == {"raw scores", "normalised scores"}
    assert names(inside | {"Scene": ("0.95", "0.5")}) == {"normalised scores", "each score raw or normalised"}


def test_a_reading_outside_the_ranges_is_shown_and_decides_nothing(read):
    scores = normalised("0.86")
    entry = entries(read(tall(scores, ("86.0", "99.0"))))["small.benchmark.total.table01.student"]
    (beyond,) = (r for r in entry.readings if r.name.startswith("raw scores, outside the range"))
    assert not beyond.admissible
    fitting = entries(read(tall(scores, ("86.0", f"{float(beyond.computed.split()[0]) + 0.1:.1f}"))))
    entry = fitting["small.benchmark.total.table01.student"]
    (beyond,) = (r for r in entry.readings if r.name.startswith("raw scores, outside the range"))
    assert beyond.holds and entry.verdict == IMPOSSIBLE and "rules that out" in entry.explanation


def test_a_plain_mean_called_total_is_another_definition_and_no_impossibility(read):
    scores = {name: ("0.90" if i < 7 else "0.10",) * 2 for i, name in enumerate(normalised("0.50"))}  # official: 74
    entry = entries(read(tall(scores, ("45.0", "74.0"))))["small.benchmark.total.table01.teacher"]
    assert (entry.verdict, entry.severity) == (INCONSISTENT, "minor")


def test_a_damaged_total_yields_only_check_the_pdf(read):
    damaged = 'damaged = [{ row = 0, column = "semantic", why = "a digit is lost" }]'
    found = entries(read(wide(changed(MOCHI, "semantic", "90.08"), extra=damaged)))
    assert {entry.verdict for entry in found.values()} == {CONSISTENT, CHECK_PDF}
    assert all(entry.severity == "note" for entry in found.values())


def test_two_cells_that_changed_places_are_named(read):
    one, other = changed(MOCHI, "quality", COGVIDEOX[1]), changed(COGVIDEOX, "quality", MOCHI[1])
    found = entries(read(wide(one, other, drop=tuple(name.replace("_", "-") for name in DIMENSIONS))))
    for key in ("m1", "m2"):
        entry = found[f"small.benchmark.total.table01.{key}"]
        assert entry.verdict == INCONSISTENT and "swapped" in entry.explanation


def test_a_small_gap_that_changes_the_order_is_major_else_minor(read):
    drop = tuple(name.replace("_", "-") for name in DIMENSIONS)
    near = ["80.20", "82.75", "70.08", *MOCHI[3:]]  # 80.216
    for printed, severity in (("80.28", "major"), ("80.10", "minor")):
        found = entries(read(wide(changed(MOCHI, "total", printed), near, drop=drop)))
        entry = found["small.benchmark.total.table01.m1"]
        assert (entry.verdict, entry.severity) == (INCONSISTENT, severity)


@pytest.mark.parametrize(
    ("printed", "known"),
    [("Object Class", "object_class"), ("Object Classes", ""), ("object-class", "object_class"),
     ("Human Actions", "human_action"),
     ("Multiple Object", "multiple_objects"), ("Physical Plausibility", ""), ("Instance Preservation", "")],
)  # fmt: skip
def test_names_of_dimensions(read, printed, known):
    scores = {name: ("0.50", "0.50") for name in ("Scene", "Color", printed)}
    (entry,) = (e for e in entries(read(tall(scores)), "dimension").values() if e.printed == printed)
    if known or printed == "Object Classes":  # a plural of two letters is near enough
        assert entry.verdict == CONSISTENT
    else:
        assert entry.verdict == INCONSISTENT
        assert entry.severity == ("minor" if printed == "Instance Preservation" else "major")


def test_as_many_dimensions_as_the_benchmark_has_must_be_its_own(read):
    scores = normalised("0.80")
    assert entries(read(tall(scores)), "complete")["small.benchmark.complete.table01.vbench"].sound
    del scores["Temporal Style"]
    scores["Physical Plausibility"] = ("0.80", "0.80")
    entry = entries(read(tall(scores)), "complete")["small.benchmark.complete.table01.vbench"]
    assert entry.verdict == INCONSISTENT and "temporal_style" in entry.computed
    del scores["Scene"]
    assert not entries(read(tall(scores)), "complete")  # a part of the dimensions claims nothing


def test_a_caption_counts_the_dimensions_that_are_there(read):
    scores = {name: ("0.80", "0.80") for name in ("Scene", "Color", "Temporal Style")}
    text = tall(scores).replace('"All dimensions."', '"Breakdown (3 of 16 dimensions)."')
    assert entries(read(text), "part")["small.benchmark.part.table01.vbench"].sound
    planted = text.replace("Scene", "Physical Plausibility")
    entry = entries(read(planted), "part")["small.benchmark.part.table01.vbench"]
    assert (entry.verdict, entry.severity) == (INCONSISTENT, "minor") and entry.computed.startswith("2 of vbench")


def test_a_score_outside_its_range_is_impossible(read):
    scores = normalised("0.80") | {"Scene": ("1.20", "1.00")}
    found = entries(read(tall(scores)), "range")
    assert found["small.benchmark.range.scene.table01.teacher"].verdict == IMPOSSIBLE
    assert found["small.benchmark.range.table01.student"].sound
    percent = {name: ("80.1", "99.9") for name in scores} | {"Scene": ("101.0", "100.0")}
    found = entries(read(tall(percent)), "range")
    assert {entry.id for entry in found.values() if not entry.sound} == {"small.benchmark.range.scene.table01.teacher"}


AVERAGE = """
[[table]]
id = "table01"
number = 1
place = "Table 1"
caption = ""
benchmark = "vbench"
columns = [
  { key = "method", label = "Method", kind = "name" },
  { key = "aesthetic", label = "Aesthetic Quality", kind = "number", role = "dimension", higher_is_better = true },
  { key = "imaging", label = "Imaging Quality", kind = "number", role = "dimension", higher_is_better = true },
  { key = "average", label = "Average", kind = "number", role = "average", higher_is_better = true },
]
rows = [["Ours", "%s", "%s", "0.70"], ["Theirs", "0.60", "0.60", "0.60"]]
rules = ["average = (aesthetic + imaging) / 2"]

[[ranking]]
id = "best"
quote = "ours has the best VBench score"
place = "Section 1"
table = "table01"
better = ["Ours"]
worse = []
columns = ["average"]
"""


def test_a_claim_about_the_benchmark_from_a_mean_of_two_dimensions_needs_a_run(read):
    found = entries(read(AVERAGE % ("0.70", "0.70")))
    assert found["small.benchmark.average.table01.average"].sound
    assert found["small.benchmark.average.ranking.best"].verdict == NEEDS_A_RUN
    unclaimed = (AVERAGE % ("0.70", "0.70")).replace("best VBench score", "best mean")
    assert "small.benchmark.average.ranking.best" not in entries(read(unclaimed))


def test_an_unknown_benchmark_is_a_users_error(read):
    with pytest.raises(UserError, match="vbench"):
        entries(read(tall(normalised("0.8")).replace('"vbench"', '"v-bench"')))


def test_the_shipped_papers():
    """What must come out, and nothing that accuses beyond it."""
    faults = {}
    for name in ("alice", "avd", "dfd"):
        faults |= {e.id: (e.verdict, e.severity) for e in check(Record((load_paper(name),))) if not e.sound}
    assert faults == {
        "alice.benchmark.dimension.table05.physical-plausibility": (INCONSISTENT, "major"),
        "alice.benchmark.dimension.table11.physical-plausibility": (INCONSISTENT, "major"),
        "alice.benchmark.complete.table11.vbench": (INCONSISTENT, "major"),
        "alice.benchmark.part.table05.vbench": (INCONSISTENT, "minor"),
        "alice.benchmark.total.table11.teacher": (IMPOSSIBLE, "fatal"),
        "alice.benchmark.total.table11.student": (IMPOSSIBLE, "fatal"),
        "avd.benchmark.total.table01.vbench.pcm-1.3b": (INCONSISTENT, "minor"),
        "avd.benchmark.total.table01.vbench.dcm-1.3b": (INCONSISTENT, "minor"),
        "dfd.benchmark.average.ranking.best-vbench": (NEEDS_A_RUN, "minor"),
    }


def test_correcting_a_cell_makes_its_finding_vanish_and_planting_one_makes_it_appear(edit):
    swapped = edit("avd", {'"79.36"': '"79.27x"', '"79.27"': '"79.36"', '"79.27x"': '"79.27"'})
    found = {e.id: e for e in check(Record((load_paper_file(swapped),))) if e.rule == "benchmark.total"}
    assert len(found) == 24 and all(entry.sound for entry in found.values())
    planted = edit("avd", {'"59.06"': '"65.09x"', '"65.09"': '"59.06"', '"65.09x"': '"65.09"'})
    found = {e.id: e for e in check(Record((load_paper_file(planted),))) if e.rule == "benchmark.total"}
    assert found["avd.benchmark.total.table01.vbench-2.0.ours-14b"].severity == "fatal"
