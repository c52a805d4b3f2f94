"""Scores against the definition of the benchmark that they are said to come from.

The argument. A benchmark fixes its dimensions, the range of each, its categories and the weights of its total. So a
table may only list dimensions that there are, a score lies within its range, and a total is what the weights make of
the printed scores (`benchmark_sums`). Nothing here depends on the models: whatever was measured, what a benchmark
cannot return was not computed by it. A mean of some raw scores is no total (`benchmark_averages`).

Severity: a dimension that the benchmark does not have, and a score outside its range, are major, as they cannot have
come out of it; a dimension of another known benchmark, and a wrong count of dimensions, are minor.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from alice_repro.audit import benchmark_averages
from alice_repro.audit.benchmark_scores import Label, Scores, as_fraction, fraction_scale, labels, read_scores
from alice_repro.audit.benchmark_sums import check_gains, check_totals, score_finding
from alice_repro.audit.benchmark_totals import TOTAL, points
from alice_repro.audit.findings import CONSISTENT, IMPOSSIBLE, INCONSISTENT, Finding, Reading, Record, graded, judge
from alice_repro.audit.interval import Interval, may_hold
from alice_repro.evaluation.vbench import Suite, suites
from alice_repro.papers import Paper, Quantity, Table
from alice_repro.papers.table import slug


def check(record: Record) -> Iterator[Finding]:
    """Every benchmark score, total and dimension that the documents print."""
    for document in record.documents:
        for table in document.tables:
            found = list(read_scores(table))
            yield from _names(document, table)
            for scores in found:
                yield from _ranges(document, scores)
                yield from check_totals(document, scores, [s for s in found if s.suite is scores.suite])
            yield from check_gains(document, table, found)
            yield from benchmark_averages.check_table(document, table)
        yield from _counts(document)


def _names(document: Paper, table: Table) -> Iterator[Finding]:
    """Each name in the place of a dimension; and, in a table with as many as the benchmark has, whether it has all."""
    named = list(labels(table))
    for i, label in enumerate(named):
        again = sum(1 for other in named[:i] if slug(other.printed) == slug(label.printed))
        yield _name(document, table, label, f".{again + 1}" if again else "")
    for chosen in suites():
        own = [label for label in named if label.suite is chosen and not label.group]
        if len(own) == len(chosen.dimensions):
            yield _complete(document, table, own)
        elif stated := re.search(rf"\b(\d+) of (?:its |the )?{len(chosen.dimensions)} dimensions", table.caption):
            yield _part(document, table, own, chosen, int(stated[1]))


def _name(document: Paper, table: Table, label: Label, suffix: str) -> Finding:
    name, real = label.suite.name, label.dimension or label.group
    what = "category" if label.group else "dimension"
    if real:
        text = f"{name} has a {what} {real}: {label.printed!r} is it."
    elif label.elsewhere:
        text = f"{name} has no dimension {label.printed!r}; {', '.join(label.elsewhere)} has it."
    else:
        text = (
            f"None of the {len(label.suite.dimensions)} dimensions of {name} is called {label.printed!r} or nearly so, "
            f"nor is one of {', '.join(s.name for s in suites() if s is not label.suite)}. A score under this name "
            f"cannot have come out of {name}, and it has no weight in its total."
        )
    verdict = CONSISTENT if real else INCONSISTENT
    readings = [Reading(f"a {what} of {name}", real or "none of this name", bool(real))]
    readings += [Reading(f"a dimension of {other}", label.printed, True, False) for other in label.elsewhere]
    return Finding(
        f"{document.id}.benchmark.dimension.{table.id}.{slug(label.printed)}{suffix}",
        document.id,
        table.place,
        label.printed,
        "benchmark.dimension",
        label.printed,
        real or f"no dimension of {name}",
        tuple(readings),
        verdict,
        graded(verdict, "minor" if label.elsewhere else "major"),
        text,
    )


def _complete(document: Paper, table: Table, own: list[Label]) -> Finding:
    chosen = own[0].suite
    count = Counter(label.dimension for label in own)
    absent = [name for name in chosen.dimensions if not count[name]]
    odd = [label.printed for label in own if not label.dimension]
    odd += [f"{name} (listed {n} times)" for name, n in count.items() if name and n > 1]
    verdict = INCONSISTENT if absent else CONSISTENT
    computed = f"missing: {', '.join(absent)}; not of {chosen.name}: {', '.join(odd)}" if absent else "all are there"
    return Finding(
        f"{document.id}.benchmark.complete.{table.id}.{chosen.name}",
        document.id,
        table.place,
        table.caption,
        "benchmark.complete",
        f"{len(own)} dimensions",
        computed,
        (Reading(f"the {len(chosen.dimensions)} dimensions of {chosen.name}", computed, not absent),),
        verdict,
        graded(verdict, "major"),
        f"The table lists {len(own)} dimensions, as many as {chosen.name} has. "
        + (f"They are not its own: {computed}." if absent else "They are its own."),
    )


def _part(document: Paper, table: Table, own: list[Label], chosen: Suite, stated: int) -> Finding:
    """A caption that says how many of the benchmark's dimensions its table has."""
    real = len({label.dimension for label in own if label.dimension})
    odd = [label.printed for label in own if not label.dimension]
    computed = f"{real} of {chosen.name}" + (f"; not of {chosen.name}: {', '.join(odd)}" if odd else "")
    verdict = CONSISTENT if real == stated else INCONSISTENT
    return Finding(
        f"{document.id}.benchmark.part.{table.id}.{chosen.name}",
        document.id,
        table.place,
        table.caption,
        "benchmark.part",
        f"{stated} of {len(chosen.dimensions)} dimensions",
        computed,
        (Reading(f"{stated} dimensions of {chosen.name}", computed, real == stated),),
        verdict,
        graded(verdict, "minor"),
        f"The caption says that the table has {stated} of the {len(chosen.dimensions)} dimensions of {chosen.name}. "
        + (f"It has {computed}." if odd or real != stated else "It has."),
    )


