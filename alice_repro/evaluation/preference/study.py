"""A study: what is compared, what is asked, of whom. Fixed by its first call and kept in study.json."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alice_repro.errors import UserError, unknown_name
from alice_repro.evaluation.preference.pairs import (
    COMPARISON,
    IDENTICAL,
    PLANTED,
    Pair,
    Side,
    arm_names,
    match_arms,
    pair_id,
    videos_of,
)
from alice_repro.evaluation.preference.playable import make_damaged, make_playable
from alice_repro.files import read_json, sha256_file, write_json
from alice_repro.media import VideoError
from alice_repro.progress import log, track

STUDY, VOTES, CLIPS = "study.json", "votes.jsonl", "clips"
HUMAN, SIMULATED = "human", "simulated"
SCHEMA = 1
CRITERIA = {
    "overall": "Which video is better?",
    "quality": "Which video looks better?",
    "motion": "Which video moves more naturally?",
    "alignment": "Which video fits the text better?",
}
"""What raters are asked. AVD asked for visual quality and alignment with the prompt; Alice does not say."""
LONGEST_NAME = 40


@dataclass(frozen=True)
class Study:
    """What is compared and how.

    Attributes:
        folder: where study.json, the votes and the clips lie.
        judges: "human" or "simulated"; the same for every vote of a study.
        arms: name -> folder of videos, or None where only scores are known.
        criteria: what is asked of each pair, names of `CRITERIA`.
        votes: raters who judge a pair before it is done.
        raters: who may vote; empty: whoever gives a name.
        most: comparisons that one rater is asked for at most; 0: no limit.
        check_every: one attention check in each so many comparisons; 0: none.
        seed: of the order and sides, with the rater's name.
        secret: makes the names that the page sees.
        pairs: comparisons and attention checks.
        left_out: a line for each prompt or video that is not compared, with the reason.
    """

    folder: Path
    judges: str
    arms: dict[str, str | None]
    criteria: tuple[str, ...]
    votes: int
    raters: tuple[str, ...]
    most: int
    check_every: int
    seed: int
    secret: str
    pairs: tuple[Pair, ...]
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.criteria:
            if name not in CRITERIA:
                raise unknown_name("criterion", name, CRITERIA)
        if not self.criteria or len(set(self.criteria)) != len(self.criteria):
            raise UserError("criteria: name one or more, each once")
        if self.votes < 1 or self.most < 0 or self.check_every < 0:
            raise UserError("votes must be 1 or more; most and check_every 0 or more")

    @property
    def comparisons(self) -> list[Pair]:
        return [pair for pair in self.pairs if pair.kind == COMPARISON]

    def opaque(self, *parts: str) -> str:
        """A name for the page that says nothing of what it names, and that nobody can guess."""
        return hmac.new(self.secret.encode(), "\0".join(parts).encode(), "sha256").hexdigest()[:24]

    def rank(self, *parts: str) -> int:
        """A random number of 64 bits that depends on the seed and `parts` alone."""
        return int(hashlib.sha256("\0".join((str(self.seed), *parts)).encode()).hexdigest()[:16], 16)

    def rater(self, name: Any) -> str:
        """One spelling of a rater's name, so that "Anna " is Anna. Raises `UserError` if it is none, or not invited."""
        if not isinstance(name, str):
            raise UserError("the rater's name must be a text")
        plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        if not 0 < len(plain) <= LONGEST_NAME or not plain.isprintable():
            raise UserError(f"give a name or code of 1 to {LONGEST_NAME} letters")
        if self.judges == HUMAN and plain.startswith(SIMULATED):
            raise UserError(f"names that begin with {SIMULATED!r} are not for people")
        if self.raters and plain not in self.raters:
            raise UserError(f"{plain!r} is not among the raters of this study")
        return plain

    def clip(self, side: Side) -> Path:
        """The copy of a side's video that the page plays."""
        return self.folder / CLIPS / f"{side.sha256[:32]}{'-damaged' if side.damaged else ''}.mp4"

    def make_clips(self) -> None:
        """Make the copies that are not there.

        Raises:
            UserError: a video has changed since the study began.
        """
        sides = {self.clip(side): side for pair in self.pairs for side in (pair.a, pair.b)}
        missing = [(path, side) for path, side in sides.items() if not path.exists()]
        for path, side in track(missing, "videos for the page") if missing else ():
            source = Path(self.arms[side.arm]) / side.video
            if sha256_file(source) != side.sha256:
                raise UserError(
                    f"{source}: changed since the study in {self.folder} began; begin one with another --out"
                )
            if side.damaged:
                make_damaged(source, path, self.seed)
            else:
                make_playable(source, path)

    def save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "folder"}
        write_json(self.folder / STUDY, {"schema": SCHEMA, **fields})


def read_study(folder: str | Path) -> Study:
    """Read a study. Raises `UserError` if there is none in the folder."""
    folder = Path(folder)
    content = read_json(folder / STUDY)
    if not isinstance(content, dict) or content.pop("schema", None) != SCHEMA:
        raise UserError(f"{folder / STUDY}: not a study of schema {SCHEMA}")
    pairs = tuple(Pair(**{**pair, "a": Side(**pair["a"]), "b": Side(**pair["b"])}) for pair in content.pop("pairs"))
    lists = {name: tuple(content.pop(name)) for name in ("criteria", "raters", "left_out")}
    return Study(folder=folder, pairs=pairs, **lists, **content)


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
        "raters": tuple(" ".join(unicodedata.normalize("NFKC", name).casefold().split()) for name in raters),
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
