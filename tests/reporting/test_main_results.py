"""Table 4, Figure 1, the page and the notebook, on fabricated experiments."""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from fabricate import write_arm

from alice_repro.errors import UserError
from alice_repro.evaluation.index import read_scores
from alice_repro.manifest import verify_manifest
from alice_repro.papers import load_paper
from alice_repro.reporting import calibration as calibration_module
from alice_repro.reporting import main_results as report
from alice_repro.reporting.curves import read_log, training_curve
from alice_repro.reporting.dimensions import coverage
from alice_repro.reporting.dose_response import dose_response
from alice_repro.workflow.notebook import run_notebook
from alice_repro.world.scene import ATTRIBUTES

ROOT = Path(__file__).resolve().parents[2]
FAST = ("protocol.bootstrap=60",)
PRINTED = load_paper("alice").table(4)


@pytest.fixture(autouse=True)
def quick_calibration(monkeypatch):
    monkeypatch.setattr(calibration_module, "DRAWS", 20)
    monkeypatch.setattr(calibration_module.calibration, "__defaults__", ((), 4))


class Links(HTMLParser):
    """What the tags of a page refer to; the text of scripts does not count."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("src", "href") and value]


def folders(home: Path) -> tuple[Path, Path, Path]:
    return home / "results" / "lab", home / "figures" / "lab", home / "results" / "reference" / "lab"


def study(home: Path) -> report.Study:
    return report.load_study("lab", *folders(home), FAST)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def one_run(experiment, tmp_path):
    """A fresh run with one teacher, 10 points better than it, and no record."""
    experiment(folders(tmp_path)[0], runs=1, shift=10)
    return tmp_path


def test_published_cells_are_as_printed_and_share_no_column_with_measured_ones(one_run):
    report.write_table04(study(one_run))
    rows = rows_of(folders(one_run)[0] / "alice" / "table04.csv")
    published = [name for name in rows[0] if name.startswith("published_")]
    measured = [name for name in rows[0] if name.startswith("lab_")]
    assert sorted(published + measured) == sorted(rows[0])
    assert [tuple(row[name] for name in published) for row in rows[: len(PRINTED.rows)]] == list(PRINTED.rows)
    assert all(not any(row[name] for name in published) for row in rows[len(PRINTED.rows) :])
    by_label = {row["published_model"]: row for row in rows[: len(PRINTED.rows)]}
    assert by_label["Sora2*"]["lab_note"] == by_label["Veo3*"]["lab_note"] == "not testable here (closed)"
    assert by_label["Mochi"]["lab_note"] == "not testable here (no weights at this scale)"
    assert not any(by_label[name]["lab_correct_and_sound_percent"] for name in ("Sora2*", "Veo3*", "Mochi"))
    markdown = (folders(one_run)[0] / "alice" / "table04.md").read_text()
    assert "lab, not VBench" in markdown and "~88" in markdown
    assert verify_manifest(folders(one_run)[0] / "alice") == []


def test_the_planted_numbers_are_in_the_table(one_run):
    report.write_table04(study(one_run))
    rows = {row["lab_arm"]: row for row in rows_of(folders(one_run)[0] / "alice" / "table04.csv") if row["lab_arm"]}
    student, teacher = rows["student (rcm), 4 steps"], rows["teacher, 50 steps"]
    assert float(teacher["lab_correct_and_sound_percent"]) == pytest.approx(50)
    assert float(student["lab_correct_and_sound_percent"]) == pytest.approx(60)
    assert float(student["lab_low_percent"]) < 60 < float(student["lab_high_percent"])
    assert (student["published_model"], teacher["published_model"]) == ("Alice v1", "Wan2.2")
    assert (student["lab_clips"], student["lab_captions"], student["lab_runs"]) == ("80", "20", "1")
    assert float(teacher["lab_evaluations_per_clip"]) == 100 and float(student["lab_evaluations_per_clip"]) == 4
    control = rows["teacher, 4 steps (control)"]
    assert float(control["lab_correct_and_sound_percent"]) == pytest.approx(25) and not control["published_model"]
    # Measure A is the seed's number here, so the choice is always the last of four clips.
    by_measure = rows["teacher, best of 4 by measure A"]
    full = read_scores(folders(one_run)[0] / "scores" / "trained" / "teacher-full.csv")
    assert float(by_measure["lab_correct_and_sound_percent"]) == 100 * full.loc[full["seed"] == 3, "endpoint"].mean()
    assert float(by_measure["lab_evaluations_per_clip"]) == 400 and float(by_measure["lab_seconds_per_clip"]) == 32
    bound = float(rows["teacher, best of 4 by the oracle (upper bound)"]["lab_correct_and_sound_percent"])
    assert bound == 100 * full.groupby("prompt_id")["endpoint"].max().mean()


def test_the_same_scores_give_the_same_bytes_and_other_scores_another_table(one_run):
    def made() -> dict[str, str]:
        report.write_table04(study(one_run))
        report.write_figure01(study(one_run))
        paths = [*(one_run / "results/lab/alice").glob("*.*"), *(one_run / "figures/lab/alice").glob("*.*")]
        digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
        return {name: digest for name, digest in digests.items() if name != "manifest.json"}

    first = made()
    assert set(first) >= {"table04.csv", "table04.md", "table04.html", "figure01.svg", "figure01.png", "figure01.html"}
    assert made() == first
    path = folders(one_run)[0] / "scores" / "trained" / "rcm-seed0.csv"
    endpoint = read_scores(path)["endpoint"].to_numpy().reshape(20, 4).copy()
    endpoint[0, 0] = 1 - endpoint[0, 0]
    write_arm(folders(one_run)[0], "trained", "rcm-seed0", endpoint, 0)
    second = made()
    assert all(second[name] != first[name] for name in first if "dimensions" not in name)


def test_the_figure_keeps_the_two_kinds_of_number_on_two_axes(one_run):
    from alice_repro.reporting.figure01 import draw, figure01_data, interactive

    data = figure01_data(PRINTED, study(one_run).measured)
    assert data.loc[data["panel"] == "published", "printed"].tolist() == [row[2] for row in PRINTED.rows]
    assert data.loc[data["estimated"], "label"].tolist() == ["Sora2*", "Veo3*"]
    left, right = draw(data).axes
    assert "published" in left.get_xlabel() and "not VBench" in right.get_xlabel()
    figure = interactive(data)
    assert {trace.xaxis for trace in figure.data} == {"x", "x2"}
    assert [trace.x[0] for trace in figure.data[1:]] == data.loc[data["panel"] == "lab", "value"].tolist()


def test_the_whole_report_stands_alone_and_says_the_verdict(experiment, tmp_path):
    results, figures, reference = folders(tmp_path)
    for teacher in ("trained", "exact"):
        experiment(results, teacher, runs=1, shift=20, snapshots=False)
        experiment(reference, teacher, runs=5, shift=20)
    lines = report.write_all("lab", results, figures, reference, FAST)
    assert lines[0].endswith("lab supports") and any("calibration, exact teacher" in line for line in lines)
    page = (results / "report.html").read_text()
    assert any(line.endswith(f"are not the record's: {FAST[0]}") for line in lines) and FAST[0] in page
    assert "lab supports" in page and "~88" in page and "make reproduce-table4 SCALE=lab" in page
    assert page.count("plotly.js v") == 1
    links = Links(page)
    assert links.found and all(link.startswith("data:image/") for link in links.found)
    assert verify_manifest(results) == [] and verify_manifest(figures / "alice") == []


def test_calibration_is_kept_until_the_scores_change(one_run):
    report.write_verdict(study(one_run))
    path = folders(one_run)[0] / "alice" / "calibration_trained.json"
    before = path.stat().st_mtime_ns
    report.write_verdict(study(one_run))
    assert path.stat().st_mtime_ns == before
    write_arm(folders(one_run)[0], "trained", "teacher-full", read_scores(
        folders(one_run)[0] / "scores/trained/teacher-short.csv")["endpoint"].to_numpy().reshape(20, 4))  # fmt: skip
    report.write_verdict(study(one_run))
    assert path.stat().st_mtime_ns != before


def test_nothing_measured_names_the_file_and_the_command(tmp_path):
    with pytest.raises(UserError, match="scores/trained/rcm-seed0.csv.*make reproduce-table4 SCALE=lab"):
        study(tmp_path)
    with pytest.raises(UserError, match="no verdict yet; run make reproduce-table4 SCALE=lab"):
        report.summary_lines(tmp_path / "lab")


def test_dose_response_counts_defects_by_setting(one_run):
    data = dose_response(study(one_run).fresh, 50)
    full = read_scores(folders(one_run)[0] / "scores" / "trained" / "teacher-full.csv")
    cave = full[full["caption"].str.contains("cave")]
    row = data[(data["arm"] == "teacher-full") & (data["setting"] == "cave")].iloc[0]
    assert row["prevalence"] == pytest.approx(70) and row["value"] == pytest.approx(100 * (1 - cave["sound"].mean()))
    assert data["clips"].sum() == 3 * len(full)


def test_training_log(tmp_path, one_run):
    run = folders(one_run)[0] / "runs" / "trained" / "rcm" / "seed0"
    figure = training_curve(run)
    assert [axes.get_title(loc="left") for axes in figure.axes][0] == "loss" and len(figure.axes) == 3
    with (run / "log.jsonl").open("a") as file:
        file.write('{"update": 101, "scm_lo')  # a kill in the middle of a line
    assert len(read_log(run / "log.jsonl")) == 100
    broken = tmp_path / "log.jsonl"
    broken.write_text('nonsense\n{"update": 1}\n')
    with pytest.raises(UserError, match="line 1"):
        read_log(broken)
    with pytest.raises(UserError, match="no such training log"):
        read_log(tmp_path / "nowhere.jsonl")


def test_reporting_imports_neither_torch_nor_the_drawing_libraries():
    modules = sorted(path.stem for path in (ROOT / "alice_repro" / "reporting").glob("*.py") if path.stem != "__init__")
    code = "; ".join(f"import alice_repro.reporting.{name}" for name in modules)
    code += "; import sys; print([m for m in ('torch', 'matplotlib', 'plotly', 'jinja2', 'cv2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_notebook_runs_headless(one_run, tmp_path):
    results, figures, reference = (path.as_posix() for path in folders(one_run))
    # So quick a calibration cannot be patched into a kernel; a finished one is found instead.
    report.write_verdict(study(one_run))
    kept = folders(one_run)[0] / "alice" / "calibration_trained.json"
    kept.write_text(kept.read_text().replace('"simulations": 4', '"simulations": 1000'))
    parameters = {
        "scale": "lab",
        "results": results,
        "figures": figures,
        "reference": reference,
        "settings": list(FAST),
    }
    output = run_notebook(ROOT / "notebooks/alice/main_results.ipynb", tmp_path / "out.ipynb", parameters, timeout=120)
    assert "lab inconclusive" in output.read_text() and (folders(one_run)[0] / "report.html").exists()


def test_a_frame_that_pandas_reads_back(one_run):
    report.write_table04(study(one_run))
    table = pd.read_csv(folders(one_run)[0] / "alice" / "table04.csv")
    assert table["lab_correct_and_sound_percent"].notna().sum() == 5 and len(table) == 9


def test_mode_coverage_is_shown_where_the_scores_tell_of_modes(one_run):
    arms = study(one_run).fresh[0]
    assert coverage([arms]) is None
    modes = {f"{name}_{mode}": 0.0 for name, shares in ATTRIBUTES.items() for mode in shares}
    # Every clip shows the first mode of each attribute: the distance is what the others should have had.
    always = {f"{name}_{next(iter(shares))}": 1.0 for name, shares in ATTRIBUTES.items()}
    tables = {name: getattr(arms, name).assign(**(modes | always)) for name in ("full", "short", "student")}
    sheet = coverage([replace(arms, **tables)])
    expected = sum(1 - next(iter(shares.values())) for shares in ATTRIBUTES.values()) / len(ATTRIBUTES)
    assert [row["distance"] for row in sheet.data] == pytest.approx([expected] * 3)
    assert [row["recall"] for row in sheet.rows] == ["0.0"] * 3
