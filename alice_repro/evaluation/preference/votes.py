"""The log of a study: one JSON object a line, only ever added to, on disk before anyone is told that it is kept."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from pathlib import Path
from typing import Any

from alice_repro.errors import UserError


class VoteLog:
    """The log, open for adding. One process at a time holds it.

    Args:
        path: of the JSONL file.
        durable: flush each line to the disk (a power cut loses nothing); else leave that to the system.

    Raises:
        UserError: another process has it open, or a line of it is damaged.
    """

    def __init__(self, path: str | Path, durable: bool = True) -> None:
        self.path, self.durable = Path(path), durable
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("ab", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise UserError(f"{self.path}: a page for this study is open already; use that, or end it first") from error
        # What a kill cut short was never confirmed to anyone.
        self._file.truncate(len(_whole_lines(self.path)))
        self.events = read_votes(self.path)

    def append(self, event: dict[str, Any]) -> None:
        """Add an event; when this returns it is kept. Raises `OSError`, with nothing added, if it cannot be."""
        line = (json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n").encode()
        size = os.fstat(self._file.fileno()).st_size
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self.durable:
                os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(size)  # half a line would spoil the next one
            raise
        self.events.append(event)

    def close(self) -> None:
        self._file.close()


def read_votes(path: str | Path) -> list[dict[str, Any]]:
    """All events of a log, in order; a last line without its end (a kill) does not count.

    Raises:
        UserError: there is no log, or a line is damaged.
    """
    events = []
    for number, line in enumerate(_whole_lines(Path(path)).splitlines(), start=1):
        try:
            events.append(json.loads(line))
        except ValueError as error:
            raise UserError(f"{path}: line {number} is damaged ({error}); mend or remove that line") from error
    return events


def _whole_lines(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no votes there") from error
    return content[: content.rfind(b"\n") + 1]
