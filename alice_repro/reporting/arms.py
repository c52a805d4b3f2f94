"""Finding the arms of an experiment on disk: score tables, what their sampling cost, and how long students trained.

A *root* is ``results/<scale>`` for a fresh run or ``results/reference/<scale>`` for the committed record; below it lie
``scores/<teacher>/<arm>.csv``, ``videos/<teacher>/<arm>/manifest.json`` and
``runs/<teacher>/<recipe>/seedK/manifest.json``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from alice_repro.config import FULL, SHORT
from alice_repro.errors import UserError
from alice_repro.evaluation.index import measures, read_scores
from alice_repro.manifest import MANIFEST, read_manifest
from alice_repro.verdicts import TEACHERS

ENDPOINT = "endpoint"
_STUDENT = re.compile(r"(?P<recipe>.+)-seed(?P<run>\d+)(?:-at-(?P<update>\d+))?")


@dataclass(frozen=True)
class Cost:
    """What a clip costs: network evaluations, and seconds on the machine that made it. None: nothing is recorded."""

    evaluations: float | None = None
    seconds: float | None = None
    device: str = ""

    def times(self, n: int) -> Cost:
        """The cost of choosing among `n` clips."""
        return Cost(*(None if x is None else n * x for x in (self.evaluations, self.seconds)), self.device)


@dataclass(frozen=True)
class Arms:
    """All arms of one teacher: a score table each, a row per video.

    Attributes:
        full, short: the teacher with all its steps, and with as few as the student (the control).
        student: the students of all training runs, one below the other; column `run` tells them apart.
        snapshots: training update -> the students of all runs as they were then, for the convergence gate.
        updates: run -> student updates of the whole training; a run without its manifest is absent.
        costs: arm -> cost; the arms of the students are named "student".
        files: every score table that was read.
    """

    root: Path
    teacher: str
    recipe: str
    full: pd.DataFrame
    short: pd.DataFrame
    student: pd.DataFrame
    snapshots: dict[int, pd.DataFrame] = field(default_factory=dict)
    updates: dict[int, int] = field(default_factory=dict)
    costs: dict[str, Cost] = field(default_factory=dict)
    files: tuple[Path, ...] = ()

    @property
    def runs(self) -> list[int]:
        """Seeds of the training runs."""
        return sorted(int(run) for run in self.student["run"].unique())

    def by_arm(self) -> dict[str, pd.DataFrame]:
        """The three arms that every table shows."""
        return {FULL: self.full, SHORT: self.short, "student": self.student}


def teachers_in(root: Path) -> list[str]:
    """The teachers of which `root` holds a score table, the trained one first."""
    return [name for name in sorted(TEACHERS, reverse=True) if any((root / "scores" / name).glob("*.csv"))]


def load_arms(root: Path, teacher: str, recipe: str, command: str) -> Arms:
    """Read the arms of one teacher.

    Args:
        recipe: name of the recipe whose students count.
        command: what makes a missing arm, for the message.

    Raises:
        UserError: an arm is missing, or its table is not as it should be; the message names the file.
    """
    folder = root / "scores" / teacher
    present = {path.stem: path for path in sorted(folder.glob("*.csv"))}
    students, snapshots = _students(present, recipe)
    if not students:
        raise _missing(folder / f"{recipe}-seed0.csv", command)
    for arm in (FULL, SHORT):
        if arm not in present:
            raise _missing(folder / f"{arm}.csv", command)
    runs = {run: _read(path, run) for run, path in students.items()}
    at: dict[int, list[pd.DataFrame]] = {}
    for (run, update), path in sorted(snapshots.items()):
        at.setdefault(update, []).append(_read(path, run))
    videos = root / "videos" / teacher
    student_costs = [_cost(videos / path.stem) for path in students.values()]
    return Arms(
        root=root,
        teacher=teacher,
        recipe=recipe,
        full=_read(present[FULL], 0),
        short=_read(present[SHORT], 0),
        student=pd.concat(list(runs.values()), ignore_index=True),
        snapshots={update: pd.concat(tables, ignore_index=True) for update, tables in sorted(at.items())},
        updates=_updates(root / "runs" / teacher / recipe, list(runs)),
        costs={FULL: _cost(videos / FULL), SHORT: _cost(videos / SHORT), "student": _mean(student_costs)},
        files=(present[FULL], present[SHORT], *students.values(), *snapshots.values()),
    )


def _students(present: dict[str, Path], recipe: str) -> tuple[dict[int, Path], dict[tuple[int, int], Path]]:
    """Score tables of the students at their end (by run) and on their way there (by run and update)."""
    ends, ways = {}, {}
    for name, path in present.items():
        match = _STUDENT.fullmatch(name)
        if match and match["recipe"] == recipe:
            if match["update"]:
                ways[int(match["run"]), int(match["update"])] = path
            else:
                ends[int(match["run"])] = path
    return dict(sorted(ends.items())), ways


def _read(path: Path, run: int) -> pd.DataFrame:
    """A score table with the endpoint in it; `run` is what the file's name says."""
    table = read_scores(path)
    if ENDPOINT not in measures(table):
        raise UserError(f"{path}: no column {ENDPOINT!r}; Table 4 needs scores of the lab protocol")
    return table.assign(run=run)


def _missing(path: Path, command: str) -> UserError:
    return UserError(f"{path}: this arm has not been measured; run {command}")


def _updates(folder: Path, runs: Sequence[int]) -> dict[int, int]:
    found = {}
    for run in runs:
        if (folder / f"seed{run}" / MANIFEST).exists():
            found[run] = int(read_manifest(folder / f"seed{run}")["extra"]["student_updates"])
    return found


def _cost(folder: Path) -> Cost:
    if not (folder / MANIFEST).exists():
        return Cost()
    entry = read_manifest(folder)
    extra = entry["extra"]
    return Cost(extra.get("evaluations_per_clip"), extra.get("seconds_per_clip"), entry.get("device") or "")


def _mean(costs: Sequence[Cost]) -> Cost:
    """Mean over the runs that have a record."""
    evaluations = [c.evaluations for c in costs if c.evaluations is not None]
    seconds = [c.seconds for c in costs if c.seconds is not None]
    return Cost(
        sum(evaluations) / len(evaluations) if evaluations else None,
        sum(seconds) / len(seconds) if seconds else None,
        next((c.device for c in costs if c.device), ""),
    )
