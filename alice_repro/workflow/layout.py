"""Where everything of a scale lies, and what the name of an arm says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from alice_repro.config import CHECKOUT, FULL, SHORT, UNTRAINED, Recipe
from alice_repro.errors import UserError
from alice_repro.training.run_folder import RunFolder

TEACHER_ARMS = (FULL, SHORT)  # those of Table 4
_STUDENT_ARM = re.compile(r"(?P<recipe>.+)-seed(?P<seed>\d+)(?:-at-(?P<update>\d{6}))?")


@dataclass(frozen=True)
class StudentArm:
    """A student by its recipe (or a variant of it) and run; `update` is None at the end, else that of a snapshot."""

    recipe: str
    seed: int
    update: int | None = None

    def __str__(self) -> str:
        return f"{self.recipe}-seed{self.seed}" + ("" if self.update is None else f"-at-{self.update:06d}")


def parse_arm(arm: str) -> StudentArm | None:
    """What a student's arm is; None for an arm of the teacher.

    Raises:
        UserError: not a name of an arm.
    """
    if arm in UNTRAINED:
        return None
    match = _STUDENT_ARM.fullmatch(arm)
    if match is None:
        known = ", ".join(UNTRAINED)
        raise UserError(f"unknown arm {arm!r}: valid are {known}, RECIPE-seedK and RECIPE-seedK-at-UPDATE (six digits)")
    update = match["update"]
    return StudentArm(match["recipe"], int(match["seed"]), None if update is None else int(update))


def students_of(name: str, recipe: Recipe, seed: int) -> dict[str, int]:
    """A run's student at its end and at its snapshots -> the updates that it has had.

    Args:
        name: of the recipe, or of a variant of it.
    """
    ends = {None: recipe.updates} | {at: at for at in recipe.snapshot_updates}
    return {str(StudentArm(name, seed, at)): updates for at, updates in ends.items()}


def data_name(teacher: str, source: str) -> str:
    """Name of training clips: TEACHER for its own samples, TEACHER-SOURCE for others (clean clips, a style)."""
    return teacher if source == "teacher" else f"{teacher}-{source}"


def parse_data(name: str) -> tuple[str, str]:
    """Teacher and ``data.source`` of `data_name`."""
    teacher, _, source = name.partition("-")
    return teacher, source or "teacher"


def ledger_of(scale: str, root: Path = CHECKOUT) -> Path:
    """The folder of a scale's ledger of compared methods, which is committed."""
    return Layout(f"reference/{scale}", root).results / "methods"


@dataclass(frozen=True)
class Layout:
    """The folders of one scale.

    Attributes:
        folder: name below ``results`` and ``figures``: that of the scale, unless its results are kept apart.
        root: the folder that holds ``results`` and ``figures``.
    """

    folder: str
    root: Path = CHECKOUT

    @property
    def results(self) -> Path:
        """results/<scale>."""
        return self.root / "results" / self.folder

    @property
    def figures(self) -> Path:
        """figures/<scale>."""
        return self.root / "figures" / self.folder

    @property
    def by_hand(self) -> Layout:
        """Where a notebook that is run by hand puts what it makes, so that the workflow never takes it for its own."""
        return Layout(f"{self.folder}/by_hand", self.root)

    def data(self, name: str) -> Path:
        """Training clips by their `data_name`."""
        return self.results / "data" / name

    def run(self, teacher: str, recipe: str, seed: int) -> Path:
        """A training run."""
        return self.results / "runs" / teacher / recipe / f"seed{seed}"

    def videos(self, teacher: str, arm: str) -> Path:
        """The videos of an arm."""
        return self.results / "videos" / teacher / arm

    def scores(self, teacher: str, arm: str) -> Path:
        """The score table of an arm."""
        return self.results / "scores" / teacher / f"{arm}.csv"

    def student(self, teacher: str, arm: str) -> Path | None:
        """The transformer folder of a student's arm; None for an arm of the teacher."""
        student = parse_arm(arm)
        if student is None:
            return None
        run = RunFolder(self.run(teacher, student.recipe, student.seed))
        return run.student if student.update is None else run.snapshot(student.update)
