"""What is in a folder of videos, before anything is measured: every file is accounted for.

A file that cannot be measured is an entry with its problem, as is one that the prompts name and the folder lacks.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from alice_repro.errors import UserError, nearest
from alice_repro.evaluation.index import OPTIONAL_COLUMNS, VIDEO_SUFFIXES
from alice_repro.evaluation.metric import Clip
from alice_repro.evaluation.prompts import CAPTIONS, NONE, prompt_of_name, read_prompts
from alice_repro.files import TEMPORARY_PREFIX, sha256_file
from alice_repro.manifest import MANIFEST
from alice_repro.media import VideoError, VideoInfo, probe
from alice_repro.progress import track

LARGEST = 8192 * 8192  # pixels of a frame
_OWN = (CAPTIONS, MANIFEST, "contact_sheet.png")  # what our sampling puts beside the videos


@dataclass(frozen=True)
class Entry:
    """A video that is in the folder, or that should be.

    Attributes:
        video: name relative to the folder.
        columns: caption (None if there is none), prompt_id, seed, arm, run, as far as known.
        sha256: of the file; "" if it cannot be read.
        info: what the file says; None if it cannot be measured.
        problem: why it cannot be measured; "" if it can.
        notes: what is unusual and measured nevertheless.
    """

    video: str
    path: Path
    columns: Mapping[str, Any]
    sha256: str = ""
    info: VideoInfo | None = None
    problem: str = ""
    notes: tuple[str, ...] = ()

    @property
    def clip(self) -> Clip:
        """What metrics are told; only of a video without a problem."""
        if self.info is None:
            raise ValueError(f"{self.video} has a problem: {self.problem}")
        caption = self.columns.get("caption")
        return Clip(self.video, self.path, caption, self.info.fps, self.info.height, self.info.width)

    def with_note(self, note: str) -> Entry:
        """The same with one note more."""
        return replace(self, notes=(*self.notes, note))


@dataclass(frozen=True)
class Inventory:
    """The videos of a folder, in the order of the prompts or by name, and its other files."""

    folder: Path
    prompts: str
    entries: list[Entry]
    others: list[str] = field(default_factory=list)

    @property
    def readable(self) -> list[Entry]:
        """Videos that can be measured."""
        return [entry for entry in self.entries if not entry.problem]

    @property
    def problems(self) -> list[Entry]:
        """Videos that cannot."""
        return [entry for entry in self.entries if entry.problem]

    def lines(self) -> list[str]:
        """The pre-flight for a person, in lines."""
        found = len(self.entries) - sum(1 for entry in self.entries if not entry.sha256)
        lines = [f"{self.folder}: {found} video files, {len(self.readable)} readable; prompts from {self.prompts}"]
        infos = [entry.info for entry in self.readable if entry.info]
        for what, values in {
            "sizes": [f"{info.width}x{info.height}" for info in infos],
            "frame rates": [f"{info.fps:g}" for info in infos],
            "frames": [str(info.frames or "unknown") for info in infos],
        }.items():
            if values:
                lines.append(f"  {what}: " + _counted(values))
        notes = [(entry.video, note) for entry in self.entries for note in entry.notes]
        lines += [f"  note: {video}: {note}" for video, note in notes[:10]]
        lines += [f"  ... and {len(notes) - 10} more notes"] * (len(notes) > 10)
        lines += [f"  cannot be measured: {entry.video}: {entry.problem}" for entry in self.problems]
        if self.others:
            lines.append(f"  not videos by their names: {len(self.others)} ({', '.join(self.others[:5])}"
                         + (", ..." if len(self.others) > 5 else "") + ")")  # fmt: skip
        return [line.replace("\n", "\\n") for line in lines]  # names may hold line breaks

    def as_table(self) -> pd.DataFrame:
        """A row a video: what is known of it, and its problem."""
        rows = []
        for entry in self.entries:
            info = {} if entry.info is None else vars(entry.info)
            row = {"video": entry.video, "problem": entry.problem, "notes": "; ".join(entry.notes)}
            rows.append(row | {"sha256": entry.sha256} | info)
        return pd.DataFrame(rows)


def take_inventory(folder: str | Path, prompts: str | Path | None = None) -> Inventory:
    """List a folder's videos with their prompts, looking into each as far as its first frame.

    Args:
        folder: searched with all below it, for files with a video's suffix in any case; or a single video.
        prompts: as in `prompts.read_prompts`.

    Raises:
        UserError: no such folder, no video in it, or prompts that cannot be read or match no file.
    """
    root, files, others = _files(Path(folder))
    table, where = read_prompts(prompts, root)
    if table is None:
        rows = {name: prompt_of_name(name) if where != NONE else {"caption": None} for name in files}
    else:
        rows = {str(row.pop("video")): row for row in table.to_dict("records")}
        if Path(folder).is_file():  # one video of a folder: what is said of the others does not matter
            rows = {name: row for name, row in rows.items() if name in files}
        elif not set(rows) & set(files):
            first = next(iter(rows), "")
            near = nearest(first, files)
            raise UserError(
                f"{where}: none of its {len(rows)} videos is in {root}"
                + (f", such as {first!r}" if first else "")
                + (f" (the folder has {near!r})" if near else "")
            )
        rows |= {name: {"caption": None} for name in files if name not in rows}
    if not rows:
        raise UserError(f"{root}: holds no video ({', '.join(VIDEO_SUFFIXES)})")
    entries: list[Entry] = []
    seen: dict[str, str] = {}
    for name, row in track(list(rows.items()), f"looking into {root.name}"):
        columns = {key: row[key] for key in ("caption", *OPTIONAL_COLUMNS) if key in row}
        entry = _look(name, files.get(name), columns)
        if table is not None and columns["caption"] is None:
            entry = entry.with_note(f"no prompt in {where}")
        if entry.sha256 and entry.sha256 in seen:
            entry = entry.with_note(f"the same file as {seen[entry.sha256]}")
        elif entry.sha256:
            seen[entry.sha256] = name
        entries.append(entry)
    return Inventory(root, where, entries, others)


def _files(folder: Path) -> tuple[Path, dict[str, Path], list[str]]:
    """The folder, its videos by name, and the names of its other files."""
    if folder.is_file():
        return folder.parent, {folder.name: folder}, []
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of videos")
    videos, others = {}, []
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        if any(part.startswith(TEMPORARY_PREFIX) for part in inner.parts):
            continue
        # A name that is no UTF-8 is spelt out, so that tables can hold it.
        name = os.fsencode(inner.as_posix()).decode("utf-8", "backslashreplace")
        if path.is_dir():
            if path.is_symlink() or name.lower().endswith(VIDEO_SUFFIXES):
                others.append(f"{name} ({'a link to a folder, not followed' if path.is_symlink() else 'a folder'})")
        elif name.lower().endswith(VIDEO_SUFFIXES):
            videos[name] = path
        elif name not in _OWN:
            others.append(name)
    return folder, videos, others


def _look(name: str, path: Path | None, columns: Mapping[str, Any]) -> Entry:
    if path is None:
        return Entry(name, Path(name), columns, problem="no such file, though the prompts name it")
    if not path.is_file():
        return Entry(name, path, columns, problem="a link to nothing" if path.is_symlink() else "not a regular file")
    try:
        sha256 = sha256_file(path)
        info = probe(path)
    except VideoError as error:
        return Entry(name, path, columns, sha256, problem=str(error).removeprefix(f"{path}: "))
    except (UserError, OSError) as error:  # no permission, say
        return Entry(name, path, columns, problem=f"cannot be read ({error})")
    if info.height * info.width > LARGEST:
        problem = f"frames of {info.width}x{info.height} pixels; at most {LARGEST / 1e6:.0f} million are measured"
        return Entry(name, path, columns, sha256, problem=problem)
    notes = []
    if info.frames == 1:
        notes.append("one frame: what compares frames will be missing")
    if info.bits > 8:
        notes.append(f"{info.bits} bits a colour, measured as 8")
    if info.rotation:
        notes.append(f"turned by {info.rotation} degrees, measured as shown")
    return Entry(name, path, columns, sha256, info, notes=tuple(notes))


def _counted(values: list[str], at_most: int = 4) -> str:
    counts = Counter(values).most_common()
    shown = [value if len(counts) == 1 else f"{value} ({count})" for value, count in counts[:at_most]]
    return ", ".join(shown) + (f" and {len(counts) - at_most} others" if len(counts) > at_most else "")
