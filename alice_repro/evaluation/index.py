"""Which videos there are, what their captions say, and the tables of scores: one row per video.

A caption table is a CSV file with the columns `video` (path below the folder of videos, with `/`) and
`caption`, and perhaps `prompt_id`, `seed` (of the sampling), `arm` (what made the video) and `run` (training
seed; empty for a teacher). A score table has all of these, then one column per measure. A missing value is an
empty cell, and the column `<measure>_reason` then says why.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from alice_repro.errors import UserError, nearest, unknown_name
from alice_repro.files import TEMPORARY_PREFIX, write_csv

VIDEO_SUFFIXES = (".mp4", ".webm", ".mov", ".mkv", ".avi", ".gif")
REQUIRED_COLUMNS = ("video", "caption")
OPTIONAL_COLUMNS = ("prompt_id", "seed", "arm", "run")
SCORE_COLUMNS = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)
# What a decode tells of a video; empty where it did not decode. Only the evaluator of any folder fills them.
TECHNICAL_COLUMNS = ("frames", "fps", "height", "width")
REASON_SUFFIX = "_reason"
_INTEGER_COLUMNS = ("seed", "run")


@dataclass(frozen=True)
class VideoRow:
    """One video: its name relative to the folder, where it lies, its caption, other columns of the caption
    table.
    """

    video: str
    path: Path
    caption: str | None
    columns: dict[str, Any] = field(default_factory=dict)


def read_caption_table(path: str | Path, extra: Collection[str] = ()) -> pd.DataFrame:
    """Read a caption table; `seed` and `run` become nullable integers, all else stays text.

    Args: extra: further columns to allow, kept as text. Raises `UserError` naming the file and what is wrong:
    a missing or unknown column, an empty caption, a video named twice or outside its folder, a seed or run
    that is not an integer.
    """
    path = Path(path)
    return check_caption_table(path, _read_csv(path), allowed=(*SCORE_COLUMNS, *extra))


def check_caption_table(path: Path, table: pd.DataFrame, allowed: Collection[str]) -> pd.DataFrame:
    """A caption table of text as `read_caption_table` gives it; `path` is for messages, `allowed` its columns."""
    _require_columns(path, table)
    for name in table.columns:
        if name not in allowed:
            raise unknown_name(f"column in {path}:", str(name), allowed)
    table["video"] = [_relative_name(path, name) for name in table["video"]]
    _require_unique(path, table["video"])
    bare = table["video"][table["caption"].str.strip() == ""]
    if len(bare):
        raise UserError(f"{path}: {len(bare)} videos without a caption: {_some(bare)}")
    return _with_integers(path, table)


def index_videos(folder: str | Path, captions: str | Path | pd.DataFrame | None = None) -> list[VideoRow]:
    """List the videos below a folder, sorted by name, with their captions.

    Args: captions: a caption table or its path; then the folder and the table must name the same videos, and
    rows follow the table. None: captions are None, which is enough for measures that read pixels alone.
    Raises `UserError` naming the videos that are missing from either side, or an empty folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of videos")
    found = {
        file.relative_to(folder).as_posix(): file
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file() and not file.name.startswith(TEMPORARY_PREFIX)
    }
    if captions is None:
        if not found:
            raise UserError(f"{folder}: holds no video ({', '.join(VIDEO_SUFFIXES)})")
        return [VideoRow(name, file, None) for name, file in found.items()]
    table = captions if isinstance(captions, pd.DataFrame) else read_caption_table(captions)
    _require_columns("captions", table)
    _require_unique("captions", table["video"])
    missing = [name for name in table["video"] if name not in found]
    if missing:
        near = nearest(missing[0], list(found))
        hint = f" (the folder has {near!r})" if near else ""
        raise UserError(f"{folder}: {len(missing)} videos of the caption table are missing: {_some(missing)}{hint}")
    bare = sorted(set(found) - set(table["video"]))
    if bare:
        raise UserError(f"{folder}: {len(bare)} videos without a caption: {_some(bare)}; add them to the caption table")
    others = [name for name in table.columns if name not in REQUIRED_COLUMNS]
    return [
        VideoRow(row["video"], found[row["video"]], row["caption"], {name: row[name] for name in others})
        for row in table.to_dict("records")
    ]


def measures(scores: pd.DataFrame) -> list[str]:
    """Names of the measures in a score table, in its order."""
    others = (*SCORE_COLUMNS, *TECHNICAL_COLUMNS)
    return [name for name in scores.columns if name not in others and not str(name).endswith(REASON_SUFFIX)]


