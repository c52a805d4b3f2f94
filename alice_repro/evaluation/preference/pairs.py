"""Which videos are compared: two arms' videos of the same prompt, and of the same seed where both say theirs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path, PurePosixPath

import pandas as pd

from alice_repro.errors import UserError
from alice_repro.evaluation.index import index_videos
from alice_repro.evaluation.prompts import CAPTIONS, prompt_of_name, read_prompts

COMPARISON, IDENTICAL, PLANTED = "comparison", "identical", "planted"


@dataclass(frozen=True)
class Side:
    """One video of a pair. `sha256` is None where only its scores are known; `damaged`: spoiled on purpose."""

    arm: str
    video: str
    sha256: str | None = None
    damaged: bool = False


@dataclass(frozen=True)
class Pair:
    """Two videos to compare.

    Attributes:
        id: short hash of what is compared, the same in every study of the same videos.
        prompt: what intervals cluster by: the prompt_id, else the caption.
        caption: what raters read.
        seed: of the sampling, where both sides share one.
        a, b: the sides, in the order of the arms.
        kind: "comparison", or an attention check: "identical" sides, or b "planted" with damage.
    """

    id: str
    prompt: str
    caption: str
    seed: int | None
    a: Side
    b: Side
    kind: str = COMPARISON


def pair_id(kind: str, prompt: str, a: Side, b: Side) -> str:
    text = "\0".join((kind, prompt, a.arm, a.video, b.arm, b.video))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def arm_names(folders: Sequence[str | Path]) -> dict[str, Path]:
    """Name each folder by as much of the end of its path as tells it from the others.

    Raises:
        UserError: a folder is given twice.
    """
    paths = [Path(os.path.abspath(folder)) for folder in folders]
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return dict(zip(names, paths, strict=True))
    raise UserError(f"a folder is given twice: {', '.join(map(str, folders))}")


def videos_of(folder: Path, prompts: str | Path | None = None) -> tuple[pd.DataFrame, list[str]]:
    """Table of a folder's videos: video, prompt_id ("" if unknown), caption, seed (nullable integer).

    Args:
        prompts: as for `read_prompts`: a caption table, "names", or None for the folder's own table, else the names.

    Returns:
        the table, and a line for each video that only the folder or only the caption table has.

    Raises:
        UserError: no videos, a malformed caption table, or one that names none of the videos.
    """
    there = [row.video for row in index_videos(folder)]
    known, _ = read_prompts(prompts, folder)
    if known is None:
        # Folders below the arm's (one a dimension) keep equal captions apart.
        rows = []
        for video in there:
            found = prompt_of_name(video)
            prompt_id = (PurePosixPath(video).parent / found["caption"]).as_posix()
            rows.append({"video": video, "prompt_id": prompt_id, **found})
        table = pd.DataFrame(rows)
        return table.assign(seed=table["seed"].astype("Int64")), []
    missing, bare = (sorted(x - y) for x, y in ((set(known["video"]), set(there)), (set(there), set(known["video"]))))
    if len(missing) == len(known):
        raise UserError(f"{folder}: its caption table names none of its videos, but for example {missing[0]}")
    lines = [f"{folder.name}/{name}: is not there" for name in missing]
    lines += [f"{folder.name}/{name}: has no caption" for name in bare]
    known = known[known["video"].isin(there)].reset_index(drop=True)
    seeds = known["seed"] if "seed" in known else pd.array([pd.NA] * len(known), dtype="Int64")
    prompt_id = known["prompt_id"] if "prompt_id" in known else ""
    return known[["video", "caption"]].assign(prompt_id=prompt_id, seed=seeds), lines


def match_arms(tables: Mapping[str, pd.DataFrame], only_first: bool = False) -> tuple[list[Pair], list[str]]:
    """Pair the arms' videos.

    Args:
        tables: arm -> table with video, caption, prompt_id, seed.
        only_first: compare the first arm with each other one, not all with all.

    Returns:
        the pairs, and a line for each prompt that some arm lacks or has fewer videos of.

    Raises:
        UserError: fewer than two arms, a prompt_id with two captions, a seed used twice for a prompt in an arm, or
        two arms without a prompt in common.
    """
    if len(tables) < 2:
        raise UserError("a comparison needs two arms or more")
    keyed = _with_prompts(tables)
    pairs, lines = [], []
    for first, second in combinations(keyed, 2):
        if only_first and first != next(iter(keyed)):
            continue
        found, unmatched = _match(first, keyed[first], second, keyed[second])
        if not found:
            example = [next(iter(keyed[arm]["caption"]), "no video") for arm in (first, second)]
            raise UserError(
                f"{first} and {second} have no prompt (and seed) in common: the first shows {example[0]!r}, the second "
                f"{example[1]!r}; give both the same prompts in a {CAPTIONS} or in their file names"
            )
        pairs += found
        lines += unmatched
    return pairs, lines


def _with_prompts(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Each table with the column `prompt`: prompt_id where every arm has it for every video, else the caption."""
    numbered = all((table["prompt_id"].fillna("").astype(str) != "").all() for table in tables.values())
    keyed = {
        arm: table.assign(prompt=table["prompt_id" if numbered else "caption"].astype(str).str.strip())
        for arm, table in tables.items()
    }
    captions: dict[str, str] = {}
    for arm, table in keyed.items():
        for prompt, caption in zip(table["prompt"], table["caption"], strict=True):
            if captions.setdefault(prompt, caption).strip() != caption.strip():
                raise UserError(f"prompt {prompt!r} is {captions[prompt]!r} in one arm and {caption!r} in {arm}")
        seeded = table[table["seed"].notna()]
        twice = seeded[seeded.duplicated(["prompt", "seed"])]
        if len(twice):
            row = twice.iloc[0]
            raise UserError(f"{arm}: seed {row['seed']} of prompt {row['prompt']!r} stands twice, at {row['video']}")
    return keyed


