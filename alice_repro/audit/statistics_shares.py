"""Percentages against the number of cases that they are percentages of.

The argument. A share of n cases is k/n for a whole k. Printed with its digits rounded or cut off, it must be what some
k/n prints as, for a size that the text admits; the shares of one comparison must come from counts that make up n. If
only an average over several runs of that size would print so, which the document does not mention, it needs a run. A
set of shares that all fit a far smaller number, as chance would have it less than once in `SUSPECT` times, makes the
stated number of cases doubtful: the document would have to say how many were judged. Each share is given its 95 %
interval (Wilson), cases being taken as independent, which favours the paper.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import sqrt

import numpy as np

from alice_repro.audit.findings import (
    CHECK_PDF,
    CONSISTENT,
    INCONSISTENT,
    NEEDS_A_RUN,
    Finding,
    Reading,
    Record,
    graded,
    judge,
)
from alice_repro.audit.statistics_samples import Share, shares
from alice_repro.papers import Comparison, Name, Paper
from alice_repro.papers.expressions import Node, Number, Operation
from alice_repro.papers.table import slug
from alice_repro.statistics import proportion_interval

RUNS = (2, 3, 4, 5)  # whole repetitions that a printed share may be the average of
SUSPECT = 1000
_Z = 1.96


def check_document(record: Record, document: Paper) -> Iterator[Finding]:
    """Each share alone, the shares of a comparison together, and all shares of one sample together."""
    found = list(shares(record, document))
    for share in found:
        yield _single(document, share)
    yield from _comparisons(document, found)
    for members in _by_sample(found):
        yield from _denominator(document, members)


def _single(document: Paper, share: Share) -> Finding:
    unit, why = share.sample.unit, share.sample.why
    tried = [Reading(f"a share of {n:,} {unit}", _counts(share, n), share.fits(n)) for n in share.sizes]
    averaged = [(n * m, m) for n in share.sizes for m in RUNS]
    verdict = judge(tried, INCONSISTENT, share.cell.damaged)
    if verdict != CONSISTENT:
        tried += [
            Reading(f"the average of {m} runs, {n:,} {unit}", _counts(share, n), share.fits(n)) for n, m in averaged
        ]
        if verdict == INCONSISTENT and any(share.fits(n) for n, _ in averaged):
            verdict = NEEDS_A_RUN
    n = share.sizes[0]
    k = round(share.centre * n)
    interval = proportion_interval(min(max(k, 0), n), n).scaled(100)
    text = f"Behind it stand {' or '.join(f'{n:,}' for n in share.sizes)} {unit} ({why}). "
    if verdict == CONSISTENT:
        fitting = [reading for reading in tried if reading.holds][0]
        text += f"{share.cell.printed} is what {fitting.computed} prints as. "
    else:
        near = sorted((abs(share.centre - j / n), j) for j in range(max(k - 1, 0), min(k + 1, n) + 1))[:2]
        text += f"No whole count prints as {share.cell.printed}, with digits rounded or cut off; the nearest are "
        text += f"{' and '.join(f'{j} of {n} = {100 * j / n:.3f} %' for _, j in sorted(near, key=lambda x: x[1]))}. "
        text += f"{share.cell.damaged[:1].upper()}{share.cell.damaged[1:]}. " if share.cell.damaged else ""
    text += (
        f"Taken as independent, {n:,} {unit} leave a 95 % interval from {interval.low:.1f} to {interval.high:.1f} %."
    )
    return _finding(
        document,
        share,
        "share",
        share.cell.printed,
        f"{tried[0].computed}; 95 % interval {interval.low:.1f} to {interval.high:.1f} %",
        tried,
        verdict,
        text,
    )


def _comparisons(document: Paper, found: Sequence[Share]) -> Iterator[Finding]:
    """Shares of a row that a rule says make up 100: whole counts for all of them, and win against loss."""
    for table in document.tables:
        for rule in table.rules:
            members = _summands(rule.rule)
            for row in rule.rows if members else ():
                parts = [s for s in found if s.table is table and s.row == row and s.column.key in members]
                if len(parts) == len(members):
                    yield _together(document, parts)
                    better = [s for s in parts if s.column.higher_is_better is True]
                    worse = [s for s in parts if s.column.higher_is_better is False]
                    if len(better) == len(worse) == 1:
                        yield _preference(document, better[0], worse[0])


def _together(document: Paper, parts: list[Share]) -> Finding:
    tried = []
    for n in parts[0].sizes:
        ranges = [part.counts(n) for part in parts]
        low, high = sum(r.start for r in ranges), sum(r.stop - 1 for r in ranges)
        tried.append(
            Reading(
                f"counts out of {n:,}",
                f"{low:,} to {high:,} in all" if all(ranges) else "a share has no count",
                all(ranges) and low <= n <= high,
            )
        )
    verdict = judge(tried, INCONSISTENT, "; ".join(p.cell.damaged for p in parts if p.cell.damaged))
    printed = ", ".join(f"{p.column.label} {p.cell.printed}" for p in parts)
    text = (
        f"Whole counts that print as {printed} must make up the number of {parts[0].sample.unit}: "
        + "; ".join(f"{reading.name}: {reading.computed}" for reading in tried)
        + (". They can." if verdict == CONSISTENT else ". No choice does.")
    )
    return _finding(document, parts[0], "counts", printed, tried[0].computed, tried, verdict, text, whole_row=True)


def _preference(document: Paper, win: Share, loss: Share) -> Finding:
    """Whether more wins than losses can be told from a toss-up: the interval of the difference of two shares."""
    w, lost = win.centre, loss.centre
    tried = []
    for n in win.sizes:
        half = _Z * sqrt(max(w + lost - (w - lost) ** 2, 0.0) / n)
        low, high = 100 * (w - lost - half), 100 * (w - lost + half)
        tried.append(Reading(f"{n:,} {win.sample.unit}", f"{low:+.1f} to {high:+.1f} points", low > 0 or high < 0))
    damaged = win.cell.damaged or loss.cell.damaged
    verdict = CHECK_PDF if damaged else CONSISTENT if all(reading.holds for reading in tried) else NEEDS_A_RUN
    printed = f"{win.column.label} {win.cell.printed}, {loss.column.label} {loss.cell.printed}"
    text = (
        f"The difference {100 * (w - lost):+.0f} points has the 95 % interval "
        + "; ".join(f"{reading.computed} with {reading.name}" for reading in tried)
        + ". "
        + ("It excludes 0 under every reading." if verdict == CONSISTENT else "Under some reading it holds 0.")
    )
    return _finding(document, win, "preference", printed, tried[0].computed, tried, verdict, text, whole_row=True)


def _denominator(document: Paper, members: list[Share]) -> Iterator[Finding]:
    """Whether the shares of one sample, taken together, speak for its size or for a far smaller one."""
    distinct = list({share.cell.printed: share for share in members if not share.cell.damaged}.values())
    n = max(members[0].sizes)
    if len(distinct) < 3 or not all(share.fits(n) for share in distinct):
        return
    smallest = next(q for q in range(1, n + 1) if all(share.fits(q) for share in distinct))
    chance = smallest * max(_chance(distinct, smallest, size) for size in members[0].sizes)
    unit, printed = members[0].sample.unit, ", ".join(share.cell.printed for share in distinct)
    suspect = smallest < n / 2 and chance * SUSPECT < 1
    verdict = NEEDS_A_RUN if suspect else CONSISTENT
    tried = [
        Reading(f"shares of {n:,} {unit}", "each is a whole count", True),
        Reading(
            f"shares of {smallest:,}, the smallest number that all fit",
            f"by chance {min(chance, 1):.2g}",
            True,
            suspect,
        ),
    ]
    text = f"All of {printed} are whole counts out of {n:,} {unit}, and out of {smallest:,}. "
    if suspect:
        text += (
            f"If {n:,} had been judged, shares that all fit so small a number would turn up once in {1 / chance:,.0f} "
            f"times. How many were judged has to be stated or run; {smallest:,} leave an interval of about "
            f"{_half_width(smallest):.0f} points on either side of a share of one half."
        )
    elif smallest > n / 2:
        text += f"No smaller number than {smallest:,} fits them all: the digits speak for the stated size."
    else:
        text += "At the printed precision that is no surprise, and says nothing of the size."
    yield _finding(
        document,
        members[0],
        "denominator",
        printed,
        f"whole counts out of {smallest:,}",
        tried,
        verdict,
        text,
        whole_column=True,
    )


def _chance(distinct: Sequence[Share], q: int, n: int) -> float:
    """How likely shares of n cases, any count as likely as another, all print as shares of q."""
    product = 1.0
    for share in distinct:
        width = share.value.high - share.value.low
        scaled = np.arange(n + 1) / n * q
        product *= float((np.abs(scaled - np.round(scaled)) / q <= max(width, 1e-12)).mean())
    return product


def _by_sample(found: Sequence[Share]) -> list[list[Share]]:
    """Shares of the same cases: one unit, one reason, the same sizes, one quantity; at times in several tables."""
    groups: dict[tuple, list[Share]] = {}
    for share in found:
        measured = "share" if share.column.role == "share" else share.column.label
        groups.setdefault((share.sizes, share.sample.unit, share.sample.why, measured), []).append(share)
    return list(groups.values())


def _summands(rule: Comparison) -> set[str]:
    """The columns of "a + b + c = 100", none for any other rule."""

    def added(node: Node) -> list[str] | None:
        if isinstance(node, Name):
            return [node.id]
        if isinstance(node, Operation) and node.symbol == "+":
            left, right = added(node.left), added(node.right)
            return left + right if left and right else None
        return None

    whole = isinstance(rule.right, Number) and rule.right.value == 100 and rule.symbol == "="
    return set(added(rule.left) or ()) if whole else set()


def _counts(share: Share, n: int) -> str:
    counts = share.counts(n)
    if not counts:
        return f"no count of {n:,}"
    ends = dict.fromkeys((counts.start, counts.stop - 1))
    return f"{' to '.join(f'{k:,}' for k in ends)} of {n:,}"


def _half_width(n: int) -> float:
    interval = proportion_interval(n // 2, n).scaled(100)
    return (interval.high - interval.low) / 2


def _finding(
    document: Paper,
    share: Share,
    kind: str,
    printed: str,
    computed: str,
    readings: Sequence[Reading],
    verdict: str,
    explanation: str,
    whole_row: bool = False,
    whole_column: bool = False,
) -> Finding:
    table = share.table
    row = slug(table.labels[share.row]) or f"row{share.row + 1}"
    if [slug(label) for label in table.labels].count(slug(table.labels[share.row])) > 1:
        row = f"row{share.row + 1}"
    parts = [share.column.key] if whole_column else [row] if whole_row else [row, share.column.key]
    return Finding(
        ".".join((document.id, "statistics", kind, table.id, *parts)),
        document.id,
        share.place,
        table.caption,
        f"statistics.{kind}",
        printed,
        computed,
        tuple(readings),
        verdict,
        graded(verdict, "minor"),
        explanation,
    )
