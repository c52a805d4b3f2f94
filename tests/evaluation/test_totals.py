from __future__ import annotations

import json

import pandas as pd
import pytest

from alice_repro.errors import UserError
from alice_repro.evaluation.index import write_scores
from alice_repro.evaluation.totals import recompute_totals
from alice_repro.evaluation.vbench import suite, total

DIMENSIONS = list(suite("vbench").dimensions)
NAMES = [name.replace("_", " ").title() for name in DIMENSIONS]
# FlashVideo (arXiv 2502.05179) Table 1, percent: total, quality, semantic, then the dimensions in order.
PUBLISHED = {
    "Mochi-1": "80.13 82.64 70.08 96.99 97.28 99.40 99.02 61.85 56.94 60.64 "
    "86.51 50.47 94.60 79.73 69.24 36.99 20.33 23.65 25.15",
    "CogVideoX-5B": "81.61 82.75 77.04 96.23 96.52 98.66 96.92 70.97 61.98 62.90 "
    "85.23 62.11 99.40 82.81 66.35 53.20 24.91 25.38 27.59",
}
HEADER = ["Total Score", "Quality Score", "Semantic Score", *NAMES]


def rows(**changes: str) -> dict[str, list[str]]:
    """The published rows; `changes` maps a dimension's or score's place to another cell in Mochi-1's."""
    table = {model: text.split() for model, text in PUBLISHED.items()}
    for place, cell in changes.items():
        table["Mochi-1"][int(place[1:])] = cell
    return table


def wide(path, table: dict[str, list[str]]):
    lines = [",".join(["Models", *HEADER]), *(",".join([model, *cells]) for model, cells in table.items())]
    path.write_text("\n".join(lines))
    return path


def score(totals, model: str, name: str) -> pd.Series:
    return totals.table.set_index(["model", "score"]).loc[(model, name)]


def test_published_rows_add_up_with_a_model_a_row(tmp_path):
    totals = recompute_totals(wide(tmp_path / "t.csv", rows()))
    assert (totals.suite, totals.unit) == ("vbench", "percent")
    assert totals.table["agrees"].all() and len(totals.table) == 6
    assert 100 * score(totals, "Mochi-1", "total")["low"] == pytest.approx(80.13, abs=0.0061)
    assert len(totals.notes) == 2, totals.notes
    assert "80.13" in totals.text() and "NO" not in totals.text()


def test_the_same_numbers_in_other_shapes(tmp_path):
    expected = score(recompute_totals(wide(tmp_path / "wide.csv", rows())), "Mochi-1", "total")["low"]
    table = rows()
    mochi, cog = (cells[3:] for cells in table.values())
    lines = [f"{name},{a},{b}" for name, a, b in zip(NAMES, mochi, cog, strict=True)]
    (tmp_path / "tall.csv").write_text("\n".join(["dimension,Mochi-1,CogVideoX-5B", *lines]))
    lines = [f"{name},{float(a) / 100:.4f}" for name, a in zip(DIMENSIONS, mochi, strict=True)]
    (tmp_path / "one.csv").write_text("\n".join(["dimension,score", *lines]))
    signs = {model: [f"{cell}%" for cell in cells] for model, cells in table.items()}
    tall, one = recompute_totals(tmp_path / "tall.csv"), recompute_totals(tmp_path / "one.csv")
    assert score(tall, "Mochi-1", "total")["low"] == pytest.approx(expected)
    assert score(one, "one", "total")["low"] == pytest.approx(expected) and one.unit == "fraction"
    assert tall.table["printed"].isna().all() and "agrees" not in tall.text()
    percent = recompute_totals(wide(tmp_path / "signs.csv", signs))
    assert "unit: percent, by its percent signs" in percent.notes
    frame = pd.DataFrame({"dimension": DIMENSIONS, "Mochi-1": [float(c) for c in mochi]})
    assert score(recompute_totals(frame), "Mochi-1", "total")["low"] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["t0", "t1", "t2"])
def test_a_printed_total_that_does_not_follow_is_named(name, tmp_path):
    """A tenth of a point off in the total, the quality or the semantic score."""
    place = int(name[1:])
    off = f"{float(rows()['Mochi-1'][place]) + 0.1:.2f}"
    totals = recompute_totals(wide(tmp_path / "t.csv", rows(**{name: off})))
    wrong = totals.table[~totals.table["agrees"]]
    assert list(wrong["score"]) == [["total", "quality", "semantic"][place]] and list(wrong["model"]) == ["Mochi-1"]
    assert any(f"printed as {off}" in note for note in totals.notes) and "NO" in totals.text() and not totals.sound
    assert recompute_totals(wide(tmp_path / "u.csv", rows())).sound


def test_a_changed_dimension_is_seen_in_group_and_total(tmp_path):
    totals = recompute_totals(wide(tmp_path / "t.csv", rows(d3="95.99")))  # subject consistency, a point less
    assert list(totals.table[~totals.table["agrees"]]["score"]) == ["total", "quality"]


