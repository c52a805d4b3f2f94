"""The ledger of training runs: what each run was, what it cost, how it went and how its students scored.

Below the ledger's folder a run is ``<teacher>/<arm>/seedK.json`` (what and how much), ``seedK.scores.parquet`` (a row
per video and checkpoint) and ``seedK.curve.parquet`` (a row per update); of one run also its contact sheet. Beside them
are the arms without training, ``<teacher>/<arm>.json`` and ``.scores.parquet``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from alice_repro.config import ANCHOR_OPTIONS, ANCHORED, Recipe, Scale, load_recipe
from alice_repro.errors import UserError
from alice_repro.evaluation.index import measures, read_scores
from alice_repro.files import atomic_path, read_json, write_json
from alice_repro.manifest import read_manifest
from alice_repro.strict import as_settings

# The parts of a scale that scores of a teacher's own clips depend on, and those that a run depends on.
_SAMPLED = ("model", "teacher", "prompts", "sampling")
_TRAINED = (*_SAMPLED, "data")
# What an entry keeps of a manifest.
_KEPT = ("created", "wall_seconds", "device", "git", "versions", "python", "platform", "inputs")
ENTRY, SCORES, CURVE, SHEET = ".json", ".scores.parquet", ".curve.parquet", ".sheet.jpg"
SHOWN_SEED = 0  # the run whose contact sheet is kept


@dataclass(frozen=True)
class Run:
    """A training run by teacher, arm of the comparison, and seed."""

    teacher: str
    arm: str
    seed: int

    def stem(self, ledger: Path) -> Path:
        """Path of its files without their endings."""
        return ledger / self.teacher / self.arm / f"seed{self.seed}"


def entry_of(ledger: Path, run: Run) -> Path:
    """Where a run's entry is, the file that is written last of a run's."""
    return _file(ledger, run, ENTRY)


def teacher_scores(ledger: Path, teacher: str, arm: str) -> Path:
    """Where the scores of an arm without training are."""
    return ledger / teacher / f"{arm}{SCORES}"


def teacher_entry(ledger: Path, teacher: str, arm: str) -> Path:
    """Where the entry of an arm without training is, the file that is written last of it."""
    return ledger / teacher / f"{arm}{ENTRY}"


def has_run(ledger: Path, run: Run, scale: Scale, recipe: Recipe) -> bool:
    """Whether the ledger has a run that was made as it would be made now."""
    path = entry_of(ledger, run)
    return path.exists() and same_training(read_json(path), scale, recipe)


def has_teacher(ledger: Path, teacher: str, arm: str, scale: Scale) -> bool:
    """Whether the ledger has an arm without training as it would be sampled now."""
    path = teacher_entry(ledger, teacher, arm)
    return path.exists() and read_json(path)["config"] == _sampled(arm, scale)


def same_training(entry: Mapping[str, Any], scale: Scale, recipe: Recipe) -> bool:
    """Whether a run was trained, sampled and measured with these settings."""
    then, now = entry["config"], json.loads(json.dumps({"recipe": as_settings(recipe), "scale": asdict(scale)}))
    return then["recipe"] == now["recipe"] and _parts(then["scale"], _TRAINED) == _parts(now["scale"], _TRAINED)


def _parts(scale: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Of a scale as plain data; clips a batch are a matter of memory, and the clips are the same."""
    return {name: {**scale[name], "batch": None} if name == "sampling" else scale[name] for name in names}


def _sampled(arm: str, scale: Scale) -> dict[str, Any]:
    """The settings that an arm without training is sampled and measured by."""
    options = load_recipe("dp_dmd").options if arm == ANCHORED else {}
    settings = {"scale": _parts(asdict(scale), _SAMPLED), **{key: options[key] for key in ANCHOR_OPTIONS if options}}
    return json.loads(json.dumps(settings))


