"""The verb: what it prints and writes, exit codes, errors of a user's file, and what it does not load."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from alice_repro import cli
from alice_repro.audit import command

TABLE = """
[[table]]
id = "table01"
number = 1
place = "Table 1"
caption = "Scores."
columns = [
  { key = "model", label = "Model", kind = "name" },
  { key = "old", label = "Old", kind = "number" },
  { key = "new", label = "New", kind = "number" },
  { key = "gain", label = "Gain", kind = "number", role = "delta" },
]
rows = [["A", "0.50", "0.62", "+0.12"], ["B", "0.40", "0.47", "%s"]]
rules = ["gain = new - old"]
"""


def audit(*words: object) -> int:
    """The verb's exit code."""
    with pytest.raises(SystemExit) as end:
        cli.main(["audit", *map(str, words)])
    return end.value.code


def test_a_summary_is_printed_and_the_page_and_the_entries_are_written(tmp_path, capsys):
    assert audit("dfd", "--out", tmp_path) == 0
    printed = capsys.readouterr().out
    entries = json.loads((tmp_path / "audit-dfd.json").read_text(encoding="utf-8"))
    assert (tmp_path / "audit-dfd.html").read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html>")
    for finding in entries["findings"]:
        assert finding["place"][:30] in printed
    assert f"{len(entries['sound'])} hold, {len(entries['findings'])} do not" in printed
    assert str(tmp_path / "audit-dfd.html") in printed.replace("\n", "")


def test_a_part_does_not_replace_the_whole(tmp_path):
    for words in (["alice"], ["alice", "--table", "10"], ["avd", "dfd"]):
        assert audit(*words, "--out", tmp_path) == 0
    names = {path.name for path in tmp_path.glob("*.html")}
    assert names == {"audit-alice.html", "audit-alice-table10.html", "audit-avd-dfd.html"}


def test_json_is_all_that_is_printed_and_nothing_is_written(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert audit("avd", "--json") == 0
    assert set(json.loads(capsys.readouterr().out)) == {"findings", "sound", "notes"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("gain", "fail_on", "code"),
    [("+0.07", "minor", 0), ("+0.19", None, 0), ("+0.19", "fatal", 0), ("+0.19", "major", 1), ("+0.19", "minor", 1)],
)
def test_the_exit_code_is_0_unless_asked_for_1(write, tmp_path, capsys, gain, fail_on, code):
    words = ["--my-table", write(TABLE % gain), "--out", tmp_path]
    assert audit(*words, *(["--fail-on", fail_on] if fail_on else [])) == code
    assert ("1 do not" in capsys.readouterr().out) == (gain == "+0.19")
    assert (tmp_path / "audit-small.html").exists()


@pytest.mark.parametrize(
    ("toml", "key", "reason"),
    [
        (TABLE.replace("gain = new - old", "gain = new - odl") % "1", "rules[0]", "odl"),
        (TABLE.replace('kind = "name"', 'kind = "label"') % "1", "columns[0].kind", "label"),
        (TABLE % "much", "rows[1].gain", "'much' is not a number"),
        (TABLE.replace("caption", "captoin") % "1", "captoin", "caption"),
        ("[[table]", "line", "TOML"),
    ],
)
def test_a_malformed_file_is_an_error_with_file_key_and_reason(write, capsys, toml, key, reason):
    path = write(toml)
    assert cli.main(["audit", "--my-table", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path}") and key in error and reason in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["alise"], "unknown paper 'alise': did you mean 'alice'?"),
        (["alice", "--table", "99"], "no table 99"),
        (["alice", "--my-table", "mine.toml"], "not both"),
        (["--my-table", "absent.toml"], "absent.toml: no such file"),
    ],
)
def test_what_does_not_exist_is_an_error(words, message, capsys):
    assert cli.main(["audit", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_wrong_severity_leaves_with_2():
    assert audit("--fail-on", "note") == 2


def test_a_terminal_gets_lines_of_its_width(monkeypatch, capsys):
    from rich.console import Console

    from alice_repro.audit.run import load_records
    from alice_repro.audit.summary import print_summary

    print_summary(command.audit(load_records()), console=Console(width=100, force_terminal=True, color_system=None))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100


def test_nothing_heavy_is_loaded(tmp_path):
    code = (
        "import sys\nfrom alice_repro.cli import main\n"
        f"try:\n    main(['audit', '--out', {str(tmp_path)!r}])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'torch', 'pandas', 'scipy', 'plotly', 'matplotlib', 'diffusers', 'transformers', 'snakemake'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
