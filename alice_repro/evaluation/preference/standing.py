"""The votes of a study that stand, and what is counted from them directly: majorities and raters."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alice_repro.errors import UserError
from alice_repro.evaluation.preference.ballot import SKIP, TIE
from alice_repro.evaluation.preference.pairs import COMPARISON, IDENTICAL
from alice_repro.evaluation.preference.study import VOTES, Study
from alice_repro.evaluation.preference.votes import read_votes


def standing_votes(study: Study) -> pd.DataFrame:
    """The votes that stand (not taken back), a row each, checks and skips among them.

    Columns: judges, rater, pair, kind, prompt, seed, caption, criterion, arm_a, arm_b, choice ("a", "b", "tie",
    "skip"), first (which side was video 1), seconds.
    """
    pairs = {pair.id: pair for pair in study.pairs}
    standing: dict[tuple[str, str], dict[str, dict]] = {}
    for event in read_votes(study.folder / VOTES):
        key = (event["rater"], event["pair"])
        if event["judges"] != study.judges or event["pair"] not in pairs:
            raise UserError(f"{study.folder / VOTES}: has votes that are not of this study; put its own log there")
        if event["event"] == "vote":
            standing.setdefault(key, {})[event["criterion"]] = event
        elif event["event"] == "undo":
            standing.pop(key, None)
    rows = []
    for (rater, name), answers in standing.items():
        pair = pairs[name]
        for criterion, event in answers.items():
            rows.append(
                {
                    "judges": study.judges, "rater": rater, "pair": name, "kind": pair.kind, "prompt": pair.prompt,
                    "seed": pair.seed, "caption": pair.caption, "criterion": criterion, "arm_a": pair.a.arm,
                    "arm_b": pair.b.arm, "choice": event["choice"], "first": event["first"],
                    "seconds": event["seconds"],
                }
            )  # fmt: skip
    if not rows:
        raise UserError(f"{study.folder}: no votes yet")
    return pd.DataFrame(rows).astype({"seed": "Int64"})


def counted_votes(votes: pd.DataFrame, excluded: dict[str, str] | None = None) -> pd.DataFrame:
    """Votes on comparisons that are no skips and of raters who count."""
    return votes[(votes["kind"] == COMPARISON) & (votes["choice"] != SKIP) & ~votes["rater"].isin(list(excluded or ()))]


def majorities(votes: pd.DataFrame, needed: int) -> pd.DataFrame:
    """One row per pair and criterion with `needed` votes or more.

    Columns: those of the pair, with `for_a`, `ties`, `for_b`, `votes`, `choice` (the answer that leads, else "tie") and
    `leads` (whether one does).
    """
    keys = ["judges", "criterion", "pair", "prompt", "seed", "caption", "arm_a", "arm_b"]
    answers: dict[tuple[str, str], list[str]] = {}
    described: dict[tuple[str, str], dict] = {}
    for row in votes.to_dict("records"):
        key = (row["criterion"], row["pair"])
        answers.setdefault(key, []).append(row["choice"])
        described[key] = {name: row[name] for name in keys}
    rows = []
    for key, given in answers.items():
        counts = [given.count(choice) for choice in ("a", TIE, "b")]
        if sum(counts) < needed:
            continue
        leads = counts.count(max(counts)) == 1
        choice = ("a", TIE, "b")[int(np.argmax(counts))] if leads else TIE
        tally = {"for_a": counts[0], "ties": counts[1], "for_b": counts[2], "votes": sum(counts)}
        rows.append(described[key] | tally | {"choice": choice, "leads": leads})
    columns = [*keys, "for_a", "ties", "for_b", "votes", "choice", "leads"]
    return pd.DataFrame(rows, columns=columns).astype({"seed": "Int64"})


def rater_table(votes: pd.DataFrame) -> pd.DataFrame:
    """Per rater: comparisons judged, skips, share of ties and of video 1, median seconds to the first answer, checks.

    A check of identical videos is passed by "about the same" throughout, one with a damaged video by preferring the
    whole one somewhere and the damaged one nowhere.
    """
    rows = []
    for rater, mine in votes.groupby("rater", sort=True):
        compared = mine[mine["kind"] == COMPARISON]
        judged = compared[compared["choice"] != SKIP]
        checks = [_passed(group) for _, group in mine[mine["kind"] != COMPARISON].groupby("pair")]
        decided = judged[judged["choice"] != TIE]
        rows.append(
            {
                "judges": mine["judges"].iloc[0], "rater": rater, "pairs": judged["pair"].nunique(),
                "skipped": compared.loc[compared["choice"] == SKIP, "pair"].nunique(),
                "ties": _mean(judged["choice"] == TIE),
                "video_1": _mean(decided["choice"] == decided["first"]),
                "median_seconds": _median(judged.groupby("pair")["seconds"].min()),
                "checks": len(checks), "checks_passed": sum(checks),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _passed(check: pd.DataFrame) -> bool:
    choices = set(check["choice"])
    if check["kind"].iloc[0] == IDENTICAL:
        return choices == {TIE}
    return "a" in choices and "b" not in choices


def _mean(values: pd.Series) -> float | None:
    return float(values.mean()) if len(values) else None


def _median(values: pd.Series) -> float | None:
    return float(values.median()) if len(values) else None
