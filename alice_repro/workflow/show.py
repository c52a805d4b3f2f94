"""What the notebooks show: clips, contact sheets, what the oracle reads, and where a result comes from."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from IPython.display import Image, Markdown, Video

from alice_repro.config import Scale, load_scale
from alice_repro.manifest import read_manifest
from alice_repro.media import contact_sheet, write_video
from alice_repro.progress import duration
from alice_repro.workflow.layout import TEACHER_ARMS, Layout, StudentArm

if TYPE_CHECKING:
    from pandas import DataFrame

FPS = 8
SHEET = "contact_sheet.png"
SHOWN = 4


def play(frames: np.ndarray) -> Video:
    """A clip (T, H, W, 3) uint8 as an embedded video."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_video(path, frames, FPS)
        return play_file(path)


def play_file(path: Path) -> Video:
    """A video file, embedded."""
    attributes = "controls loop autoplay muted"
    return Video(data=path.read_bytes(), embed=True, mimetype="video/mp4", width=256, html_attributes=attributes)


def oracle_reading(frames: np.ndarray, caption: str) -> DataFrame:
    """What the oracle measures in a clip, a row a measure; what it cannot judge is left out."""
    from pandas import DataFrame

    from alice_repro.world.oracle import measure

    row = {name: value for name, value in measure(frames, caption).as_row().items() if value is not None}
    return DataFrame({"reading": row})


def sample_sheet(scale: Scale, folder: Path) -> bytes:
    """PNG of the first training clips of as many captions, decoded."""
    from alice_repro.data.training_clips import TrainingClips
    from alice_repro.models.loading import load_teacher
    from alice_repro.workflow.stages import decode

    samples = TrainingClips.load(folder)
    captions = samples.caption.tolist()
    rows = [captions.index(caption) for caption in sorted(set(captions))[:SHOWN]]
    clips = decode(load_teacher(scale.model), samples.latents[rows])
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / SHEET
        contact_sheet(path, clips, [samples.captions[captions[row]] for row in rows])
        return path.read_bytes()


def arms_side_by_side(scale: str, teacher: str = "trained") -> list[Markdown | Image]:
    """The contact sheets of teacher, control and student; the command that makes them if there are none."""
    layout = Layout(scale)
    arms = [*TEACHER_ARMS, str(StudentArm(load_scale(scale).recipe, 0))]
    sheets = {arm: layout.videos(teacher, arm) / SHEET for arm in arms}
    if not all(sheet.is_file() for sheet in sheets.values()):
        return [Markdown(f"There are no results of this scale yet. `make reproduce-table4 SCALE={scale}` makes them.")]
    shown: list[Markdown | Image] = []
    for arm, sheet in sheets.items():
        evaluations = read_manifest(sheet.parent)["extra"]["evaluations_per_clip"]
        shown += [Markdown(f"**{arm}**: {evaluations} network evaluations a clip"), Image(str(sheet))]
    return shown


def provenance(target: Path) -> Markdown:
    """The manifest of a folder or file as a short table."""
    entry = read_manifest(target)
    git = entry["git"] or {"commit": "unknown", "dirty": False}
    rows = {"made": entry["created"], "took": duration(entry["wall_seconds"]), "device": entry["device"]}
    rows |= {"commit": git["commit"][:12] + (" with changes" if git["dirty"] else "")}
    rows |= {f"input {name}": f"{found['path']} ({found['sha256'][:12]})" for name, found in entry["inputs"].items()}
    rows |= {f"seed {name}": value for name, value in entry["seeds"].items()} | entry["extra"]
    lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    return Markdown("\n".join(lines))
