"""How a study begins, and how it goes on: its pairs, attention checks and clips."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alice_repro.errors import UserError
from alice_repro.evaluation.preference.pairs import (
    IDENTICAL,
    PLANTED,
    Pair,
    Side,
    arm_names,
    match_arms,
    pair_id,
    videos_of,
)
from alice_repro.evaluation.preference.playable import make_playable
from alice_repro.evaluation.preference.study import HUMAN, SIMULATED, STUDY, Study, one_spelling, read_study
from alice_repro.files import sha256_file
from alice_repro.media import VideoError
from alice_repro.progress import log, track


def open_study(
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    prompts: str | Path | None = None,
    criteria: Sequence[str] = ("overall",),
    votes: int = 3,
    raters: Sequence[str] = (),
    most: int = 0,
    check_every: int = 0,
    pairs: int = 0,
    only_first: bool = False,
    seed: int = 0,
) -> Study:
    """Begin a study of folders of videos, or go on with the one in `out`, and make the clips for the page.

    Args:
        folders: two or more, an arm each.
        prompts: of all of them, as for `evaluate`: a CSV or JSON file, or "names"; None: captions.csv in each folder,
            else the files' names.
        pairs: compare so many pairs, drawn by prompt with the seed; 0: all.
        only_first: compare the first arm with each other one, not all with all.
        criteria, votes, raters, most, check_every, seed: see `Study`.

    Raises:
        UserError: nothing can be compared, or `out` holds a study of something else.
    """
    names = arm_names(folders)
    found = {arm: videos_of(path, prompts) for arm, path in names.items()}
    matched, unmatched = match_arms({arm: table for arm, (table, _) in found.items()}, only_first)
    left_out = [line for _, lines in found.values() for line in lines] + unmatched
    settings = {
        "judges": HUMAN,
        "arms": {arm: str(path) for arm, path in names.items()},
        "criteria": tuple(criteria),
        "votes": votes,
        "raters": tuple(one_spelling(name) for name in raters),
        "most": most,
        "check_every": check_every,
        "seed": seed,
    }
    out = Path(out)
    if (out / STUDY).exists():
        study = read_study(out)
        _require_same(study, settings, _some_prompts(matched, pairs, seed))
        # More votes a pair and more raters may be asked for later; what was seen and asked stays.
        study = dataclasses.replace(study, votes=votes, raters=settings["raters"], most=most)
        study.save()
        study.make_clips()
        return study
    matched = _some_prompts(matched, pairs, seed)
    study = Study(folder=out, secret=secrets.token_hex(16), pairs=(), **settings)
    study = _with_clips(study, matched, left_out)
    study.save()
    return study


def simulated_study(
    out: str | Path, matched: Sequence[Pair], arms: Mapping[str, str | Path | None], **settings: Any
) -> Study:
    """Begin a study for simulated raters; sides get their checksum where the arm's folder of videos is known."""
    if (Path(out) / STUDY).exists():
        raise UserError(f"{out}: holds a study already; simulated votes go to a folder of their own")
    folders = {arm: str(Path(path).resolve()) if path is not None else None for arm, path in arms.items()}

    def known(side: Side) -> Side:
        folder = folders[side.arm]
        return side if folder is None else dataclasses.replace(side, sha256=sha256_file(Path(folder) / side.video))

    pairs = tuple(dataclasses.replace(pair, a=known(pair.a), b=known(pair.b)) for pair in matched)
    rest = {"raters": (), "most": 0, "check_every": 0, "secret": secrets.token_hex(16)}
    study = Study(folder=Path(out), judges=SIMULATED, arms=folders, pairs=pairs, **rest, **settings)
    study.save()
    return study


def _require_same(study: Study, settings: Mapping[str, Any], matched: Sequence[Pair]) -> None:
    """Raise `UserError` unless the study is of these arms and settings; pairs that came since are named and left."""
    free = ("votes", "raters", "most")
    for name, value in settings.items():
        known = getattr(study, name)
        same = list(known.items()) == list(value.items()) if name == "arms" else known == value
        if name not in free and not same:
            raise UserError(
                f"{study.folder}: holds a study with {name} = {known!r}, not {value!r}; go on with "
                "that, or begin another with another --out"
            )

    gone = {pair.id for pair in study.comparisons} - {pair.id for pair in matched}
    if gone:
        raise UserError(
            f"{study.folder}: holds a study of other pairs ({len(gone)} of them are not among these); go on with the "
            "same prompts, number of pairs and arms, or begin another with another --out"
        )
    further = len(matched) - len(study.comparisons)
    if further:
        log(f"{further} pairs are not part of this study: broken when it began, or made since")


def _some_prompts(matched: list[Pair], count: int, seed: int) -> list[Pair]:
    """As many pairs, of prompts drawn in a random order: whole prompts as long as they fit."""
    if not count or count >= len(matched):
        return matched
    prompts = sorted({pair.prompt for pair in matched})
    order = {prompts[i]: n for n, i in enumerate(np.random.default_rng(seed).permutation(len(prompts)))}
    kept = {pair.id for pair in sorted(matched, key=lambda pair: order[pair.prompt])[:count]}
    return [pair for pair in matched if pair.id in kept]


def _with_clips(study: Study, matched: list[Pair], left_out: list[str]) -> Study:
    """The study with its pairs, checks and clips; videos that do not decode are left out and named."""
    checksums: dict[Path, str] = {}
    broken: dict[Path, str] = {}
    sources = {Path(study.arms[side.arm]) / side.video: side for pair in matched for side in (pair.a, pair.b)}
    for path, side in track(list(sources.items()), "videos for the page"):
        checksums[path] = sha256_file(path)
        try:
            clip = study.clip(dataclasses.replace(side, sha256=checksums[path]))
            if not clip.exists():
                make_playable(path, clip)
        except VideoError as error:
            broken[path] = str(error)
    pairs, lines = [], list(left_out)
    for pair in matched:
        paths = [Path(study.arms[side.arm]) / side.video for side in (pair.a, pair.b)]
        faults = [broken[path] for path in paths if path in broken]
        if faults:
            lines.append(f"{pair.caption!r}: {'; '.join(faults)}")
            continue
        a, b = (dataclasses.replace(s, sha256=checksums[p]) for s, p in zip((pair.a, pair.b), paths, strict=True))
        pairs.append(dataclasses.replace(pair, a=a, b=b))
    if not pairs:
        raise UserError(f"no pair can be shown; the first reason: {lines[0]}")
    checked = dataclasses.replace(
        study, pairs=(*pairs, *_checks(pairs, study.check_every, study.seed)), left_out=tuple(lines)
    )
    checked.make_clips()
    return checked


def _checks(pairs: Sequence[Pair], every: int, seed: int) -> list[Pair]:
    """Attention checks made of some comparisons' first videos: by turns the same video twice, and beside its ruin."""
    if not every:
        return []
    count = -(-len(pairs) // every)
    checks = []
    for n, i in enumerate(np.random.default_rng(seed).permutation(len(pairs))[:count]):
        source = pairs[i]
        kind = IDENTICAL if n % 2 == 0 else PLANTED
        other = dataclasses.replace(source.a, damaged=kind == PLANTED)
        checks.append(dataclasses.replace(source, id=pair_id(kind, source.prompt, source.a, other), b=other, kind=kind))
    return checks