def keep_teacher(ledger: Path, teacher: str, arm: str, scale: Scale, results: Path) -> None:
    """Copy the scores of an arm without training, which was sampled by this scale, from ``results`` into the ledger."""
    (ledger / teacher).mkdir(parents=True, exist_ok=True)
    scores = read_scores(results / "scores" / teacher / f"{arm}.csv")
    _write(scores[["prompt_id", "seed", *measures(scores)]], teacher_scores(ledger, teacher, arm))
    made = read_manifest(results / "videos" / teacher / arm)
    entry = {"teacher": teacher, "arm": arm, "config": _sampled(arm, scale), **{key: made[key] for key in _KEPT}}
    write_json(teacher_entry(ledger, teacher, arm), entry)


def read_teacher(ledger: Path, teacher: str, arm: str) -> pd.DataFrame:
    """Scores of a teacher's own arm: ``prompt_id``, ``seed`` and a column a measure."""
    return pd.read_parquet(teacher_scores(ledger, teacher, arm))


def keep_run(
    ledger: Path, run: Run, results: Path, students: Mapping[str, int], found: Mapping[str, Any] | None = None
) -> None:
    """Copy what counts of a finished run from ``results`` into the ledger.

    Args:
        results: results/<folder> with ``runs`` and ``scores``.
        students: name of each score table -> the updates that its student had had.
        found: what else was measured of the run, for its entry.
    """
    folder = results / "runs" / run.teacher / run.arm / f"seed{run.seed}"
    entry = read_manifest(folder)
    curve = pd.DataFrame(json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines())
    tables = []
    for name, updates in students.items():
        scores = read_scores(results / "scores" / run.teacher / f"{name}.csv")
        tables.append(scores[["prompt_id", "seed", *measures(scores)]].assign(update=updates))
    run.stem(ledger).parent.mkdir(parents=True, exist_ok=True)
    _write(pd.concat(tables, ignore_index=True), _file(ledger, run, SCORES))
    _write(curve, _file(ledger, run, CURVE))
    sheet = results / "videos" / run.teacher / f"{run.arm}-seed{run.seed}" / "contact_sheet.png"
    if run.seed == SHOWN_SEED and sheet.exists():
        with Image.open(sheet) as image, atomic_path(_file(ledger, run, SHEET)) as temporary:
            image.convert("RGB").save(temporary, format="JPEG", quality=80)
    outputs = {name: sha for name, sha in entry["outputs"].items() if name.startswith("student/")}
    kept = {"config": entry["config"], "student": outputs, **{key: entry[key] for key in _KEPT}}
    write_json(entry_of(ledger, run), {**asdict(run), **entry["extra"], **(found or {}), **kept})


def sheet_of(ledger: Path, teacher: str, arm: str) -> Path | None:
    """The kept contact sheet of an arm, if there is one."""
    path = _file(ledger, Run(teacher, arm, SHOWN_SEED), SHEET)
    return path if path.exists() else None


def read_ledger(ledger: Path) -> list[dict]:
    """Every run's entry, sorted by teacher, arm and seed.

    Raises:
        UserError: an entry is not readable.
    """
    entries = [read_json(path) for path in sorted(ledger.glob("*/*/seed*.json"))]
    for entry in entries:
        if not {"teacher", "arm", "seed", "student_updates", "network_evaluations"} <= entry.keys():
            raise UserError(f"{ledger}: the entry {entry.get('arm', '?')} is no entry of a ledger; delete it")
    return sorted(entries, key=lambda entry: (entry["teacher"], entry["arm"], entry["seed"]))


def read_scores_of(ledger: Path, run: Run) -> pd.DataFrame:
    """A run's scores: ``update``, ``prompt_id``, ``seed`` and a column a measure."""
    return pd.read_parquet(_file(ledger, run, SCORES))


def read_curve(ledger: Path, run: Run) -> pd.DataFrame:
    """A run's training log, a row an update."""
    return pd.read_parquet(_file(ledger, run, CURVE))


def _file(ledger: Path, run: Run, ending: str) -> Path:
    stem = run.stem(ledger)
    return stem.with_name(stem.name + ending)


def _write(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, compression="zstd", index=False)
