"""Averages of some of a benchmark's scores, and claims about the benchmark that rest on them.

The argument. The plain mean of a few raw scores is neither a benchmark's total nor a category: scores are not
normalised, weights are equal, dimensions are left out. It may be printed as what it is. But where a sentence calls the
best such mean the best score of the benchmark, the benchmark's own score is computed as an interval, the dimensions
left out anywhere in their range; only if the intervals do not overlap does the benchmark decide the order.
"""

from __future__ import annotations

from collections.abc import Iterator

from alice_repro.audit.benchmark_scores import Scores, labels, read_scores
from alice_repro.audit.benchmark_totals import TOTAL, from_dimensions, points
from alice_repro.audit.findings import CONSISTENT, INCONSISTENT, NEEDS_A_RUN, Finding, Reading, graded
from alice_repro.audit.interval import Interval
from alice_repro.evaluation.vbench import Suite, suite
from alice_repro.papers import Name, Paper, Ranking, Table, names


def check_table(document: Paper, table: Table) -> Iterator[Finding]:
    """Each average over dimensions in a table, and each ranking by it that speaks of the benchmark."""
    for column in table.with_role("average"):
        benchmark = column.benchmark or table.benchmark
        if not benchmark:
            continue
        chosen = suite(benchmark)
        members = _members(table, column.key)
        if not members:
            continue
        yield _average(document, table, column.key, column.label, chosen, members)
        for ranking in document.rankings:
            speaks = _joined(chosen.name) in _joined(ranking.quote) or _joined(chosen.name) in _joined(column.label)
            if ranking.table == table.id and column.key in ranking.columns and speaks:
                yield _ranking(document, table, ranking, chosen)


def _average(document: Paper, table: Table, key: str, label: str, chosen: Suite, members: tuple[str, ...]) -> Finding:
    known = [name.printed for name in labels(table) if name.suite is chosen and name.dimension]
    other = [name.printed for name in labels(table) if name.suite is not chosen]
    absent = len(chosen.dimensions) - len(known)
    text = (
        f"{label!r} is the mean of {len(members)} printed columns, {len(known)} of the {len(chosen.dimensions)} "
        f"dimensions of {chosen.name}: {absent} are left out, scores are not normalised and weights are equal. It is "
        f"neither a total nor a category of {chosen.name} and compares with neither; as a mean it may be printed."
    )
    if other:
        text += f" {', '.join(other)} has no weight in the total of {chosen.name}."
    return Finding(
        f"{document.id}.benchmark.average.{table.id}.{key}",
        document.id,
        table.place,
        table.caption,
        "benchmark.average",
        f"{label}, of {', '.join(members)}",
        f"{len(known)} of {len(chosen.dimensions)} dimensions, unweighted",
        (
            Reading("a mean of what is printed", f"{len(members)} columns", True),
            Reading(
                f"the total of {chosen.name}", f"{absent} dimensions are left out", not absent and not other, False
            ),
        ),
        CONSISTENT,
        "note",
        text,
    )


def _ranking(document: Paper, table: Table, ranking: Ranking, chosen: Suite) -> Finding:
    """Whether the benchmark's own score puts the same rows first, whatever was not measured."""
    found = [scores for scores in read_scores(table) if scores.suite is chosen]
    target = _target(found)
    spans = {i: _official(scores, target) for i, scores in enumerate(found)}
    pairs = [(spans[b], spans[w]) for b in ranking.better for w in ranking.worse]
    decided, reversed_ = all(b.low > w.high for b, w in pairs), any(b.high < w.low for b, w in pairs)
    verdict = INCONSISTENT if reversed_ else CONSISTENT if decided else NEEDS_A_RUN
    computed = "; ".join(f"{found[i].method} {points(spans[i])}" for i in (*ranking.better, *ranking.worse))
    what = f"the {target} score of {chosen.name}" if target != TOTAL else f"the total of {chosen.name}"
    ending = {
        CONSISTENT: "The intervals do not overlap: the order is the same.",
        INCONSISTENT: "The order is another, whatever the dimensions left out may be.",
        NEEDS_A_RUN: "The intervals overlap: the printed mean cannot stand for it, and only a measurement decides.",
    }[verdict]
    return Finding(
        f"{document.id}.benchmark.average.ranking.{ranking.id}",
        document.id,
        ranking.place,
        ranking.quote,
        "benchmark.average",
        f"a mean of {len(found[0].dimensions)} of {len(chosen.dimensions)} dimensions",
        computed,
        (Reading(f"{what}, dimensions left out anywhere in their range", computed, not reversed_),),
        verdict,
        graded(verdict, "major"),
        f"Computed as the benchmark does, {what} is: {computed}. {ending}",
    )


def _official(scores: Scores, target: str) -> Interval:
    """The first admissible reading: raw scores, if they are inside their ranges."""
    return from_dimensions(scores, target)[0].computed


def _target(found: list[Scores]) -> str:
    groups = {scores.suite.dimensions[name].group for scores in found for name in scores.dimensions}
    return groups.pop() if len(groups) == 1 else TOTAL


def _members(table: Table, key: str) -> tuple[str, ...]:
    """The columns that a rule of the table says the average is made of."""
    for rule in table.rules:
        if isinstance(rule.rule.left, Name) and rule.rule.left.id == key:
            return tuple(dict.fromkeys(name.id for name in names(rule.rule) if name.id != key))
    return ()


def _joined(text: str) -> str:
    return text.lower().replace("-", "").replace(" ", "")