def _ranges(document: Paper, scores: Scores) -> Iterator[Finding]:
    """The scores outside what the benchmark can return, one by one; all others in one entry."""
    chosen = scores.suite
    totals = {**scores.groups} | ({TOTAL: scores.total} if scores.total else {})
    scale = fraction_scale(list(scores.dimensions.values()))
    limits = {name: (chosen.dimensions[name].low, chosen.dimensions[name].high) for name in scores.dimensions}
    values = {name: as_fraction(cell, scale) for name, cell in scores.dimensions.items()}
    scale_of_totals = fraction_scale(list(totals.values()))
    values |= {name: as_fraction(cell, scale_of_totals) for name, cell in totals.items()}
    cells: dict[str, Quantity] = {**scores.dimensions, **totals}
    bad = {name: x for name, x in values.items() if not _within(x, limits.get(name, (0.0, 1.0)))}
    for name, value in bad.items():
        low, high = limits.get(name, (0.0, 1.0))
        tried = (Reading(f"{name} of {chosen.name}: {100 * low:g} to {100 * high:g}", points(value), False),)
        verdict = judge(tried, IMPOSSIBLE, cells[name].damaged)
        yield score_finding(
            document,
            scores,
            f"range.{slug(name)}",
            f"{name} {cells[name].printed}",
            f"{points(value)} points",
            tried,
            verdict,
            graded(verdict, "major"),
            f"By its definition {name} of {chosen.name} lies between {100 * low:g} and {100 * high:g} points, "
            f"raw or normalised; {cells[name].printed} is printed.",
        )
    if inside := [name for name in values if name not in bad]:
        above = [
            name
            for name in scores.dimensions
            if name in inside and not _within(values[name], (chosen.dimensions[name].min, chosen.dimensions[name].max))
        ]
        tried = (
            Reading(
                "raw scores", f"outside min to max: {', '.join(above)}" if above else "all from min to max", not above
            ),
            Reading("raw or normalised scores", "all inside", True),
        )
        yield score_finding(
            document,
            scores,
            "range",
            ", ".join(f"{name} {cells[name].printed}" for name in inside),
            f"{len(inside)} scores inside the ranges of {chosen.name}",
            tried,
            CONSISTENT,
            "note",
            f"All {len(inside)} are values that {chosen.name} can return"
            + (
                f"; but {', '.join(above)} only as normalised scores, as no raw score is so high or low."
                if above
                else "."
            ),
        )


def _counts(document: Paper) -> Iterator[Finding]:
    """How many dimensions a sentence says that a benchmark has (quantities about "<benchmark>-dimension-count")."""
    for statement in document.quantities:
        for chosen in suites():
            if statement.about != f"{chosen.name}-dimension-count":
                continue
            real = len(chosen.dimensions)
            low, high = statement.quantity.low, statement.quantity.high
            tried = (Reading(f"dimensions of {chosen.name}", str(real), may_hold(Interval(low, high), "=", real)),)
            verdict = judge(tried, INCONSISTENT, statement.quantity.damaged)
            yield Finding(
                f"{document.id}.benchmark.count.{statement.id}",
                document.id,
                statement.place,
                statement.quote,
                "benchmark.count",
                statement.quantity.printed,
                str(real),
                tried,
                verdict,
                graded(verdict, "minor"),
                f"{chosen.name} has {real} dimensions; {statement.quantity.printed} is printed.",
            )


def _within(value: Interval, limits: tuple[float, float]) -> bool:
    return may_hold(value, ">=", limits[0]) and may_hold(value, "<=", limits[1])
