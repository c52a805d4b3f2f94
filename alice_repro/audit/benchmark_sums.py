"""Totals, categories and differences of totals against the scores that are printed below them.

The argument. A total or a category is what the benchmark's weights make of the printed scores. `benchmark_totals`
works out every reading of them; if no admissible one reaches the printed total, the rows and the total do not belong
together, whichever of them is wrong. Where swapping two cells of a category makes the totals of two failing rows right,
that is said, as the likely slip.

Severity: a total a point or more out of reach is fatal, as no rounding and no slip of one row explains it. A smaller
gap is major if it changes the order of the table's totals, else minor. A total that is the plain mean is minor: it is
another definition, not a wrong number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from alice_repro.audit.benchmark_scores import Scores, as_fraction, fraction_scale
from alice_repro.audit.benchmark_totals import (
    MIXED,
    PLAIN_MEAN,
    TOTAL,
    Attempt,
    fraction,
    from_dimensions,
    from_groups,
    gap,
    nearest,
    points,
)
from alice_repro.audit.findings import CONSISTENT, IMPOSSIBLE, INCONSISTENT, Finding, Reading, graded, judge
from alice_repro.audit.interval import Interval
from alice_repro.papers import Paper, Quantity, Table
from alice_repro.papers.table import slug

FATAL_GAP = 1.0  # points of 100


def check_totals(document: Paper, scores: Scores, table: list[Scores]) -> Iterator[Finding]:
    """The printed total and categories against all that is printed below them."""
    if scores.total and len(scores.groups) == len(scores.suite.group_weights):
        yield _total(document, scores, TOTAL, scores.total, from_groups(scores), scores.groups, table)
    elif scores.total and scores.dimensions:
        yield _total(document, scores, TOTAL, scores.total, from_dimensions(scores), scores.dimensions, table)
    for group, printed in scores.groups.items():
        below = {n: c for n, c in scores.dimensions.items() if scores.suite.dimensions[n].group == group}
        if below:
            yield _total(document, scores, group, printed, from_dimensions(scores, group), below, table)


def _total(
    document: Paper,
    scores: Scores,
    target: str,
    printed: Quantity,
    attempts: list[Attempt],
    below: dict[str, Quantity],
    table: list[Scores],
) -> Finding:
    chosen, value = scores.suite, fraction(printed)
    tried = tuple(attempt.reading(value) for attempt in attempts)
    short = gap(attempts, value)
    plain = any(reading.name == PLAIN_MEAN and reading.holds for reading in tried)
    by_rows = not set(below) <= set(chosen.group_weights)
    failed = IMPOSSIBLE if by_rows and not plain else INCONSISTENT
    verdict = judge(tried, failed, _damage([printed, *below.values()]))
    best = nearest(attempts, value)
    severity = "minor"
    if short >= FATAL_GAP and not plain:
        severity = "fatal"
    elif target == TOTAL and _reorders(scores, best.computed, table):
        severity = "major"
    absent = [n for n in scores.missing if target in (TOTAL, chosen.dimensions[n].group)] if by_rows else []
    basis = (
        f"The weights of {chosen.name} make {points(best.computed)} of the {len(below)} printed scores"
        + (f", whatever {', '.join(absent)} (not printed) may be within its range" if absent else "")
        + f". Most favourable reading: {best.name}."
    )
    if verdict == CONSISTENT:
        text = f"{basis} The printed {printed.printed} is among the values that an admissible reading gives."
    else:
        text = f"{basis} The printed {printed.printed} is {short:.2f} points away."
        fits = [reading.name for reading in tried if reading.holds]
        if fits:
            text += f" It would fit with: {'; '.join(fits)}; the benchmark's definition rules that out."
        if scores.foreign and by_rows:
            text += f" {', '.join(scores.foreign)} is no dimension of {chosen.name} and has no weight."
        text += _repair(scores, target, table)
    kind = "total" if target == TOTAL else f"category.{slug(target)}"
    line = f"{target} {printed.printed}, from " + ", ".join(f"{name} {cell.printed}" for name, cell in below.items())
    return score_finding(
        document, scores, kind, line, points(best.computed), tried, verdict, graded(verdict, severity), text
    )


def _reorders(scores: Scores, computed: Interval, table: list[Scores]) -> bool:
    """Whether the computed total puts the method elsewhere among the table's totals."""
    value, middle = fraction(scores.total), (computed.low + computed.high) / 2
    others = [fraction(s.total) for s in table if s is not scores and s.total]
    return any((other.low > value.high) != (other.low > middle) for other in others)


