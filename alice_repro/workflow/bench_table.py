"""The table of a benchmark, rows of words by heading: as a file and as text."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from alice_repro.files import atomic_path


def write_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write rows, all with the headings of the first, as CSV."""
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def as_text(rows: Sequence[Mapping[str, str]]) -> str:
    """The same in aligned columns."""
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)
