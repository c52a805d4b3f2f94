"""Which totals and category scores a benchmark's definition lets come out of printed scores.

A table does not always say whether its scores are raw or normalised, and may leave dimensions out. Here every such
reading is worked out with the benchmark's own weights (`evaluation.vbench.total`); a dimension that is not printed may
have any value within the benchmark's range, so that the result is an interval. A reading is admissible if every score
lies inside the range that the benchmark gives it: min to max for a raw score, 0 to 1 for a normalised one. Where
some score can only be normalised, each may also be taken by itself. Digits may be rounded or cut off. Readings that
step outside a range (or take the plain mean) are worked out too, to be shown; they decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from alice_repro.audit.benchmark_scores import Scores, as_fraction, cut_off, fraction_scale
from alice_repro.audit.findings import Reading
from alice_repro.audit.interval import Interval, may_hold
from alice_repro.evaluation.vbench import Aggregate, Dimension, Suite, total
from alice_repro.papers import Quantity

TOTAL = "total"
MIXED = "each score raw or normalised"
PLAIN_MEAN = "plain mean of all printed scores"
_Form = Callable[[Dimension, Interval], Interval | None]


@dataclass(frozen=True)
class Attempt:
    """A reading with what it computes, from 0 to 1; cut: digits may be cut off, those of the printed total too."""

    name: str
    computed: Interval
    admissible: bool = True
    cut: bool = False

    def reading(self, printed: Interval) -> Reading:
        """Whether a printed value (from 0 to 1, as rounded) is within what is computed."""
        target = cut_off(printed) if self.cut else printed
        return Reading(self.name, points(self.computed), may_hold(self.computed, "=", target), self.admissible)

    def misses(self, printed: Interval) -> float:
        """How far the printed value is from what is computed, 0 if within."""
        target = cut_off(printed) if self.cut else printed
        return max(self.computed.low - target.high, target.low - self.computed.high, 0.0)


def points(interval: Interval) -> str:
    """An interval from 0 to 1 in points of 100."""
    low, high = f"{100 * interval.low:.3f}", f"{100 * interval.high:.3f}"
    return low if low == high else f"{low} to {high}"


def nearest(attempts: list[Attempt], printed: Interval) -> Attempt:
    """The admissible reading that comes nearest to the printed value; the first of those that hold."""
    return min((a for a in attempts if a.admissible), key=lambda attempt: attempt.misses(printed))


def gap(attempts: list[Attempt], printed: Interval) -> float:
    """How many points the nearest admissible reading is away from the printed value; 0 if one holds."""
    return 100 * nearest(attempts, printed).misses(printed)


def raw(dimension: Dimension, score: Interval) -> Interval | None:
    """Normalised, if the score is inside the benchmark's range for raw scores."""
    inside = _inside(score, dimension.min, dimension.max)
    return inside and Interval(dimension.normalise(inside.low), dimension.normalise(inside.high))


def normalised(_: Dimension, score: Interval) -> Interval | None:
    """As printed, if it can be a normalised score."""
    return _inside(score, 0.0, 1.0)


def either(dimension: Dimension, score: Interval) -> Interval | None:
    """From the least to the greatest of both, where a score may be raw or normalised."""
    found = [x for x in (raw(dimension, score), normalised(dimension, score)) if x is not None]
    return Interval(min(x.low for x in found), max(x.high for x in found)) if found else None


def from_dimensions(scores: Scores, target: str = TOTAL) -> list[Attempt]:
    """The total, or a category, out of the printed dimensions; scores that no form admits count as not printed."""
    chosen = scores.suite
    scale = fraction_scale([*scores.dimensions.values(), *scores.foreign.values()])
    members = [d for d in chosen.dimensions.values() if target in (TOTAL, d.group)]
    printed = {d.name: as_fraction(scores.dimensions[d.name], scale) for d in members if d.name in scores.dimensions}
    printed = {name: x for name, x in printed.items() if either(chosen.dimensions[name], x)}
    same = all(chosen.dimensions[name].min == 0 and chosen.dimensions[name].max == 1 for name in printed)
    found: list[tuple[str, dict[str, Interval], dict[str, Interval]]] = []
    forms = [("raw scores", raw)] if same else [("raw scores", raw), ("normalised scores", normalised)]
    if any(raw(chosen.dimensions[key], x) is None for key, x in printed.items()):
        forms = [("normalised scores", normalised), (MIXED, either)]
    for name, form in forms:
        read = {key: form(chosen.dimensions[key], x) for key, x in printed.items()}
        cut = {key: form(chosen.dimensions[key], cut_off(x)) for key, x in printed.items()}
        if None not in read.values():
            found.append((name, read, cut))
    attempts = [Attempt(name, _span(chosen, read, target)) for name, read, _ in found]
    attempts += [
        Attempt(f"{name}, digits cut off or rounded", _span(chosen, cut, target), cut=True) for name, _, cut in found
    ]
    return attempts + _inadmissible(scores, printed, target, [d.name for d in members], same)


