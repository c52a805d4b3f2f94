"""The strict runner: what it refuses, what it keeps, and what a kernel under it sees."""

from __future__ import annotations

import os
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from alice_repro.errors import UserError
from alice_repro.workflow import notebook
from alice_repro.workflow.layout import CHECKOUT
from alice_repro.workflow.notebook import NotebookError, check_parameters, parameters_of, run_notebook

PARAMETERS = 'scale = "smoke"\nsteps: int = 4\nrate = 1.5\nverbose = False\nruns = [0]\nfolder = None\n'


def make(path, *code: str, parameters: str | None = PARAMETERS):
    """Write a notebook: a title, the parameters cell, then the given code cells."""
    cells = [new_markdown_cell("# A title")]
    if parameters is not None:
        cells.append(new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    nbformat.write(new_notebook(cells=cells + [new_code_cell(c) for c in code]), path)
    return path


def text_of(path) -> str:
    outputs = [o for c in nbformat.read(path, 4).cells for o in c.get("outputs", [])]
    return "".join(o.get("text", "") for o in outputs)


def test_parameters_reach_the_cells_and_prints_reach_the_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("ALICE_REPRO_PROGRESS", raising=False)
    body = [
        "import os, sys\nfrom alice_repro import manifest, progress",
        "print(scale, steps, rate, type(rate).__name__, verbose)",
        "print(progress.mode(), os.environ['ALICE_REPRO_HEADLESS'], manifest._command())",
        "print(os.path.realpath(sys.prefix))",
        "for _ in progress.track(5, 'clips'): pass",
    ]
    source = make(tmp_path / "in.ipynb", *body)
    before = source.read_bytes()
    (tmp_path / "out.failed.ipynb").write_text("of an earlier run")
    output = run_notebook(source, tmp_path / "runs" / "out.ipynb", {"steps": 8, "rate": 2})
    printed = capsys.readouterr().out
    assert "smoke 8 2.0 float False\n" in printed
    assert f"log 1 papermill {source.as_posix()} steps=8 rate=2.0\n" in printed
    assert "clips: 5/5 (100%)" in printed
    assert text_of(output) == printed
    assert os.path.realpath(sys.prefix) in printed  # the kernel is this environment's
    assert "ALICE_REPRO_HEADLESS" not in os.environ
    assert source.read_bytes() == before
    assert [p.name for p in output.parent.iterdir()] == ["out.ipynb"]


@pytest.mark.parametrize(("raised", "exit_code"), [("ValueError", 1), ("UserError", 2)])
def test_a_failing_cell_keeps_the_copy_under_another_name(tmp_path, raised, exit_code):
    lines = "from alice_repro.errors import UserError\nprint('as far as here')"
    source = make(tmp_path / "in.ipynb", lines, f"# the third\nraise {raised}('too bad')", "print('never')")
    output = tmp_path / "out {a}.ipynb"
    output.write_text("the last good copy")
    with pytest.raises(NotebookError) as caught:
        run_notebook(source, output)
    message = str(caught.value)
    assert f"cell 4 of 5 (# the third): {raised}: too bad" in message
    assert "out {a}.failed.ipynb" in message
    assert caught.value.exit_code == exit_code
    assert output.read_text() == "the last good copy"
    kept = tmp_path / "out {a}.failed.ipynb"
    assert "as far as here" in text_of(kept) and "never" not in text_of(kept)
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_cell_over_its_time_limit(tmp_path):
    source = make(tmp_path / "in.ipynb", "import time; time.sleep(60)")
    with pytest.raises(NotebookError, match="longer than its limit"):
        run_notebook(source, tmp_path / "out.ipynb", timeout=1)
    assert not (tmp_path / "out.ipynb").exists()
    assert not list(tmp_path.glob(".tmp-*"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"step": 8}, "unknown parameter 'step': did you mean 'steps'"),
        ({"rate": "1e-5"}, "'rate' must be float .*got the str '1e-5'"),
        ({"steps": 4.0}, "'steps' must be int"),
        ({"steps": True}, "'steps' must be int .*got the bool True"),
        ({"verbose": 1}, "'verbose' must be bool"),
        ({"scale": 1}, "'scale' must be str"),
        ({"scale": None}, "'scale' must be str"),
    ],
)
def test_wrong_parameters_stop_before_a_kernel_starts(tmp_path, monkeypatch, given, message):
    monkeypatch.setattr(notebook, "_execute", lambda *_: pytest.fail("executed"))
    source = make(tmp_path / "in.ipynb")
    with pytest.raises(UserError, match=message) as caught:
        run_notebook(source, tmp_path / "out.ipynb", given)
    assert caught.value.exit_code == 2
    assert [p.name for p in tmp_path.iterdir()] == ["in.ipynb"]


def test_accepted_values():
    defaults = {"rate": 1.5, "runs": [0], "folder": None}
    checked = check_parameters(defaults, {"rate": 2, "runs": (1, 2), "folder": "x"}, "n")
    assert checked == {"rate": 2.0, "runs": [1, 2], "folder": "x"}
    assert type(checked["rate"]) is float


def test_parameters_of(tmp_path):
    expected = dict(scale="smoke", steps=4, rate=1.5, verbose=False, runs=[0], folder=None)
    assert parameters_of(make(tmp_path / "in.ipynb")) == expected


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (None, "exactly one code cell tagged 'parameters', found 0"),
        ("steps = 2 * 2", "literal"),
        ("import os", "line 1"),
        ("a = 1\na.b = 2", "line 2"),
        ("a =", "literal assignments only"),
    ],
)
def test_a_bad_parameters_cell(tmp_path, parameters, message):
    source = make(tmp_path / "in.ipynb", parameters=parameters)
    with pytest.raises(UserError, match=message):
        parameters_of(source)


def test_two_parameters_cells(tmp_path):
    source = make(tmp_path / "in.ipynb")
    node = nbformat.read(source, 4)
    node.cells.append(new_code_cell("a = 1", metadata={"tags": ["parameters"]}))
    nbformat.write(node, source)
    with pytest.raises(UserError, match="found 2"):
        parameters_of(source)


def test_what_an_earlier_run_left_in_the_source_is_dropped(tmp_path):
    source = make(tmp_path / "in.ipynb", "print('now')", "pass")
    node = nbformat.read(source, 4)
    node.metadata["papermill"] = {"parameters": {"steps": "left over"}}
    node.cells[3].outputs = [new_output("stream", name="stdout", text="stale")]
    node.cells.insert(2, new_code_cell("steps = 'left over'", metadata={"tags": ["injected-parameters"]}))
    nbformat.write(node, source)
    output = run_notebook(source, tmp_path / "out.ipynb")
    assert text_of(output) == "now\n"
    assert "left over" not in output.read_text()


def test_sources_that_cannot_be_run(tmp_path):
    source = make(tmp_path / "train.ipynb")
    with pytest.raises(UserError, match=r"no such notebook; did you mean 'train\.ipynb'"):
        run_notebook(tmp_path / "trian.ipynb", tmp_path / "out.ipynb")
    with pytest.raises(UserError, match="must not replace"):
        run_notebook(source, source)
    source.write_text("{")
    with pytest.raises(UserError, match="not a notebook"):
        run_notebook(source, tmp_path / "out.ipynb")


def test_the_command_names_a_notebook_of_the_checkout_without_the_machines_folders():
    command = notebook._command(CHECKOUT / "notebooks" / "00_tour.ipynb", {"scale": "lab", "settings": []})
    assert command == "papermill notebooks/00_tour.ipynb scale=lab 'settings=[]'"
