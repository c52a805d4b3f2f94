"""Snakemake's messages, reduced to what a person wants to know: which step starts, and why."""

from __future__ import annotations

import ast
import re
from collections import deque

_JOB = re.compile(r"Job \d+: (.*)")
_REASON = re.compile(r"Reason: (.*)")
_TOTAL = re.compile(r"total\s+(\d+)")
_PARAMS = re.compile(r"Params have changed since last execution: .*?before: (?P<before>.*) now: (?P<now>.*)")
_SEPARATOR = re.compile("; (?=Missing output|Incomplete output|Updated input|Input files|Set of input|Params have)")
_NOTHING = "<nothing exclusive>"
_FOLLOWS = "follows from a new "
# Beginnings of Snakemake's reasons, and the words for them; what follows the beginning is a list of files.
_WORDS = {
    "Missing output files: ": "not there yet",
    "Incomplete output files: ": "was cut short",
    "Updated input files: ": "newer than the result: ",
    "Input files updated by another job: ": _FOLLOWS,
    "Set of input files has changed since last execution": "it is made from other files than before",
    "Forced execution": "asked for",
}


class Narrator:
    """Takes Snakemake's stderr line by line.

    Attributes:
        started: steps that have begun.
        nothing: Snakemake found nothing to do.
        last: the last lines that say nothing on progress, for the case that Snakemake itself fails.
    """

    def __init__(self) -> None:
        self.started, self.total, self.nothing = 0, 0, False
        self.last: deque[str] = deque(maxlen=20)
        self._job = ""

    def tell(self, line: str) -> str | None:
        """What to print on a line, if anything."""
        line = line.strip()
        if match := _TOTAL.fullmatch(line):
            self.total = int(match[1])
        elif line.startswith("Nothing to be done"):
            self.nothing = True
        elif match := _JOB.fullmatch(line):
            self._job = match[1]
        elif match := _REASON.fullmatch(line):
            self.started += 1
            return f"[{self.started}/{self.total}] {self._job} ({plain_reason(match[1])})"
        elif line:
            self.last.append(line)
        return None


def plain_reason(reason: str) -> str:
    """Snakemake's reason in plain words: "teacher.guidance changed from 3.0 to 2.5"."""
    parts = [_plain(part) for part in _SEPARATOR.split(reason.strip())]
    changed = [part for part in parts if not part.startswith(_FOLLOWS)]
    return "; ".join(parts[:1] if parts[0] == _WORDS["Missing output files: "] else changed or parts)


def _plain(part: str) -> str:
    if match := _PARAMS.match(part):
        return _changes(_settings(match["before"]), _settings(match["now"]))
    for beginning, words in _WORDS.items():
        if part.startswith(beginning):
            return words + (_some(part.removeprefix(beginning)) if words.endswith(" ") else "")
    return part


def _some(files: str) -> str:
    first, *more = files.split(", ")
    return first + (f" and {len(more)} more" if more else "")


def _settings(text: str) -> dict[str, str]:
    """Settings of a list such as ``'teacher.steps = 50','teacher.shift = 3.0'``."""
    text = text.strip()
    if text == _NOTHING:
        return {}
    pairs = [item.partition(" = ") for item in ast.literal_eval(f"[{text}]") if item]
    return {key: value for key, _, value in pairs}


def _changes(before: dict[str, str], now: dict[str, str]) -> str:
    lines = [f"{key} changed from {before[key]} to {now[key]}" for key in sorted(before.keys() & now.keys())]
    lines += [f"{key} = {now[key]} is new" for key in sorted(now.keys() - before.keys())]
    lines += [f"{key} is gone" for key in sorted(before.keys() - now.keys())]
    return ", ".join(lines)
