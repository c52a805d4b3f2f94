"""Prompt suites of the official packages: their prompts, which videos a standard evaluation wants, what a folder lacks.

The prompts are read from the installed package (`make vbench-env`), its wheel, or a list that the user has; none is
copied here. The official names are `{prompt}-{i}.mp4`; VBench-2.0 cuts the prompt to 180 characters.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from alice_repro.errors import UserError
from alice_repro.evaluation.index import VIDEO_SUFFIXES
from alice_repro.evaluation.official.catalogue import OfficialSuite, official_suite
from alice_repro.evaluation.official.environment import find_python, package_folder
from alice_repro.evaluation.prompts import caption_of_name
from alice_repro.files import TEMPORARY_PREFIX

FLICKERING, FLICKERING_SAMPLES = "temporal_flickering", 25
LONGEST_NAME = 255  # bytes of a file's name that most file systems allow
PLAN_COLUMNS = ("video", "caption", "prompt_id", "seed")


@dataclass(frozen=True)
class Prompt:
    """A prompt of a suite.

    Attributes:
        dimensions: our names of the dimensions that it is for.
        entries: what the package says of it, one for each time that it lists it.
        samples: videos that the official code reads.
    """

    text: str
    prompt_id: str
    dimensions: tuple[str, ...]
    entries: tuple[dict[str, Any], ...]
    samples: int


@dataclass(frozen=True)
class PromptSuite:
    """The prompts of a suite, each text once, in the package's order; `sha256` is that of the package's list."""

    suite: OfficialSuite
    prompts: tuple[Prompt, ...]
    source: str
    sha256: str

    @cached_property
    def by_stem(self) -> dict[str, Prompt]:
        """What stands before `-0.mp4` -> prompt."""
        return {self.suite.stem(prompt.text): prompt for prompt in reversed(self.prompts)}

    def find(self, caption: str | None) -> Prompt | None:
        """The prompt that a caption is, whole or as cut in a file's name."""
        return None if caption is None else self.by_stem.get(self.suite.stem(caption))

    def of(self, dimensions: Sequence[str] | None = None) -> list[Prompt]:
        """Prompts of any of these dimensions; all by default."""
        if dimensions is None:
            return list(self.prompts)
        wanted = {self.suite.dimension(name).name for name in dimensions}
        return [prompt for prompt in self.prompts if wanted & set(prompt.dimensions)]


def read_suite(suite: str, *, python: str | Path | None = None, source: str | Path | None = None) -> PromptSuite:
    """The prompts of vbench, vbench-i2v, vbench-long or vbench-2.0.

    Args:
        python: of the environment that has the package; else the one that `make` builds.
        source: the package's wheel, or its list of prompts (`*_full_info.json`), instead of an installed package.

    Raises:
        UserError: the list is nowhere, or is no such list.
    """
    chosen = official_suite(suite)
    if source is not None and Path(source).suffix != ".whl":
        where, content = Path(source).name, _bytes(Path(source))
    elif not chosen.info:
        raise UserError(
            f"{chosen.name}: its wheel has no list of prompts; give source=..., the file vbench2_i2v_full_info.json of "
            "the official repository"
        )
    elif source is not None:
        where, content = chosen.info, _from_wheel(Path(source), chosen.info)
    else:
        where, content = chosen.info, _bytes(package_folder(chosen, find_python(chosen, python)) / chosen.info)
    return PromptSuite(chosen, _prompts(chosen, content, where), where, hashlib.sha256(content).hexdigest())


def sampling_plan(
    prompts: PromptSuite,
    dimensions: Sequence[str] | None = None,
    *,
    samples: int | None = None,
    flickering_samples: int = FLICKERING_SAMPLES,
    first_seed: int = 0,
) -> pd.DataFrame:
    """A caption table with a row for each video that the standard protocol wants: video, caption, prompt_id, seed.

    Args:
        samples: videos a prompt, instead of the protocol's 5 (VBench) or 3 and 20 (VBench-2.0).
        flickering_samples: VBench recommends 25 for temporal flickering, since its static filter drops clips that move;
            without that filter its code reads the first 5.
        first_seed: sample i is drawn with seed `first_seed + i`.
    """
    wanted = {dimension.name for dimension in prompts.suite.choose(None if dimensions is None else list(dimensions))}
    rows = []
    for prompt in prompts.of(dimensions):
        count = samples or prompt.samples
        if samples is None and FLICKERING in wanted and FLICKERING in prompt.dimensions:
            count = max(count, flickering_samples)
        stem = prompts.suite.stem(prompt.text)
        rows += [(f"{stem}-{i}.mp4", prompt.text, prompt.prompt_id, first_seed + i) for i in range(count)]
    plan = pd.DataFrame(rows, columns=list(PLAN_COLUMNS))
    return plan.astype({"seed": "Int64"})


