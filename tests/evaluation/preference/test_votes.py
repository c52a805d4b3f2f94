from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from alice_repro.errors import UserError
from alice_repro.evaluation.preference.votes import VoteLog, read_votes


def test_a_line_that_a_kill_cut_short_does_not_count_and_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "votes.jsonl"
    path.write_bytes(b'{"n": 1}\n{"n": 2}\n{"n": 3, "ra')
    assert [event["n"] for event in read_votes(path)] == [1, 2]
    log = VoteLog(path)
    log.append({"n": 4, "rater": "jürgen"})
    log.close()
    assert [event["n"] for event in read_votes(path)] == [1, 2, 4]
    assert path.read_bytes().endswith('"rater": "jürgen"}\n'.encode())


def test_a_damaged_line_is_named_and_not_skipped(tmp_path):
    path = tmp_path / "votes.jsonl"
    path.write_bytes(b'{"n": 1}\n{"n": \n{"n": 3}\n')
    with pytest.raises(UserError, match="line 2 is damaged"):
        VoteLog(path)
    assert path.read_bytes() == b'{"n": 1}\n{"n": \n{"n": 3}\n'


def test_one_process_at_a_time(tmp_path):
    log = VoteLog(tmp_path / "votes.jsonl")
    with pytest.raises(UserError, match="open already"):
        VoteLog(tmp_path / "votes.jsonl")
    log.close()
    VoteLog(tmp_path / "votes.jsonl").close()


def test_a_full_disk_leaves_no_half_line(tmp_path, monkeypatch):
    log = VoteLog(tmp_path / "votes.jsonl")
    log.append({"n": 1})
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        log.append({"n": 2})
    monkeypatch.undo()
    log.append({"n": 3})
    log.close()
    assert [event["n"] for event in read_votes(log.path)] == [1, 3] == [event["n"] for event in log.events]


def test_what_was_confirmed_survives_kill_9(tmp_path):
    code = (
        "import sys; from alice_repro.evaluation.preference.votes import VoteLog\n"
        "log = VoteLog(sys.argv[1]); n = 0\n"
        "while True:\n    log.append({'n': n, 'text': 'x' * 3000}); print(n, flush=True); n += 1\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "votes.jsonl")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        confirmed = [int(process.stdout.readline()) for _ in range(20)]
        process.send_signal(signal.SIGKILL)
        confirmed += [int(line) for line in process.stdout.read().split("\n")[:-1]]
    kept = [event["n"] for event in VoteLog(tmp_path / "votes.jsonl").events]
    assert kept == list(range(len(kept)))
    assert len(confirmed) <= len(kept) <= len(confirmed) + 1
