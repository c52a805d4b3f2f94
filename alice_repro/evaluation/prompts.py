"""Prompts of a folder's videos: from a caption table, a JSON file, or the videos' own names."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from alice_repro.errors import UserError
from alice_repro.evaluation.index import (
    OPTIONAL_COLUMNS,
    REQUIRED_COLUMNS,
    SCORE_COLUMNS,
    check_caption_table,
    read_caption_table,
)
from alice_repro.files import read_json

CAPTIONS = "captions.csv"
NAMES, NONE = "names", "none"
_NUMBERED = re.compile(r"^(?P<prompt>.+?)-(?P<seed>\d{1,9})$", re.DOTALL)


def read_prompts(
    source: str | Path | None, folder: str | Path, extra: Collection[str] = ()
) -> tuple[pd.DataFrame | None, str]:
    """The caption table of a folder, and where it is from in words.

    Args:
        source: a CSV or JSON file, "names" (each video's own name), "none"; None: captions.csv in the folder if there
            is one, else the names.
        extra: further columns that a CSV file may have.

    Returns:
        None for names and for none: see `prompt_of_name`.

    Raises:
        UserError: the file is not there or malformed; the message names it.
    """
    own = Path(folder) / CAPTIONS
    if source is None:
        source = own if own.is_file() else NAMES
    if str(source) in (NAMES, NONE):
        return None, {NAMES: "file names", NONE: "none"}[str(source)]
    path = Path(source)
    below = Path(folder).resolve()
    table = _read_json(path, below) if path.suffix.lower() == ".json" else read_caption_table(path, extra)
    return table, str(path)


def prompt_of_name(video: str) -> dict[str, Any]:
    """The prompt that a file's name holds, VBench's way: "a cat on a sofa-3.mp4" is sample 3 of "a cat on a sofa"."""
    stem = PurePosixPath(video).stem
    found = _NUMBERED.match(stem)
    return {"caption": found["prompt"], "seed": int(found["seed"])} if found else {"caption": stem, "seed": pd.NA}


def caption_of_name(video: str) -> str:
    """The prompt of `prompt_of_name`."""
    return str(prompt_of_name(video)["caption"])


def sample_of_name(video: str) -> int | None:
    """The number of the sample of `prompt_of_name`; None if the name has none."""
    seed = prompt_of_name(video)["seed"]
    return None if seed is pd.NA else int(seed)


def _read_json(path: Path, folder: Path) -> pd.DataFrame:
    """{video: prompt}, as the official VBench has it, or a list of objects with the columns of a caption table.

    A video may be named by its whole path, if it lies below the folder.
    """
    content = read_json(path)
    if isinstance(content, dict):
        rows: list[Any] = [{"video": video, "caption": prompt} for video, prompt in content.items()]
    else:
        rows = content
    wanted = f"{path}: must be an object {{video: prompt}} or a list of objects with {', '.join(REQUIRED_COLUMNS)}"
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{wanted}, with one video at least")
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or not set(REQUIRED_COLUMNS) <= set(row):
            raise UserError(f"{wanted}; entry {number} is not")
        strange = [key for key, value in row.items() if not isinstance(value, str | int) or isinstance(value, bool)]
        if strange:
            raise UserError(f"{path}: entry {number}: {strange[0]!r} must be text or a whole number")
    names = [name for name in SCORE_COLUMNS if any(name in row for row in rows)]
    extra = sorted({key for row in rows for key in row} - set(names))
    table = pd.DataFrame([{name: str(row.get(name, "")) for name in [*names, *extra]} for row in rows])
    whole = [Path(name).resolve() if Path(name).is_absolute() else None for name in table["video"]]
    table["video"] = [
        place.relative_to(folder).as_posix() if place and place.is_relative_to(folder) else name
        for place, name in zip(whole, table["video"], strict=True)
    ]
    return check_caption_table(path, table, allowed=(*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS))
