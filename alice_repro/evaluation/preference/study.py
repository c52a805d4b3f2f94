"""A study: what is compared, what is asked, of whom. Fixed by its first call and kept in study.json."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alice_repro.errors import UserError, unknown_name
from alice_repro.evaluation.preference.pairs import COMPARISON, Pair, Side
from alice_repro.evaluation.preference.playable import make_damaged, make_playable
from alice_repro.files import read_json, sha256_file, write_json
from alice_repro.progress import track

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
        plain = one_spelling(name)
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


def one_spelling(name: str) -> str:
    """A rater's name without what two spellings of it may differ in."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
