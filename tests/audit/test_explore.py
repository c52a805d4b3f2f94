"""What the notebook calls: filters, and time floors that are the rule's own until something is assumed."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from alice_repro.audit import explore
from alice_repro.audit.findings import CONSISTENT, IMPOSSIBLE, INCONSISTENT
from alice_repro.audit.limits_time import check_times
from alice_repro.audit.run import audit, load_records
from alice_repro.errors import UserError
from alice_repro.workflow.notebook import run_notebook

FOLDER = Path(__file__).parents[2] / "notebooks/audit"
NOTEBOOK, EXAMPLE = FOLDER / "claims.ipynb", FOLDER / "my_table.toml"

# One evaluation of a model of 1 layer, width 1000, on 1 latent frame of 100 x 100 tokens without text:
# 8 n d^2 + 4 n^2 d + 4 n d f = 8e10 + 4e11 + 16e10 = 0.64 TFLOP with n = 10^4, f = 4000.
MADE_UP = """
[paper]
id = "mine"
title = "Invented"
[[sentence]]
place = "Section 1"
quote = "In 1000 steps it takes {seconds}."
values = [{{ id = "steps", printed = "1000", exact = true }}, {{ id = "seconds", printed = "{seconds}" }}]
[[model]]
id = "net"
name = "net"
place = "Section 1"
basis = "stated"
layers = 1
hidden = 1000
heads = 10
mlp = 4000
patch = [1, 1, 1]
stride = [1, 8, 8]
[[timing]]
id = "run"
model = "net"
place = "Section 1"
gpus = ["a100-80gb"]
width = 800
height = 800
frames = [1, 2]
evaluations = [1, 2]
steps = "steps"
seconds = "seconds"
"""


@pytest.fixture
def made_up(tmp_path):
    """The record above, with a printed time."""

    def write(seconds: str):
        path = tmp_path / "mine.toml"
        path.write_text(MADE_UP.format(seconds=seconds), encoding="utf-8")
        return load_records(my_table=path)[0]

    return write


@pytest.fixture(scope="module")
def report():
    return audit(load_records(my_table=EXAMPLE))


def test_the_example_holds_but_for_its_two_planted_faults(report):
    faults = {(f.rule, f.place.partition(",")[2].partition(",")[0].strip()) for f in report.findings}
    assert {rule for rule, _ in faults if not rule.startswith("repairs")} == {"benchmark.total", "arithmetic.row"}
    assert {place for _, place in faults} == {"Table 1", "Table 2"}
    assert len(report.sound) > 15


@pytest.mark.parametrize(("wrong", "right", "left"), [("84.94", "82.94", "Table 2"), ("+3.6", "+2.6", "Table 1")])
def test_a_planted_fault_of_the_example_vanishes_when_it_is_corrected(tmp_path, wrong, right, left):
    path = tmp_path / "mine.toml"
    path.write_text(EXAMPLE.read_text("utf-8").replace(wrong, right), encoding="utf-8")
    found = audit(load_records(my_table=path)).findings
    assert found and all(left in finding.place for finding in found)


def test_select(report):
    assert explore.select(report) == report.entries
    assert {e.rule for e in explore.select(report, rule="benchmark")} == {
        e.rule for e in report.entries if e.rule.startswith("benchmark.")
    }
    chosen = explore.select(report, paper="example", verdict=CONSISTENT, severity="note", rule="arithmetic.row")
    assert chosen and all((e.verdict, e.rule) == (CONSISTENT, "arithmetic.row") for e in chosen)
    assert explore.select(report, verdict=INCONSISTENT, severity="note") == ()
    with pytest.raises(UserError, match="unknown rule 'benchmrk': did you mean 'benchmark'"):
        explore.select(report, rule="benchmrk")


def test_find_and_frame(report):
    entry = report.findings[0]
    assert explore.find(report, entry.id) is entry
    with pytest.raises(UserError, match="unknown entry ''"):
        explore.find(report, "")
    frame = explore.frame(report.entries)
    assert list(frame["id"]) == [e.id for e in report.entries] and frame["printed"][0] == entry.printed
    assert list(explore.frame(()).columns) == list(frame.columns)


def test_a_floor_in_closed_form(made_up):
    """640 TFLOP: 2.05 s at bf16's 312 TFLOP/s, half of that at int8's 624; four times the guidance and half use."""
    record = made_up("1.2 s")
    best = explore.time_floor(record, "run")
    assert best.seconds == pytest.approx(640 / 624) and best.printed == pytest.approx(1.25)
    assert best.verdict == CONSISTENT and not best.assumed
    bf16 = explore.time_floor(record, "run", precision="bf16")
    assert bf16.seconds == pytest.approx(640 / 312) and bf16.verdict == IMPOSSIBLE and bf16.assumed
    slow = explore.time_floor(record, "run", utilisation=0.5, evaluations=2)
    assert slow.seconds == pytest.approx(4 * 640 / 624)
    more = explore.time_floor(record, "run", frames=2)  # n doubles: linear parts twice, attention's products four times
    assert more.seconds == pytest.approx((2 * 240 + 4 * 400) / 624)
    assert explore.time_floor(made_up("0.9 s"), "run").verdict == IMPOSSIBLE


def test_all_floors(made_up):
    table = explore.time_floors(made_up("1.2 s"), "run", utilisations=(1.0, 0.5))
    assert len(table) == 2 * 2 * 2  # precisions, frames, guidance
    assert (table["50 %"] >= 2 * table["100 %"] - 0.11).all()
    first = table.iloc[0]
    assert (first["precision"], first["frames"], first["100 %"]) == ("bf16", 1, 2.1)


def test_without_an_assumption_a_floor_is_that_of_the_rule():
    checked = 0
    for record in load_records():
        verdicts = {f.id.rpartition(".")[2]: f.verdict for f in check_times(record) if f.rule == "limits.time"}
        for name in set(explore.timings(record)) & set(verdicts):
            assert explore.time_floor(record, name).verdict == verdicts[name]
            checked += 1
    assert checked >= 15


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"timing": "runs"}, "unknown timing 'runs': did you mean 'run'"),
        ({"gpu": "a100"}, "unknown GPU 'a100': did you mean 'a100-"),
        ({"precision": "fp8"}, "unknown precision 'fp8'"),  # which this GPU has no units for
        ({"utilisation": 0}, "above 0 and up to 1"),
        ({"utilisation": 1.1}, "above 0 and up to 1"),
        ({"frames": -1}, "counts"),
    ],
)
def test_what_cannot_be_assumed(made_up, changes, message):
    with pytest.raises(UserError, match=message):
        explore.time_floor(made_up("1 s"), **{"timing": "run"} | changes)


def test_the_cells_of_the_notebook_run(capsys):
    """In this process, as a kernel takes seconds to start."""
    code = [cell.source for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]
    names: dict[str, object] = {}
    for cell in (code[0], "precision, utilisation, rule = 'bf16', 0.5, 'limits.time'", *code[1:]):
        exec(compile(cell, NOTEBOOK.name, "exec"), names)
    printed = capsys.readouterr().out
    assert "50 % of NVIDIA H100 SXM5 80GB, bf16" in printed
    assert "all that the text leaves open in its favour" in printed and "if that is assumed" in printed
    assert names["shown"].rule == "limits.time"


@pytest.mark.slow
def test_the_notebook_runs_under_papermill(tmp_path):
    run_notebook(NOTEBOOK, tmp_path / "claims.ipynb", {"verdict": IMPOSSIBLE}, timeout=120, cwd=tmp_path)