@pytest.mark.parametrize("blank", ["", "-", "\u2014", "n/a"])
def test_a_missing_dimension_gives_an_interval(blank, tmp_path):
    totals = recompute_totals(wide(tmp_path / "t.csv", rows(d7=blank)))  # dynamic degree
    row = score(totals, "Mochi-1", "total")
    assert row["high"] - row["low"] == pytest.approx(0.8 * 0.5 / 6.5) and row["missing"] == 1
    assert row["low"] < 0.8013 < row["high"] and row["agrees"]
    assert score(totals, "Mochi-1", "semantic")["missing"] == 0
    assert any("not given" in note and "dynamic_degree" in note for note in totals.notes)
    assert " to " in totals.text()


def test_impossible_twin_and_out_of_range_are_noted(tmp_path):
    table = rows(d6="99.90")  # motion smoothness above the normalisation's 99.75
    table["Copy"] = list(table["CogVideoX-5B"])
    table["CogVideoX-5B"][11] = "103.0"
    totals = recompute_totals(wide(tmp_path / "t.csv", table))
    notes = totals.notes
    assert not totals.sound and any("impossible" in note and "multiple_objects 103" in note for note in notes)
    assert any("outside the range" in note and "motion_smoothness 99.9" in note for note in notes)
    table["CogVideoX-5B"] = list(table["Copy"])
    notes = recompute_totals(wide(tmp_path / "t.csv", table)).notes
    assert "Copy and CogVideoX-5B are the same in all 19 numbers" in notes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dimension,a\nsubject consistency,0.9\ncolor,85", "percent or fraction"),
        ("dimension,a\nsubject consistency,90%\ncolor,85", "one way"),
        ("dimension,a\nsubject consistency,90\nimaging quality,60", "vbench or vbench-i2v"),
        ("dimension,a\nsubject consistency,90\ncolour,60", "has no 'colour'"),
        ("dimension,a\ncolor,90\ncolor,60", "stands twice"),
        ("dimension,a\ncolor,90\nColor,60", "given twice"),
        ("dimension,a\ncolor,about 90", "is no number"),
        ("name,a\nx,90", "neither"),
        ("color\n90", "a column of names"),
        ("", "not a readable CSV"),
    ],
)
def test_what_cannot_be_told_is_asked_for(text, message, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        recompute_totals(tmp_path / "t.csv")


def test_unit_and_suite_may_be_said(tmp_path):
    (tmp_path / "t.csv").write_text("dimension,a\nsubject consistency,90\ncolor,0.5")
    totals = recompute_totals(tmp_path / "t.csv", "vbench", "percent")
    assert totals.aggregates["a"].missing == tuple(d for d in DIMENSIONS if d not in ("subject_consistency", "color"))
    with pytest.raises(UserError, match="no such file"):
        recompute_totals(tmp_path / "absent.csv")
    with pytest.raises(UserError, match="unknown unit"):
        recompute_totals(tmp_path / "t.csv", "vbench", "points")


def test_the_other_suites():
    i2v = pd.DataFrame({"d": ["i2v subject", "Camera Motion", "temporal flickering"], "m": [0.9, 0.4, 0.98]})
    totals = recompute_totals(i2v)
    assert totals.suite == "vbench-i2v" and any("left out: temporal flickering" in note for note in totals.notes)
    second = pd.DataFrame({"d": list(suite("vbench-2.0").dimensions), "m": [50.0] * 18})
    totals = recompute_totals(second)
    assert totals.suite == "vbench-2.0" and set(totals.table["low"]) == {0.5} and len(totals.table) == 6


def test_score_table_of_ours(tmp_path):
    table = pd.DataFrame({"video": ["a", "b", "c"], "caption": "x", "prompt_id": "", "seed": pd.NA, "run": pd.NA})
    table["arm"] = ["s", "s", "t"]
    table["color"], table["color_reason"] = [0.5, None, 1.0], ["", "broken", ""]
    table["sharpness"] = [3.0, 4.0, 5.0]
    write_scores(tmp_path / "scores.csv", table.astype({"seed": "Int64", "run": "Int64"}))
    totals = recompute_totals(tmp_path / "scores.csv")
    assert score(totals, "t", "semantic")["low"] - score(totals, "s", "semantic")["low"] == pytest.approx(0.5 / 9)
    assert any("left out: sharpness" in note for note in totals.notes)
    assert any("s: color is the mean of 1 of 2 videos" in note for note in totals.notes)


def test_official_result_files(tmp_path):
    full = {name: 0.5 for name in DIMENSIONS}
    content = {name: [value, [{"video_path": "a.mp4", "video_results": value}]] for name, value in full.items()}
    parts = {"one": DIMENSIONS[:9], "two": DIMENSIONS[9:]}
    for name, members in parts.items():
        (tmp_path / f"{name}_eval_results.json").write_text(json.dumps({m: content[m] for m in members}))
    totals = recompute_totals(tmp_path)
    assert totals.table["low"][0] == pytest.approx(total(full).total.low) and totals.unit == "fraction"
    text = json.dumps(content | {"color": [float("nan"), []]})
    (tmp_path / "x.json").write_text(text)
    totals = recompute_totals(tmp_path / "x.json")
    assert totals.aggregates["x"].missing == ("color",)
    (tmp_path / "bad.json").write_text("[1]")
    with pytest.raises(UserError, match="not an official result file"):
        recompute_totals(tmp_path / "bad.json")
