"""The preference file: pairs of a winner and a loser for training on preferences (DPO), one JSON object a line.

A row is a pair and criterion on which one answer of "first better" and "second better" leads; ties are left out.

| field | what it is |
|---|---|
| schema | 1 |
| judges | "human" or "simulated" |
| criterion | what was asked |
| prompt_id, prompt, seed | the prompt's id and text; seed of the sampling, null if unknown |
| winner_arm, winner_video, winner_sha256 | what won: arm, path of the video, checksum of the file |
| loser_arm, loser_video, loser_sha256 | what lost |
| votes_winner, votes_tie, votes_loser | how many raters said so |

Paths are relative to the folder of the preference file, with `/`; the two null where only scores were judged.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from alice_repro.errors import UserError
from alice_repro.evaluation.preference.pairs import Side
from alice_repro.evaluation.preference.study import HUMAN, SIMULATED, Study
from alice_repro.files import atomic_write_text, sha256_file

SCHEMA = 1
FIELDS = (
    "schema judges criterion prompt_id prompt seed winner_arm winner_video winner_sha256 loser_arm loser_video "
    "loser_sha256 votes_winner votes_tie votes_loser"
).split()


def write_preferences(path: str | Path, study: Study, settled: pd.DataFrame) -> int:
    """Write the preference file of a study's settled pairs (`results.majorities`); return how many rows it has."""
    path = Path(path)
    pairs = {pair.id: pair for pair in study.pairs}
    lines = []
    for row in settled.to_dict("records"):
        if row["choice"] not in ("a", "b"):
            continue
        pair = pairs[row["pair"]]
        first_won = row["choice"] == "a"
        sides = (pair.a, pair.b) if first_won else (pair.b, pair.a)
        votes = (row["for_a"], row["for_b"]) if first_won else (row["for_b"], row["for_a"])
        entry: dict[str, Any] = {"schema": SCHEMA, "judges": study.judges, "criterion": row["criterion"]}
        entry |= {"prompt_id": pair.prompt, "prompt": pair.caption, "seed": pair.seed}
        for who, side in zip(("winner", "loser"), sides, strict=True):
            video = _relative(study, side, path.parent)
            entry |= {f"{who}_arm": side.arm, f"{who}_video": video, f"{who}_sha256": side.sha256}
        entry |= {"votes_winner": votes[0], "votes_tie": row["ties"], "votes_loser": votes[1]}
        lines.append(json.dumps(entry, ensure_ascii=False, allow_nan=False))
    atomic_write_text(path, "".join(line + "\n" for line in lines))
    return len(lines)


def read_preferences(path: str | Path, allow_simulated: bool = False, check: bool = True) -> pd.DataFrame:
    """Read a preference file; `winner_video` and `loser_video` become paths that can be opened.

    Args:
        allow_simulated: accept rows that no person judged.
        check: compare each video with its checksum.

    Raises:
        UserError: a line is damaged or lacks a field; rows are simulated and that is not allowed; a video is missing or
        has changed.
    """
    path = Path(path)
    rows = []
    try:
        content = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such preference file") from error
    for number, line in enumerate(content, start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}: line {number} is no JSON ({error})") from error
        if not isinstance(row, dict) or row.get("schema") != SCHEMA or set(row) != set(FIELDS):
            raise UserError(f"{path}: line {number} is not of schema {SCHEMA}, which has {', '.join(FIELDS)}")
        if row["judges"] not in (HUMAN, SIMULATED):
            raise UserError(f"{path}: line {number}: judges is {row['judges']!r}, not {HUMAN} or {SIMULATED}")
        if row["judges"] == SIMULATED and not allow_simulated:
            raise UserError(f"{path}: line {number} is of a simulated rater; allow those by name if they are wanted")
        for who in ("winner", "loser"):
            row[f"{who}_video"] = _opened(path, number, row, who, check)
        rows.append(row)
    return pd.DataFrame(rows, columns=FIELDS).astype({"seed": "Int64"})


def _relative(study: Study, side: Side, folder: Path) -> str | None:
    source = study.arms[side.arm]
    return None if source is None else Path(os.path.relpath(Path(source) / side.video, folder)).as_posix()


def _opened(path: Path, number: int, row: dict[str, Any], who: str, check: bool) -> Path | None:
    name = row[f"{who}_video"]
    if name is None:
        return None
    video = path.parent / name
    if check and sha256_file(video) != row[f"{who}_sha256"]:
        raise UserError(f"{video}: changed since it was judged ({path}, line {number})")
    return video
