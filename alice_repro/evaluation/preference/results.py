"""What a study's votes say, as tables: shares of wins, agreement, ranking, raters; each number with its interval.

Every table has the column `judges`, "human" or "simulated". Two ways of counting, both named: "pooled votes", where
each vote counts once (as Alice counts), and "majority of a pair", where a pair that has its votes counts once, for the
answer that most raters gave, and as a tie where no answer leads (AVD counts majorities; it does not say what it did
without one).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from alice_repro.errors import UserError
from alice_repro.evaluation.preference.agreement import agreement
from alice_repro.evaluation.preference.ballot import TIE
from alice_repro.evaluation.preference.bradley_terry import rank_arms
from alice_repro.evaluation.preference.shares import mean_share, share
from alice_repro.evaluation.preference.standing import counted_votes, majorities, rater_table, standing_votes
from alice_repro.evaluation.preference.study import Study, read_study
from alice_repro.statistics import Estimate

POOLED, MAJORITY = "pooled votes", "majority of a pair"
ANY = "all others"
_ANSWERS = {"a": 0, TIE: 1, "b": 2}


@dataclass(frozen=True)
class Results:
    """Tables of a study.

    Attributes:
        study: what was asked.
        votes: those that count, a row each (`standing_votes`).
        shares: a row per criterion, way of counting, arm and other arm: win, tie, loss and net (win - loss), each with
            `_low` and `_high` over prompts, for these raters; `net_low_raters` and `net_high_raters` over prompts and
            raters, for other raters too.
        agreement: a row per criterion.
        ranking: a row per criterion and arm.
        raters: a row per rater: votes, skips, median seconds, attention checks.
        excluded: raters whose votes do not count, and why.
    """

    study: Study
    votes: pd.DataFrame
    shares: pd.DataFrame
    agreement: pd.DataFrame
    ranking: pd.DataFrame
    raters: pd.DataFrame
    excluded: dict[str, str]


def results(folder: str | Path, min_checks: float = 0.0) -> Results:
    """Tables of the study in a folder.

    Args:
        min_checks: leave out raters who pass a smaller share of their attention checks.

    Raises:
        UserError: no study there, no votes yet, or none that counts.
    """
    study = read_study(folder)
    votes = standing_votes(study)
    raters = rater_table(votes)
    failed = raters[(raters["checks"] > 0) & (raters["checks_passed"] < min_checks * raters["checks"])]
    excluded = {
        row["rater"]: f"passed {row['checks_passed']} of {row['checks']} attention checks"
        for row in failed.to_dict("records")
    }
    counted = counted_votes(votes, excluded)
    if counted.empty:
        raise UserError(f"{study.folder}: no vote counts: all are skips, checks, or of excluded raters")
    return Results(
        study,
        counted,
        share_table(counted, study.votes),
        agreement_table(counted),
        ranking_table(counted, list(study.arms)),
        raters,
        excluded,
    )


def share_table(votes: pd.DataFrame, needed: int) -> pd.DataFrame:
    """See `Results.shares`. `n` counts votes or pairs; `undecided`: pairs without a leading answer, counted as ties;
    `unfinished`: pairs with too few votes for a majority.
    """
    arms = list(dict.fromkeys([*votes["arm_a"], *votes["arm_b"]]))
    settled = majorities(votes, needed)
    rows = []
    for criterion, here in votes.groupby("criterion", sort=False):
        pairs_here = settled[settled["criterion"] == criterion]
        contests = [(x, y) for x, y in combinations(arms, 2)]
        contests += [(x, ANY) for x in arms] if len(arms) > 2 else []
        for arm, other in contests:
            for method, table in ((POOLED, here), (MAJORITY, pairs_here)):
                side = _from_side(table, arm, other)
                if side.empty:
                    continue
                row = {"judges": side["judges"].iloc[0], "criterion": criterion, "counting": method, "arm": arm,
                       "versus": other, "n": len(side), "prompts": side["prompt"].nunique(),
                       "raters": here[here["pair"].isin(side["pair"])]["rater"].nunique()}  # fmt: skip
                for name, value in (("win", 1), ("tie", 0), ("loss", -1)):
                    row |= _cells(name, share(side["result"] == value, side["prompt"]))
                row |= _cells("net", mean_share(side["result"], side["prompt"]))
                if method == POOLED:
                    both = mean_share(side["result"], side["prompt"], side["rater"])
                    row |= {"net_low_raters": _cell(both.low), "net_high_raters": _cell(both.high)}
                    row |= {"undecided": None, "unfinished": None}
                else:
                    judged = _from_side(here, arm, other)["pair"].nunique()
                    row |= {"net_low_raters": None, "net_high_raters": None}
                    row |= {"undecided": int((~side["leads"]).sum()), "unfinished": judged - len(side)}
                rows.append(row)
    return pd.DataFrame(rows).astype({"undecided": "Int64", "unfinished": "Int64"})


def agreement_table(votes: pd.DataFrame) -> pd.DataFrame:
    """Krippendorff's alpha, nominal (win, tie, loss as mere names) and ordinal (in that order), and the share of
    pairs of raters that agree; intervals over prompts.
    """
    rows = []
    for criterion, here in votes.groupby("criterion", sort=False):
        units: dict[str, list[int]] = {}
        for pair, answer in zip(here["pair"], here["choice"].map(_ANSWERS), strict=True):
            units.setdefault(pair, []).append(answer)
        prompt_of = dict(zip(here["pair"], here["prompt"], strict=True))
        ratings, prompts = list(units.values()), [prompt_of[pair] for pair in units]
        nominal, ordinal = (agreement(ratings, prompts, len(_ANSWERS), level) for level in ("nominal", "ordinal"))
        row = {"judges": here["judges"].iloc[0], "criterion": criterion, "raters": here["rater"].nunique(),
               "pairs": nominal.units}  # fmt: skip
        row |= _cells("alpha", nominal.alpha) | _cells("alpha_ordinal", ordinal.alpha) | _cells("same", nominal.raw)
        rows.append(row | {"reason": nominal.reason})
    return pd.DataFrame(rows)


def ranking_table(votes: pd.DataFrame, arms: list[str]) -> pd.DataFrame:
    """Bradley-Terry-Davidson strengths (log scale, mean 0), best first; empty with a `reason` where none are fixed."""
    index = {arm: k for k, arm in enumerate(arms)}
    rows = []
    for criterion, here in votes.groupby("criterion", sort=False):
        i, j = here["arm_a"].map(index), here["arm_b"].map(index)
        fit = rank_arms(arms, i, j, here["choice"].map(_ANSWERS), here["prompt"])
        common = {"judges": here["judges"].iloc[0], "criterion": criterion}
        if fit.strengths is None:
            rows += [common | {"rank": None, "arm": arm, **_cells("strength", None), "nu": None, "votes": None,
                               "reason": fit.reason} for arm in arms]  # fmt: skip
            continue
        best = sorted(fit.strengths.items(), key=lambda item: -item[1].value)
        rows += [
            common
            | {"rank": place, "arm": arm, **_cells("strength", value), "nu": fit.nu, "votes": value.n, "reason": ""}
            for place, (arm, value) in enumerate(best, start=1)
        ]
    return pd.DataFrame(rows).astype({"rank": "Int64", "votes": "Int64"})


def _from_side(table: pd.DataFrame, arm: str, other: str) -> pd.DataFrame:
    """Rows in which `arm` meets `other`, with `result` 1, 0, -1 as `arm` sees it."""
    ahead = (table["arm_a"] == arm) & ((table["arm_b"] == other) | (other == ANY))
    behind = (table["arm_b"] == arm) & ((table["arm_a"] == other) | (other == ANY))
    value = table["choice"].map({"a": 1, TIE: 0, "b": -1})
    return table.assign(result=np.where(behind, -value, value))[ahead | behind]


def _cells(name: str, value: Estimate | None) -> dict[str, float | None]:
    if value is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: _cell(value.value), f"{name}_low": _cell(value.low), f"{name}_high": _cell(value.high)}


def _cell(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
