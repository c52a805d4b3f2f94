"""The command line: exit codes, messages, and verbs that stay light until they are called."""

from __future__ import annotations

import subprocess
import sys

import pytest

from alice_repro import cli
from alice_repro.errors import UserError
from alice_repro.workflow import reference, reproduce


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "alice_repro", *arguments], capture_output=True, text=True)


def test_help_names_every_verb_and_loads_nothing_heavy():
    code = (
        "import sys\nfrom alice_repro.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code in (0, None)\n"
        "assert not {'torch', 'pandas', 'diffusers', 'snakemake', 'papermill'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for verb in (
        "reproduce",
        "train",
        "training-clips",
        "sample",
        "export",
        "evaluate",
        "lab-teacher",
        "validate-oracle",
    ):
        assert verb in done.stdout


def test_python_m_is_the_same_program():
    done = run("scales")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "alice-14b",
        "lab",
        "smoke",
        "wan-1.3b",
        "wan-14b",
    ]


def test_an_unknown_scale_is_named_with_the_nearest_and_nothing_else(capsys):
    assert cli.main(["reproduce", "alice", "table04", "--scale", "smokey"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: unknown scale 'smokey': did you mean 'smoke'?")
    assert len(printed.err.splitlines()) == 1


def test_debug_shows_where_an_error_comes_from(capsys):
    assert cli.main(["reproduce", "alice", "table04", "--scale", "smokey", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err
    assert cli.main(["reproduce", "alice", "table04", "--scale", "smokey"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_debug_reaches_the_processes_of_the_steps(capsys, monkeypatch):
    monkeypatch.setenv(cli.DEBUG, "1")
    assert cli.main(["reproduce", "alice", "table04", "--scale", "smokey"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["reproduc"], ["reproduce", "alice"], ["train", "--scales", "lab"], []])
def test_words_that_make_no_command_leave_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2


def stand_in(monkeypatch, error: BaseException) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(reproduce, "reproduce", fail)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("no such thing"), 2, "error: no such thing\n"),
        (reproduce.StepError("step failed", 1), 1, "error: step failed\n"),
        (ZeroDivisionError("by zero"), 1, "ZeroDivisionError: by zero\nThis is a fault in the code; add --debug"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_exit_codes_and_messages(error, code, message, monkeypatch, capsys):
    stand_in(monkeypatch, error)
    assert cli.main(["reproduce", "alice", "table04"]) == code
    printed = capsys.readouterr().err
    assert printed.startswith(message) and "Traceback" not in printed


def test_settings_and_cores_reach_the_workflow(monkeypatch):
    seen = []
    monkeypatch.setattr(reproduce, "reproduce", lambda *arguments: seen.append(arguments))
    words = "reproduce alice table04 --scale smoke --set teacher.steps=4 --set recipe.stages.0.updates=2 --cores 2"
    assert cli.main(words.split()) == 0
    assert seen == [("alice", "table04", "smoke", ("teacher.steps=4", "recipe.stages.0.updates=2"), 2)]


def test_seeds_of_the_record_are_numbers_or_ranges(monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(reference, "add_runs", lambda *arguments: seen.append(arguments) or [])
    assert cli.main("reference --scale smoke --teachers exact --seeds 0-2 7 1".split()) == 0
    assert seen == [("smoke", ("exact",), [0, 1, 2, 7], (), None)]
    assert cli.main("reference --seeds 0-x".split()) == 2
    assert "0-x" in capsys.readouterr().err
