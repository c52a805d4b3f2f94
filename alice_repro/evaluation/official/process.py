"""A program run to its end: its time limited, its words kept in a file, its exit status believed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

GRACE_SECONDS = 10.0
TAIL_LINES, TAIL_CHARACTERS = 6, 600


@dataclass(frozen=True)
class Outcome:
    """How it ended.

    Attributes:
        code: exit status; negative: the signal that ended it.
        tail: its last lines.
    """

    code: int
    seconds: float
    timed_out: bool
    tail: str

    def failure(self) -> str:
        """Why it failed, in a sentence; "" if it did not."""
        if self.timed_out:
            return f"stopped after {self.seconds:.0f} s, its time limit"
        if self.code == 0:
            return ""
        if self.code < 0:
            name = signal.Signals(-self.code).name
            memory = " (often: out of memory)" if name == "SIGKILL" else ""
            return f"ended by {name}{memory}: {self.tail or 'it said nothing'}"
        return f"failed with exit status {self.code}: {self.tail or 'it said nothing'}"


def run(
    command: Sequence[str], log: Path, *, cwd: Path, env: Mapping[str, str], timeout: float | None = None
) -> Outcome:
    """Run a program in a process group of its own, so that it ends with all that it started.

    Args:
        log: takes its output, standard and error.
        timeout: seconds after which it is stopped; None for no limit.
    """
    start = time.monotonic()
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=dict(env),
            start_new_session=True,
        )
        timed_out = False
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            _end(process)
    return Outcome(process.returncode, time.monotonic() - start, timed_out, tail(log))


def tail(log: Path) -> str:
    """The last lines that a program wrote, bars and underlining left out."""
    text = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n")
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line.strip("^~ ") and "it/s]" not in line and "s/it]" not in line]
    return " | ".join(lines[-TAIL_LINES:])[-TAIL_CHARACTERS:]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what still runs of the group: the program itself, or children that outlived it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            break
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