def write_scores(path: str | Path, scores: pd.DataFrame) -> None:
    """Write a score table as CSV, whole or not at all; `read_scores` gives the values back unchanged.

    Raises `UserError` if the table breaks the schema: see `check_scores`.
    """
    check_scores(path, scores)
    tail = [name for name in scores.columns if name not in SCORE_COLUMNS]
    scores = scores.assign(**{name: _numbers(scores[name]) for name in measures(scores)})
    write_csv(path, scores[[*SCORE_COLUMNS, *tail]])


def read_scores(path: str | Path) -> pd.DataFrame:
    """Read a score table: text columns, integer `seed` and `run` (nullable), measures as float64 (NaN =
    missing).

    Raises `UserError` naming the file, if a cell is no number or the table breaks the schema.
    """
    path = Path(path)
    scores = _read_csv(path)
    _require_columns(path, scores, SCORE_COLUMNS)
    scores = _with_integers(path, scores)
    for name in [*measures(scores), *(name for name in TECHNICAL_COLUMNS if name in scores)]:
        try:
            scores[name] = np.array([float(cell) if cell else np.nan for cell in scores[name]], dtype=np.float64)
        except ValueError as error:
            raise UserError(f"{path}: column {name!r}: {error}; measures are numbers, empty if missing") from error
    check_scores(path, scores)
    return scores


def check_scores(path: str | Path, scores: pd.DataFrame) -> None:
    """Raise `UserError`, naming `path`, unless this is a score table.

    It has the columns SCORE_COLUMNS, one or more measures, a row per video; its measures are finite numbers
    or missing; exactly the missing ones have a reason; and no column of reasons stands without its measure.
    """
    _require_columns(path, scores, SCORE_COLUMNS)
    if not scores.columns.is_unique:
        raise UserError(f"{path}: a column stands twice: {_some(scores.columns[scores.columns.duplicated()])}")
    _require_unique(path, scores["video"])
    names = measures(scores)
    if not names and not set(TECHNICAL_COLUMNS) <= set(scores.columns):
        raise UserError(f"{path}: a score table needs a measure beside {', '.join(SCORE_COLUMNS)}")
    stray = [c for c in scores.columns if c.endswith(REASON_SUFFIX) and c.removesuffix(REASON_SUFFIX) not in names]
    if stray:
        raise UserError(f"{path}: {_some(stray)} has no measure beside it")
    for name in names:
        _check_measure(path, scores, name)


def _check_measure(path: str | Path, scores: pd.DataFrame, name: str) -> None:
    try:
        values = _numbers(scores[name])
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: measure {name!r} is not a number: {error}") from error
    if np.isinf(values).any():
        raise UserError(f"{path}: measure {name!r} is infinite for {_some(scores['video'][np.isinf(values)])}")
    absent = np.isnan(values)
    reasons = scores.get(name + REASON_SUFFIX, pd.Series("", index=scores.index)).fillna("").astype(str)
    explained = (reasons.str.strip() != "").to_numpy()
    if (absent & ~explained).any():
        who = _some(scores["video"][absent & ~explained])
        raise UserError(f"{path}: measure {name!r} is missing without a {name + REASON_SUFFIX!r} for {who}")
    if (explained & ~absent).any():
        who = _some(scores["video"][explained & ~absent])
        raise UserError(f"{path}: measure {name!r} has a value and a reason for being missing for {who}")


def _numbers(column: pd.Series) -> np.ndarray:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _read_csv(path: Path) -> pd.DataFrame:
    """All cells as text: "None", "NA" and "1e3" are captions like any other."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: not a readable CSV table ({error})") from error


def _require_columns(path: str | Path, table: pd.DataFrame, names: Iterable[str] = REQUIRED_COLUMNS) -> None:
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise UserError(f"{path}: column {', '.join(missing)} is missing; it has {', '.join(map(str, table.columns))}")


def _require_unique(path: str | Path, videos: pd.Series) -> None:
    twice = videos[videos.duplicated()]
    if len(twice):
        raise UserError(f"{path}: listed twice: {_some(twice)}")


def _relative_name(path: Path, name: str) -> str:
    """The video's name in one spelling, so that `./a.mp4` and `a.mp4` are seen to be the same."""
    plain = PurePosixPath(name)
    if plain.is_absolute() or ".." in plain.parts or plain == PurePosixPath("."):
        raise UserError(f"{path}: {name!r} must be a path below the folder of videos")
    return plain.as_posix()


def _with_integers(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    for name in _INTEGER_COLUMNS:
        if name in table.columns:
            try:
                cells = [int(cell) if cell.strip() else pd.NA for cell in table[name]]
            except ValueError as error:
                raise UserError(f"{path}: column {name!r} must hold integers or be empty: {error}") from error
            table[name] = pd.array(cells, dtype="Int64")
    return table


def _some(names: Iterable[str], at_most: int = 5) -> str:
    names = [str(name) for name in names]
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more
