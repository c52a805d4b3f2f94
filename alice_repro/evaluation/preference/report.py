"""A study's results as files: CSV tables, a Markdown page for people, the preference file, and their manifest."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from alice_repro.evaluation.preference.preferences import write_preferences
from alice_repro.evaluation.preference.results import Results, results
from alice_repro.evaluation.preference.standing import majorities
from alice_repro.evaluation.preference.study import SIMULATED, STUDY, VOTES
from alice_repro.files import atomic_write_text, write_csv
from alice_repro.manifest import write_manifest


def write_results(folder: str | Path, min_checks: float = 0.0) -> str:
    """Write shares.csv, agreement.csv, ranking.csv, raters.csv, preferences.jsonl and results.md to the study's folder.

    Returns:
        the text of results.md.
    """
    started, folder = time.time(), Path(folder)
    found = results(folder, min_checks)
    for name in ("shares", "agreement", "ranking", "raters"):
        write_csv(folder / f"{name}.csv", getattr(found, name))
    settled = majorities(found.votes, found.study.votes)
    kept = write_preferences(folder / "preferences.jsonl", found.study, settled)
    text = report(found) + f"\n{kept} preferences in preferences.jsonl\n"
    atomic_write_text(folder / "results.md", text)
    names = ("shares.csv", "agreement.csv", "ranking.csv", "raters.csv", "preferences.jsonl", "results.md")
    inputs = {"study": folder / STUDY, "votes": folder / VOTES}
    extra = {"judges": found.study.judges, "min_checks": min_checks}
    write_manifest([folder / name for name in names], inputs=inputs, extra=extra, started=started)
    return text


def report(found: Results) -> str:
    """The tables as Markdown, for people."""
    simulated = found.study.judges == SIMULATED
    lines = ["# Preferences of SIMULATED raters: no person saw a video" if simulated else "# Preferences of people", ""]
    if simulated:
        lines += [f"Raters: {', '.join(found.raters['rater'])}.", ""]
    shares = [
        {
            "judges": row["judges"], "criterion": row["criterion"], "counting": row["counting"],
            "arm": row["arm"], "versus": row["versus"], "n": row["n"], "prompts": row["prompts"],
            **{name: _percent(row, name) for name in ("win", "tie", "loss")}, "net": _percent(row, "net", signed=True),
        }
        for row in found.shares.to_dict("records")
    ]  # fmt: skip
    lines += ["Shares in %, with 95 % intervals over prompts.", "", _table(shares), ""]
    agreed = [
        {
            "judges": row["judges"], "criterion": row["criterion"], "raters": row["raters"], "pairs": row["pairs"],
            "alpha (nominal)": _number(row, "alpha"), "alpha (ordinal)": _number(row, "alpha_ordinal"),
            "same answer": _percent(row, "same"), "reason": row["reason"],
        }
        for row in found.agreement.to_dict("records")
    ]  # fmt: skip
    lines += ["Agreement of raters (Krippendorff's alpha).", "", _table(agreed), ""]
    ranks = [
        {
            "judges": row["judges"], "criterion": row["criterion"], "rank": row["rank"], "arm": row["arm"],
            "log strength": _number(row, "strength"), "reason": row["reason"],
        }
        for row in found.ranking.to_dict("records")
    ]  # fmt: skip
    lines += [
        "Ranking (Bradley-Terry with Davidson's ties; strengths against the mean of the arms).",
        "",
        _table(ranks),
        "",
    ]
    lines += [f"Not counted: {rater}, {why}." for rater, why in found.excluded.items()]
    lines += [f"{len(found.study.left_out)} prompts or videos were left out; study.json says why."] * bool(
        found.study.left_out
    )
    return "\n".join(lines).rstrip() + "\n"


def _percent(row: dict, name: str, signed: bool = False) -> str:
    return _interval(
        [None if _missing(row[key]) else 100 * row[key] for key in _names(name)], "+z.0f" if signed else "z.0f"
    )


def _number(row: dict, name: str) -> str:
    return _interval([None if _missing(row[key]) else row[key] for key in _names(name)], "z.2f")


def _names(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


def _missing(value: object) -> bool:
    return value is None or value is pd.NA or value != value


def _interval(values: list[float | None], form: str) -> str:
    value, low, high = values  # "z" in `form`: no minus zero
    if value is None:
        return "-"
    return f"{value:{form}}" + (f" [{low:{form}}, {high:{form}}]" if low is not None else " [no interval]")


def _table(rows: list[dict]) -> str:
    filled = [name for name in rows[0] if any(row[name] != "" for row in rows)]
    texts = [{name: "-" if _missing(row[name]) else str(row[name]) for name in filled} for row in rows]
    return tabulate(texts, headers="keys", tablefmt="github", disable_numparse=True)
