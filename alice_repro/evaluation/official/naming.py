"""Prompts from file names, as the official packages read them: `{prompt}-{i}.mp4`, or the whole name."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

_SAMPLE = re.compile(r"-(\d+)$")


def caption_of_name(video: str) -> str:
    """The prompt in a file's name: the name without its suffix, without `-N` at the end."""
    return _SAMPLE.sub("", PurePosixPath(video).stem)


def sample_of_name(video: str) -> int | None:
    """The N of `-N` at the end of a file's name."""
    found = _SAMPLE.search(PurePosixPath(video).stem)
    return int(found[1]) if found else None
