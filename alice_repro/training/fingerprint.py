"""What a student's weights depend on, as one number: a checkpoint of another fingerprint is not continued.

The code has a number of its own: a checkpoint of other code is continued, with a warning and a note in the manifest.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from alice_repro.config import PACKAGE, Recipe, Scale
from alice_repro.data.training_clips import SAMPLES
from alice_repro.files import sha256_file, sha256_folder
from alice_repro.models.loading import TeacherParts
from alice_repro.strict import as_settings

_CODE = ("distill", "flow", "models", "sampling", "training")


def code_version() -> str:
    """sha256 of the package's files that a training runs through."""
    files = sorted(path for part in _CODE for path in (PACKAGE / part).rglob("*.py"))
    told = {path.relative_to(PACKAGE).as_posix(): sha256_file(path) for path in files}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def fingerprint(scale: Scale, recipe: Recipe, teacher: str, parts: TeacherParts, seed: int, samples: Path) -> str:
    """sha256 of configuration, seed, data and the teacher's weights."""
    told = {
        "format": 2,
        "model": asdict(scale.model),
        "teacher_sampling": asdict(scale.teacher),
        "student_shift": scale.sampling.student_shift,
        "weights": sha256_folder(parts.folder / "transformer"),
        "recipe": as_settings(recipe) | {"checkpoint_every": None, "log_every": None},
        "teacher": teacher,
        "seed": seed,
        "samples": sha256_file(samples / SAMPLES),
    }
    if parts.transformer_2 is not None:
        told |= {"weights_2": sha256_folder(parts.folder / "transformer_2"), "boundary": parts.boundary}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