def _match(first: str, left: pd.DataFrame, second: str, right: pd.DataFrame) -> tuple[list[Pair], list[str]]:
    pairs, unmatched = [], []
    here, there = _by_prompt(left), _by_prompt(right)
    for prompt, rows in here.items():
        if prompt not in there:
            unmatched.append(f"{prompt!r}: not in {second}")
            continue
        joined = _join(rows, there[prompt])
        for x, y, seed in joined:
            a, b = Side(first, x["video"]), Side(second, y["video"])
            pairs.append(Pair(pair_id(COMPARISON, prompt, a, b), prompt, x["caption"].strip(), seed, a, b))
        left_over = len(rows) + len(there[prompt]) - 2 * len(joined)
        if left_over:
            unmatched.append(f"{prompt!r}: {left_over} videos of {first} or {second} have no partner")
    unmatched += [f"{prompt!r}: not in {first}" for prompt in there if prompt not in here]
    return pairs, unmatched


def _by_prompt(table: pd.DataFrame) -> dict[str, list[dict]]:
    """The rows of each prompt, by the videos' names; prompts in the table's order."""
    rows: dict[str, list[dict]] = {prompt: [] for prompt in table["prompt"]}
    for row in table.sort_values("video").to_dict("records"):
        rows[row["prompt"]].append(row)
    return rows


def _join(rows: list[dict], others: list[dict]) -> list[tuple[dict, dict, int | None]]:
    """Rows of one prompt, joined by seed if all have one, else in the order of their names."""
    if all(pd.notna(row["seed"]) for row in (*rows, *others)):
        by_seed = {int(row["seed"]): row for row in others}
        return [(row, by_seed[int(row["seed"])], int(row["seed"])) for row in rows if int(row["seed"]) in by_seed]
    return [(x, y, None) for x, y in zip(rows, others, strict=False)]
