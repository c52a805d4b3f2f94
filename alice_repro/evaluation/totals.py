"""Totals of VBench, VBench-I2V and VBench-2.0 from a table of dimension scores, however it was written.

    totals = recompute_totals("scores.csv")
    print(totals.text())

A missing dimension makes its group and the total an interval. Printed totals in the table are held against what its own
dimensions give. Whether numbers are percent or fractions, and of which suite, is found out and said; where it cannot be
known, it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from alice_repro.errors import UserError
from alice_repro.evaluation.score_tables import Scores, dimension_or_none, group_or_none, read_dimension_scores
from alice_repro.evaluation.vbench import Aggregate, Interval, Suite, suite, suites, total

UNITS = {"fraction": 1.0, "percent": 100.0}
OF_NO_TOTAL = {"vbench-i2v": ("temporal_flickering",)}  # measured by the suite, but not part of its total
COLUMNS = ("model", "score", "low", "high", "missing", "printed", "agrees")


@dataclass(frozen=True)
class Totals:
    """Recomputed totals.

    Attributes:
        table: rows of model and score ("total" or a group): `low` and `high` as fractions, equal where all dimensions
            are known; `missing`, how many are not; `printed`, as the table has it; `agrees`, whether the two can be
            the same number once rounding is allowed for (NA if nothing is printed).
        notes: what was found out about the input, and what is odd in it.
    """

    suite: str
    unit: str
    table: pd.DataFrame
    notes: tuple[str, ...]
    aggregates: Mapping[str, Aggregate] = field(default_factory=dict, repr=False)

    @property
    def sound(self) -> bool:
        """No score is impossible by the definition, and every printed total agrees."""
        contradicted = any(agrees is not pd.NA and not agrees for agrees in self.table["agrees"])
        return not contradicted and not any(aggregate.impossible for aggregate in self.aggregates.values())

    def text(self) -> str:
        """A plain table in percent, as papers print it, and the notes below."""
        rows = []
        for row in self.table.to_dict("records"):
            printed = "" if pd.isna(row["printed"]) else f"{100 * row['printed']:.2f}"
            verdict = "" if pd.isna(row["agrees"]) else ("yes" if row["agrees"] else "NO")
            rows.append(
                [row["model"], row["score"], _percent(row["low"], row["high"]), row["missing"], printed, verdict]
            )
        headers = ["model", "score", f"{self.suite}, percent", "missing", "printed", "agrees"]
        if self.table["printed"].isna().all():
            headers, rows = headers[:4], [row[:4] for row in rows]
        table = tabulate(rows, headers, tablefmt="simple", disable_numparse=True)
        return "\n".join([table, "", *(f"- {note}" for note in self.notes)])


def recompute_totals(
    source: str | Path | pd.DataFrame, suite_name: str | None = None, unit: str | None = None
) -> Totals:
    """Totals and groups for each model of a table.

    Args:
        source: a CSV of dimension,score; or with a column a model; or with a row a model; a score table of ours (means
            of its rows, a model for each `arm`); an official `*_eval_results.json`, a folder of them, or a JSON
            {dimension: score}; or such a table as a DataFrame.
        suite_name: vbench, vbench-i2v or vbench-2.0; None to tell by the dimensions.
        unit: "percent" or "fraction"; None to tell by the numbers.

    Raises:
        UserError: the source is no such table, a name is unknown, or suite or unit cannot be told.
    """
    scores = read_dimension_scores(source)
    chosen, notes = _suite(scores, suite_name)
    known, unit_note = _unit(scores, unit)
    notes = [*scores.notes, *notes, unit_note]
    scale = UNITS[known]
    rows, aggregates = [], {}
    for model, cells in scores.models.items():
        raw, printed = _split(cells, chosen, scale)
        aggregate = total(raw, chosen.name)
        aggregates[model] = aggregate
        notes += _oddities(model, aggregate, raw)
        rows += _rows(model, chosen, aggregate, raw, printed, scores.decimals.get(model, {}), scale)
    notes += _twins(scores)
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"agrees": "boolean"})
    for row in table[table["agrees"].eq(False).fillna(False)].to_dict("records"):
        notes.append(
            f"{row['model']}: {row['score']} is printed as {100 * row['printed']:.2f}; its own dimensions give "
            f"{_percent(row['low'], row['high'])}, and rounding does not explain the difference"
        )
    return Totals(chosen.name, known, table, tuple(notes), aggregates)


def _rows(
    model: str,
    chosen: Suite,
    aggregate: Aggregate,
    raw: Mapping[str, float | None],
    printed: Mapping[str, float],
    decimals: Mapping[str, int],
    scale: float,
) -> list[tuple[object, ...]]:
    """One row a score. Every score grows with each dimension, so rounding all of them down, or up, bounds it."""

    def rounded(sign: int) -> Aggregate:
        moved = {
            name: None if value is None else value + sign * _half_unit(decimals.get(name), scale)
            for name, value in raw.items()
        }
        return total(moved, chosen.name)

    lowest, highest = rounded(-1), rounded(+1)
    rows: list[tuple[object, ...]] = []
    for name in ("total", *chosen.group_weights):
        members = [d for d, dimension in chosen.dimensions.items() if name in ("total", dimension.group)]
        missing = sum(d in aggregate.missing for d in members)
        value, agrees = printed.get(name, math.nan), None
        if name in printed:
            slack = _half_unit(decimals.get(name), scale) + 1e-9
            agrees = _score(lowest, name).low - slack <= value <= _score(highest, name).high + slack
        rows.append((model, name, *_score(aggregate, name), missing, value, agrees))
    return rows


def _score(aggregate: Aggregate, name: str) -> Interval:
    return aggregate.total if name == "total" else aggregate.groups[name]


def _half_unit(decimals: int | None, scale: float) -> float:
    """Half of the last printed decimal, as a fraction; 0 where the number was not printed as text."""
    return 0.0 if decimals is None else 0.5 * 10.0**-decimals / scale


def _split(
    cells: Mapping[str, float | None], chosen: Suite, scale: float
) -> tuple[dict[str, float | None], dict[str, float]]:
    """Dimensions by our names, and the printed totals and groups, both as fractions."""
    raw: dict[str, float | None] = {}
    printed: dict[str, float] = {}
    for name, value in cells.items():
        dimension, group = dimension_or_none(chosen, name), group_or_none(chosen, name)
        if dimension is not None:
            if dimension in raw:
                raise UserError(f"{dimension} is given twice, once as {name!r}")
            raw[dimension] = None if value is None else value / scale
        elif group is not None and value is not None:
            printed[group] = value / scale
    return raw, printed


def _suite(scores: Scores, name: str | None) -> tuple[Suite, list[str]]:
    """The suite that knows all names; which one was taken, and which names play no part in it."""
    if name is not None:
        chosen = suite({"vbench2": "vbench-2.0", "vbench_i2v": "vbench-i2v"}.get(name, name))
        stray = _strangers(chosen, scores)
        if stray and not scores.measured:
            chosen.dimension(stray[0])  # raises, with the nearest name
        return chosen, _ignored(chosen, scores, stray)
    fits = [one for one in suites() if not _strangers(one, scores)]
    if not fits and scores.measured:  # a table of measurements may have columns of other metrics
        most = max(len(_members(one, scores)) for one in suites())
        fits = [one for one in suites() if most and len(_members(one, scores)) == most]
    if len(fits) > 1:
        names = " or ".join(one.name for one in fits)
        raise UserError(f"the dimensions are those of {names} alike: say which suite is meant")
    if not fits:
        best = min(suites(), key=lambda one: len(_strangers(one, scores)))
        stray = _strangers(best, scores)
        raise UserError(
            f"no suite has all of these dimensions; {best.name} comes nearest, but has no {', '.join(map(repr, stray))}"
        )
    chosen = fits[0]
    return chosen, [
        f"suite: {chosen.name}, told by the dimensions",
        *_ignored(chosen, scores, _strangers(chosen, scores)),
    ]


def _members(chosen: Suite, scores: Scores) -> set[str]:
    return {name for name in scores.names if dimension_or_none(chosen, name) is not None}


def _strangers(chosen: Suite, scores: Scores) -> list[str]:
    beside = OF_NO_TOTAL.get(chosen.name, ())
    known = _members(chosen, scores)
    keys = {name: "_".join(name.lower().replace("-", " ").replace("_", " ").split()) for name in scores.names}
    return [n for n in scores.names if n not in known and group_or_none(chosen, n) is None and keys[n] not in beside]


def _ignored(chosen: Suite, scores: Scores, strangers: list[str]) -> list[str]:
    beside = [n for n in scores.names if n not in _members(chosen, scores) and group_or_none(chosen, n) is None]
    return [f"no part of {chosen.name}'s total, left out: {', '.join(beside)}"] if beside else []


def _unit(scores: Scores, unit: str | None) -> tuple[str, str]:
    """Percent or fraction, and how that is known."""
    if unit is not None:
        if unit not in UNITS:
            raise UserError(f"unknown unit {unit!r}: percent or fraction")
        return unit, f"unit: {unit}, as said"
    if scores.unit is not None:
        return scores.unit, f"unit: {scores.unit}, {scores.unit_source}"
    values = [(abs(v), m, n) for m, cells in scores.models.items() for n, v in cells.items() if v]
    if not values or max(values)[0] <= 1.0:
        return "fraction", "unit: fraction, since no number is above 1"
    if min(values)[0] > 1.0:
        return "percent", "unit: percent, since every number but 0 is above 1"
    small, large = min(values), max(values)
    raise UserError(
        f"percent or fraction? {small[2]} of {small[1]} is {small[0]:g}, {large[2]} of {large[1]} is {large[0]:g}: "
        "say which unit is meant, or correct the one that is wrong"
    )


def _oddities(model: str, aggregate: Aggregate, raw: Mapping[str, float | None]) -> list[str]:
    def listed(names: tuple[str, ...]) -> str:
        return ", ".join(f"{name} {100 * (raw[name] or 0.0):g}" for name in names)

    notes = []
    if aggregate.missing:
        notes.append(f"{model}: not given, so that the total is an interval: {', '.join(aggregate.missing)}")
    if aggregate.impossible:
        notes.append(f"{model}: impossible by the definition (percent): {listed(aggregate.impossible)}")
    outside = tuple(name for name in aggregate.out_of_range if name not in aggregate.impossible)
    if outside:
        notes.append(
            f"{model}: outside the range of the normalisation, counts as below 0 or above 1: {listed(outside)}"
        )
    return notes


def _twins(scores: Scores) -> list[str]:
    """Models whose numbers are all the same: a row that was copied, most likely."""
    seen: dict[tuple[tuple[str, float | None], ...], str] = {}
    notes = []
    for model, cells in scores.models.items():
        key = tuple(cells.items())
        if len(cells) > 2 and key in seen and any(value is not None for value in cells.values()):
            notes.append(f"{model} and {seen[key]} are the same in all {len(cells)} numbers")
        seen.setdefault(key, model)
    return notes


def _percent(low: float, high: float) -> str:
    return f"{100 * low:.2f}" if low == high else f"{100 * low:.2f} to {100 * high:.2f}"