def _repair(scores: Scores, target: str, table: list[Scores]) -> str:
    """A swap of two cells of one category that makes both rows hold, if the rows' totals come from categories."""
    if target != TOTAL or not scores.groups:
        return ""
    for other in table:
        if other is scores or other.total is None or _holds(other):
            continue
        for group in scores.groups.keys() & other.groups.keys():
            mine = replace(scores, groups=scores.groups | {group: other.groups[group]})
            theirs = replace(other, groups=other.groups | {group: scores.groups[group]})
            if _holds(mine) and _holds(theirs):
                pair = f"{scores.groups[group].printed} and {other.groups[group].printed}"
                return (
                    f" If {pair} ({group} of {scores.method} and of {other.method}) are swapped, both totals hold: "
                    "two cells may have changed places."
                )
    return ""


def _holds(scores: Scores) -> bool:
    value = fraction(scores.total)
    return any(a.admissible and a.reading(value).holds for a in from_groups(scores))


def check_gains(document: Paper, table: Table, found: list[Scores]) -> Iterator[Finding]:
    """The printed difference of two totals against the differences that the rows below allow, both read alike."""
    deltas = [c.key for c in table.with_role("delta")]
    pair = {
        role: next((s for c in table.with_role(role) for s in found if s.key == c.key), None)
        for role in ("baseline", "new")
    }
    old, new = pair["baseline"], pair["new"]
    if table.total_row is None or len(deltas) != 1 or not (old and new and old.total and new.total):
        return
    printed = table.cell(table.total_row, deltas[0])
    if not printed.is_number:
        return
    scale = fraction_scale([old.total, new.total])
    value = as_fraction(printed, scale)
    by_name = {attempt.name: attempt for attempt in from_dimensions(old)}
    attempts = [
        replace(attempt, computed=attempt.computed - by_name[attempt.name].computed)
        for attempt in from_dimensions(new)
        if attempt.name in by_name and not attempt.name.startswith(MIXED)
    ]
    if not any(attempt.admissible for attempt in attempts):
        return
    tried = tuple(attempt.reading(value) for attempt in attempts)
    verdict = judge(tried, INCONSISTENT, _damage([printed, *old.dimensions.values(), *new.dimensions.values()]))
    short, best = gap(attempts, value), nearest(attempts, value)
    yield score_finding(
        document,
        new,
        "gain",
        f"difference of the totals {printed.printed}",
        points(best.computed),
        tried,
        verdict,
        graded(verdict, "major" if short >= FATAL_GAP else "minor"),
        f"The weights of {new.suite.name} make a difference of {points(best.computed)} points of the printed "
        f"scores, with whatever values of dimensions that are not printed; {printed.printed} is printed. That the "
        "difference can be had does not make the two totals so: they are judged by themselves.",
    )


def score_finding(
    document: Paper,
    scores: Scores,
    kind: str,
    printed: str,
    computed: str,
    readings: tuple[Reading, ...],
    verdict: str,
    severity: str,
    explanation: str,
) -> Finding:
    """An entry about one method's scores in a table; kind: the rule, a dot, what else tells it from others."""
    table = scores.table
    return Finding(
        f"{document.id}.benchmark.{kind}.{table.id}.{scores.key}",
        document.id,
        f"{table.place}, {scores.method}",
        table.caption,
        f"benchmark.{kind.split('.')[0]}",
        printed,
        computed,
        readings,
        verdict,
        severity,
        explanation,
    )


def _damage(cells: list[Quantity]) -> str:
    return "; ".join(dict.fromkeys(cell.damaged for cell in cells if cell.damaged))
