"""Simulated raters: votes computed from score tables, for trying a protocol or a method without people.

All that comes of it says "simulated": the study, each line of its log, every table and every preference. They judge by
a lab score table alone (`evaluation.lab`), never by a video.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from alice_repro.errors import UserError, unknown_name
from alice_repro.evaluation.index import read_scores
from alice_repro.evaluation.preference.ballot import FIRST, SECOND, TIE, Ballot
from alice_repro.evaluation.preference.opening import simulated_study
from alice_repro.evaluation.preference.pairs import match_arms
from alice_repro.evaluation.preference.study import SIMULATED, VOTES, Study
from alice_repro.evaluation.preference.votes import VoteLog

MOTION_DEFECTS = ("gravity_reversed", "teleport", "vanish", "interpenetration", "frozen")
_NEEDED = ("endpoint", "correct", "motion")


def worth(scores: pd.DataFrame, criterion: str) -> list[tuple[float, ...]]:
    """What a rater without error goes by, per video: tuples, the greater the better; equal ones tie.

    overall: correct and sound, then fewer defects; quality: fewer defects; motion: the motion asked for, then fewer
    defects of motion; alignment: agrees with the caption.
    """
    flags = [name for name in scores.columns if name.startswith("flag_")]
    motion_flags = [f"flag_{name}" for name in MOTION_DEFECTS]
    absent = [name for name in (*_NEEDED, *motion_flags) if name not in scores.columns]
    if absent:
        raise UserError(f"a simulated rater needs a lab score table; {', '.join(absent)} is missing")
    defects, motion_defects = scores[flags].sum(axis=1), scores[motion_flags].sum(axis=1)
    rules: dict[str, Callable[[], list[pd.Series]]] = {
        "overall": lambda: [scores["endpoint"], -defects],
        "quality": lambda: [-defects],
        "motion": lambda: [scores["motion"], -motion_defects],
        "alignment": lambda: [scores["correct"]],
    }
    if criterion not in rules:
        raise unknown_name("criterion", criterion, rules)
    parts = rules[criterion]()
    if any(part.isna().any() for part in parts):
        raise UserError(f"criterion {criterion!r}: a score that it needs is missing")
    return [tuple(map(float, row)) for row in zip(*parts, strict=True)]


def simulate_votes(
    scores: Mapping[str, str | Path | pd.DataFrame],
    out: str | Path,
    *,
    raters: int = 3,
    error_rate: float = 0.1,
    criteria: Sequence[str] = ("overall",),
    votes: int = 3,
    only_first: bool = False,
    folders: Mapping[str, str | Path] | None = None,
    seed: int = 0,
) -> Study:
    """Fill a study in `out` with votes of simulated raters; `write_results` then writes its tables.

    Args:
        scores: arm -> lab score table, or its path.
        raters: how many.
        error_rate: chance that an answer is replaced by one of the two others, either as likely.
        criteria, votes, only_first: as for people.
        folders: arm -> folder of its videos, for the preference file; without them it names no videos.
        seed: of the errors, the order and the sides.

    Raises:
        UserError: a table is no lab score table, nothing can be compared, the error rate is not in [0, 1], there are
        fewer raters than votes, or `out` holds a study already.
    """
    if not 0 <= error_rate <= 1:
        raise UserError(f"error_rate {error_rate}: it must lie in [0, 1]")
    if raters < votes:
        raise UserError(f"{votes} votes a pair need as many raters, got {raters}")
    tables = {arm: table if isinstance(table, pd.DataFrame) else read_scores(table) for arm, table in scores.items()}
    known = {
        (arm, video, criterion): value
        for arm, table in tables.items()
        for criterion in criteria
        for video, value in zip(table["video"], worth(table, criterion), strict=True)
    }
    matched, left_out = match_arms(tables, only_first)
    arms = {arm: (folders or {}).get(arm) for arm in tables}
    study = simulated_study(
        out, matched, arms, criteria=tuple(criteria), votes=votes, seed=seed, left_out=tuple(left_out)
    )
    log = VoteLog(study.folder / VOTES, durable=False)
    try:
        ballot = Ballot(study, log)
        for n in range(1, raters + 1):
            _vote_all(ballot, f"{SIMULATED}-{n} (error rate {error_rate:g})", known, error_rate, n)
    finally:
        log.close()
    return study


def _vote_all(
    ballot: Ballot, rater: str, known: Mapping[tuple[str, str, str], tuple[float, ...]], error_rate: float, n: int
) -> None:
    rng = np.random.default_rng((ballot.study.seed, n))
    while (task := ballot.task(rater)) is not None:
        for criterion in ballot.study.criteria:
            one, two = (known[side.arm, side.video, criterion] for side in task.sides)
            choice = TIE if one == two else FIRST if one > two else SECOND
            if rng.random() < error_rate:
                choice = rng.choice([other for other in (FIRST, SECOND, TIE) if other != choice])
            ballot.vote(rater, task.pair.id, criterion, str(choice))
