"""Progress lines: few, true, and only where they belong."""

from __future__ import annotations

import re

import pytest

from alice_repro import progress
from alice_repro.errors import UserError


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves; log mode."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setenv("ALICE_REPRO_PROGRESS", "log")
    return now


def run(clock, capsys, updates: int, seconds_each: float) -> list[str]:
    for _ in progress.track(updates, "train"):
        clock[0] += seconds_each
    return capsys.readouterr().err.splitlines()


def test_a_thousand_updates_print_a_line_each_tenth(clock, capsys):
    lines = run(clock, capsys, 1000, 0.1)
    assert len(lines) == 10
    assert [int(re.search(r"(\d+)%", line)[1]) for line in lines] == list(range(10, 101, 10))
    # 100 of 1,000 updates at 10/s: 900 are left, 90 s.
    assert lines[0] == "train: 100/1,000 (10%), 10.0/s, ETA 1 min 30 s, after 10 s"
    assert lines[-1] == "train: 1,000/1,000 (100%), 10.0/s, after 1 min 40 s"


def test_slow_work_speaks_each_half_minute(clock, capsys):
    lines = run(clock, capsys, 100, 12.0)  # 20 minutes; a tenth takes 2
    assert len(lines) == pytest.approx(1200 / 36, abs=2)
    assert "12.0 s each" in lines[0]


def test_quick_work_prints_its_last_line_alone(clock, capsys):
    assert run(clock, capsys, 1000, 0.0001) == ["train: 1,000/1,000 (100%), 10,000.0/s, after 0 s"]


def test_work_of_unknown_length(clock, capsys):
    for _ in progress.track((i for i in range(50)), "clips"):
        clock[0] += 1.0
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["clips: 30, 1.0/s, after 30 s", "clips: 50, 1.0/s, after 50 s"]


def test_a_resumed_run_counts_only_its_own_rate(clock, capsys):
    with progress.Progress(1000, "train", start=900) as bar:
        clock[0] += 50
        bar.advance(50, "loss 0.25")
    first = capsys.readouterr().err.splitlines()[0]
    assert first == "train: 950/1,000 (95%), 1.0/s, ETA 50 s, after 50 s, loss 0.25"


def test_a_loop_that_breaks_says_where(clock, capsys):
    with pytest.raises(RuntimeError):
        with progress.Progress(10, "train") as bar:
            bar.advance(3)
            raise RuntimeError
    assert "3/10 (30%)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "log"),  # under pytest stderr is no terminal
        ({"ALICE_REPRO_PROGRESS": "rich"}, "rich"),
        ({"ALICE_REPRO_PROGRESS": "off"}, "off"),
        ({"ALICE_REPRO_HEADLESS": "1"}, "log"),
        ({"ALICE_REPRO_PROGRESS": "rich", "RANK": "1"}, "off"),
        ({"ALICE_REPRO_PROGRESS": "rich", "RANK": "0"}, "rich"),
    ],
)
def test_mode(monkeypatch, environment, expected):
    for name in ("ALICE_REPRO_PROGRESS", "ALICE_REPRO_HEADLESS", "RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert progress.mode() == expected


def test_a_terminal_gets_bars_unless_headless(monkeypatch):
    for name in ("ALICE_REPRO_PROGRESS", "ALICE_REPRO_HEADLESS", "RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    assert progress.mode() == "rich"
    monkeypatch.setenv("ALICE_REPRO_HEADLESS", "1")
    assert progress.mode() == "log"


def test_unknown_mode(monkeypatch):
    monkeypatch.setenv("ALICE_REPRO_PROGRESS", "ritch")
    with pytest.raises(UserError, match="did you mean 'rich'"):
        progress.mode()


def test_off_is_silent_but_messages_are_not(monkeypatch, capsys):
    monkeypatch.setenv("ALICE_REPRO_PROGRESS", "off")
    assert list(progress.track([1, 2, 3], "x")) == [1, 2, 3]
    assert capsys.readouterr() == ("", "")
    progress.log("a message")
    assert capsys.readouterr().err == "a message\n"


def test_nested_bars_share_one_display(monkeypatch, capsys):
    monkeypatch.setenv("ALICE_REPRO_PROGRESS", "rich")
    seen = []
    for _ in progress.track(2, "outer"):
        display = progress._RichView.shared
        for _ in progress.track(3, "inner"):
            seen.append(progress._RichView.shared is display)
            progress.log("[not markup]")
    assert seen == [True] * 6
    assert progress._RichView.shared is None
    assert capsys.readouterr().err.count("[not markup]") == 6


@pytest.mark.parametrize(("seconds", "text"), [(8.4, "8 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")])
def test_duration(seconds, text):
    assert progress.duration(seconds) == text