def from_groups(scores: Scores) -> list[Attempt]:
    """The total out of all printed categories: their mean with the benchmark's weights."""
    weights = scores.suite.group_weights
    scale = fraction_scale(list(scores.groups.values()))
    printed = {name: as_fraction(cell, scale) for name, cell in scores.groups.items()}
    cut = {name: cut_off(x) for name, x in printed.items()}
    attempts = [
        Attempt("the benchmark's weights", _mean(printed, weights)),
        Attempt("the benchmark's weights, digits cut off or rounded", _mean(cut, weights), cut=True),
    ]
    if len(set(weights.values())) > 1:
        attempts.append(Attempt("plain mean of the categories", _mean(printed, dict.fromkeys(weights, 1)), False))
    return attempts


def fraction(quantity: Quantity) -> Interval:
    """A printed total or category, from 0 to 1."""
    return as_fraction(quantity, fraction_scale([quantity]))


def _inadmissible(
    scores: Scores, printed: dict[str, Interval], target: str, members: list[str], same: bool
) -> list[Attempt]:
    """What can be shown and decides nothing."""
    chosen, attempts = scores.suite, []
    outside = [name for name, x in printed.items() if raw(chosen.dimensions[name], x) is None]
    if outside and not same:
        beyond = {
            key: Interval(chosen.dimensions[key].normalise(x.low), chosen.dimensions[key].normalise(x.high))
            for key, x in printed.items()
        }
        clipped = {key: Interval(_clip(x.low), _clip(x.high)) for key, x in beyond.items()}
        why = ", ".join(outside)
        attempts += [
            Attempt(f"raw scores, outside the range: {why}", _span(chosen, beyond, target), False),
            Attempt(f"raw scores, clipped to the range: {why}", _span(chosen, clipped, target), False),
        ]
    absent = [name for name in members if name not in printed and chosen.dimensions[name].max < 1]
    if absent and not same:
        read = {key: either(chosen.dimensions[key], x) or Interval(0.0, 1.0) for key, x in printed.items()}
        name = f"{', '.join(absent)} (not printed) beyond the benchmark's range"
        attempts.append(Attempt(name, _span(chosen, read, target, fill=False), False))
    if target == TOTAL:
        cells = [*scores.dimensions.values(), *scores.foreign.values()]
        rows = [as_fraction(cell, fraction_scale(cells)) for cell in cells]
        mean = Interval(sum(x.low for x in rows) / len(rows), sum(x.high for x in rows) / len(rows))
        attempts.append(Attempt(PLAIN_MEAN, mean, False))
    return attempts


def _span(chosen: Suite, read: dict[str, Interval], target: str, fill: bool = True) -> Interval:
    """Least and greatest value that the benchmark's weights give; what is not read is anywhere in its range.

    fill: take 0 to 1 normalised for what is not read, else all that the definition of the raw score can return.
    """

    def aggregate(end: Callable[[Interval], float]) -> Aggregate:
        known = {name: end(x) for name, x in read.items()}
        if fill:
            known = {name: end(Interval(0.0, 1.0)) for name in chosen.dimensions} | known
        return total({name: chosen.dimensions[name].raw(value) for name, value in known.items()}, chosen.name)

    low, high = aggregate(lambda x: x.low), aggregate(lambda x: x.high)
    if target == TOTAL:
        return Interval(low.total.low, high.total.high)
    return Interval(low.groups[target].low, high.groups[target].high)


def _mean(values: dict[str, Interval], weights: dict[str, float]) -> Interval:
    whole = sum(weights[name] for name in values)
    low = sum(weights[name] * x.low for name, x in values.items()) / whole
    return Interval(low, sum(weights[name] * x.high for name, x in values.items()) / whole)


def _inside(score: Interval, low: float, high: float) -> Interval | None:
    if score.high < low - 1e-12 or score.low > high + 1e-12:
        return None
    return Interval(min(max(score.low, low), high), max(min(score.high, high), low))


def _clip(value: float) -> float:
    return min(max(value, 0.0), 1.0)
