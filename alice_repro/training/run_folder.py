"""The folder of a run: its log, its checkpoint, and what another run may have left there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from alice_repro.files import atomic_write_text
from alice_repro.manifest import MANIFEST


class RunFolder:
    """Paths in the folder ``path``, and the log, in which every update stands once."""

    def __init__(self, path: Path) -> None:
        self.path, self.log = path, path / "log.jsonl"
        self.checkpoint, self.stopped = path / "checkpoint.safetensors", path / "stopped.safetensors"
        self.snapshots, self.student = path / "snapshots", path / "student"
        self._trimmed = False

    def snapshot(self, update: int) -> Path:
        """The student after so many updates."""
        return self.snapshots / f"update_{update:06d}"

    def discard(self) -> None:
        """Delete what another run left here, lest its student or snapshots be taken for this one's."""
        for folder in (self.student, self.snapshots):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.path / MANIFEST, self.log, self.checkpoint, self.stopped):
            file.unlink(missing_ok=True)

    def append(self, row: dict[str, float | str], written: bool = True) -> None:
        """Append to the log, if the row is to be ``written``.

        Rows that a killed run wrote after its last checkpoint are dropped first.
        """
        if self.log.exists() and not self._trimmed:
            rows = [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]
            kept = [json.dumps(old) + "\n" for old in rows if old["update"] < row["update"]]
            atomic_write_text(self.log, "".join(kept))
        self._trimmed = True
        if written:
            with self.log.open("a") as file:
                file.write(json.dumps({key: _rounded(value) for key, value in row.items()}) + "\n")


def _rounded(value: float | str) -> float | str:
    return float(f"{value:.6g}") if isinstance(value, float) else value
