"""What a student's weights depend on, as one number: a checkpoint of another fingerprint is not continued."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from alice_repro.config import Recipe, Scale, as_settings
from alice_repro.data.training_clips import SAMPLES
from alice_repro.files import sha256_file, sha256_folder


def fingerprint(scale: Scale, recipe: Recipe, teacher: str, teacher_folder: Path, seed: int, samples: Path) -> str:
    """sha256 of configuration, seed, data and the teacher's weights."""
    parts = {
        "format": 2,
        "model": asdict(scale.model),
        "teacher_sampling": asdict(scale.teacher),
        "student_shift": scale.sampling.student_shift,
        "weights": sha256_folder(teacher_folder / "transformer"),
        "recipe": as_settings(recipe) | {"checkpoint_every": None, "log_every": None},
        "teacher": teacher,
        "seed": seed,
        "samples": sha256_file(samples / SAMPLES),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