def plan_notes(prompts: PromptSuite, dimensions: Sequence[str] | None = None) -> list[str]:
    """What to know before sampling: prompts listed twice, names that clash, names that a disk may refuse."""
    chosen = prompts.of(dimensions)
    twice = [prompt for prompt in chosen if len(prompt.entries) > 1]
    notes = []
    if twice:
        listed = ", ".join(repr(prompt.text) for prompt in twice[:3])
        notes.append(
            f"{len(twice)} prompts are listed more than once ({listed}{', ...' if len(twice) > 3 else ''}): "
            "the same videos serve each listing"
        )
    stems = [prompts.suite.stem(prompt.text) for prompt in chosen]
    for stem, count in Counter(stems).items():
        if count > 1:
            notes.append(
                f"{count} prompts are the same in their first {prompts.suite.name_length} characters: {stem!r}"
            )
    folded: dict[str, set[str]] = {}
    for stem in stems:
        folded.setdefault(stem.casefold(), set()).add(stem)
    for clash in folded.values():
        if len(clash) > 1:
            names = " and ".join(repr(name) for name in sorted(clash))
            notes.append(f"{names} differ in capitals alone: a disk that ignores case keeps one of the two")
    for stem in stems:
        if "/" in stem:
            notes.append(f"{stem!r} has a slash, which no file's name may have")
        if len(f"{stem}-00.mp4".encode()) > LONGEST_NAME:
            notes.append(f"{stem[:60]!r}...: the file's name is longer than {LONGEST_NAME} bytes")
    return notes


def missing_videos(
    folder: str | Path, prompts: PromptSuite, dimensions: Sequence[str] | None = None, *, samples: int | None = None
) -> pd.DataFrame:
    """Is a folder complete for a suite? One row a dimension: prompts, wanted, found, missing, and which are missing.

    Suffixes count in any case and any container that is known here; the official code wants one suffix for all.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of videos")
    files = [file for file in folder.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file()]
    present = {file.stem for file in files if not file.name.startswith(TEMPORARY_PREFIX)}
    rows = []
    for dimension in prompts.suite.choose(list(dimensions) if dimensions is not None else None):
        members = prompts.of([dimension.name])
        count = samples or dimension.samples or prompts.suite.samples
        wanted = [f"{prompts.suite.stem(prompt.text)}-{i}" for prompt in members for i in range(count)]
        absent = [name for name in wanted if name not in present]
        rows.append((dimension.name, len(members), len(wanted), len(wanted) - len(absent), len(absent), absent))
    return pd.DataFrame(rows, columns=["dimension", "prompts", "wanted", "found", "missing", "missing_names"])


def stray_videos(folder: str | Path, prompts: PromptSuite) -> list[str]:
    """Videos of a folder that no prompt of the suite asks for, such as misspelt ones."""
    names = [file.name for file in sorted(Path(folder).iterdir()) if file.suffix.lower() in VIDEO_SUFFIXES]
    return [name for name in names if prompts.find(caption_of_name(name)) is None]


def _prompts(suite: OfficialSuite, content: bytes, where: str) -> tuple[Prompt, ...]:
    try:
        listed = json.loads(content)
        grouped: dict[str, list[dict[str, Any]]] = {}
        for entry in listed:
            names = entry["dimension"]
            entry = entry | {"dimension": [names] if isinstance(names, str) else list(names)}
            grouped.setdefault(entry["prompt_en"], []).append(entry)
        prompts = []
        for number, (text, entries) in enumerate(grouped.items()):
            names = tuple(dict.fromkeys(suite.dimension(d).name for entry in entries for d in entry["dimension"]))
            prompt_id = f"{suite.name}-{number:04d}"
            prompts.append(Prompt(text, prompt_id, names, tuple(entries), suite.prompt_samples(names)))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{where}: not a list of prompts of {suite.name} ({error!r})") from error
    if not prompts:
        raise UserError(f"{where}: holds no prompt")
    return tuple(prompts)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def _from_wheel(wheel: Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(name)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{wheel}: no wheel with {name} ({error})") from error
