"""The folder of a run: its log, its checkpoint, and what another run left there, which is put aside."""

from __future__ import annotations

import json
from itertools import count
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

    def put_aside(self) -> Path | None:
        """Move what another run left here, lest its student or snapshots be taken for this one's.

        Returns:
            The folder beside this one, PATH.replaced-N, where it is now; None if there was nothing.
        """
        own = (self.path / MANIFEST, self.log, self.checkpoint, self.stopped, self.student, self.snapshots)
        left = [path for path in own if path.exists()]
        if not left:
            return None
        aside = next(
            path for n in count(1) if not (path := self.path.with_name(f"{self.path.name}.replaced-{n}")).exists()
        )
        aside.mkdir()
        for path in left:
            path.rename(aside / path.name)
        return aside

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
