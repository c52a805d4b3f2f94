"""VBench: how dimension scores become totals (constants beside this file).

The official scorer puts 0 for a dimension that was not measured and says nothing. Here a total with a missing
dimension is an interval: whatever the missing score may be, the total lies between its ends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from alice_repro.errors import UserError, unknown_name
from alice_repro.files import read_toml

CONSTANTS = Path(__file__).with_name("vbench_constants.toml")


class Interval(NamedTuple):
    """All values that a score may have; `low == high` where it is known."""

    low: float
    high: float

    @property
    def exact(self) -> bool:
        return self.low == self.high


@dataclass(frozen=True)
class Dimension:
    """One dimension of a suite: its weight within its group, its normalisation, and the limits of its raw
    score.

    prompts, videos: of the standard protocol, videos a prompt; 0 where our source does not say. binary: a video
    scores 0 or 1, so that the dimension's score is a share of videos.
    """

    name: str
    group: str
    min: float
    max: float
    weight: float = 1.0
    low: float = 0.0
    high: float = 1.0
    prompts: int = 0
    videos: int = 0
    binary: bool = False

    def normalise(self, raw: float) -> float:
        """(raw - min) / (max - min), not clipped."""
        return (raw - self.min) / (self.max - self.min)

    def raw(self, normalised: float) -> float:
        """Inverse of `normalise`."""
        return self.min + normalised * (self.max - self.min)

    def possible(self, raw: float) -> bool:
        return self.low <= raw <= self.high


@dataclass(frozen=True)
class Suite:
    """A VBench suite: its dimensions, the weights of its groups in the total, other names of its
    dimensions.
    """

    name: str
    dimensions: dict[str, Dimension]
    group_weights: dict[str, float]
    aliases: dict[str, str]
    source: str

    def dimension(self, name: str) -> Dimension:
        """Look up a dimension, whatever its capitals and whether words are joined by space, `_` or `-`."""
        key = "_".join(name.lower().replace("-", " ").replace("_", " ").split())
        key = self.aliases.get(key, key)
        if key not in self.dimensions:
            raise unknown_name(f"dimension of {self.name}'s total", name, self.dimensions)
        return self.dimensions[key]


@dataclass(frozen=True)
class Aggregate:
    """Total and groups of a suite, as fractions.

    missing: dimensions without a score, which make their group and the total an interval. out_of_range:
    scores outside their normalisation range (min..max), so that they count as below 0 or above 1; legal, but
    worth a look. impossible: scores that the definition cannot return, such as percent where a fraction is
    due.
    """

    suite: str
    total: Interval
    groups: dict[str, Interval]
    missing: tuple[str, ...]
    out_of_range: tuple[str, ...]
    impossible: tuple[str, ...]

    @property
    def quality(self) -> Interval:
        return self.groups["quality"]

    @property
    def semantic(self) -> Interval:
        return self.groups["semantic"]


def suite(name: str) -> Suite:
    """Constants of "vbench", "vbench-i2v" or "vbench-2.0"."""
    suites = _suites()
    if name not in suites:
        raise unknown_name("suite", name, suites)
    return suites[name]


def suites() -> tuple[Suite, ...]:
    """All suites whose constants are known."""
    return tuple(_suites().values())


def normalise(dimension: str, raw: float, suite_name: str = "vbench") -> float:
    """Normalised score of one dimension, not clipped: 0 at the suite's minimum, 1 at its maximum."""
    return suite(suite_name).dimension(dimension).normalise(raw)


def total(scores: Mapping[str, float | None], suite_name: str = "vbench") -> Aggregate:
    """Groups and total from raw scores (fractions, by dimension), by the official weights.

    A dimension that is absent, None or NaN is missing: groups and total become intervals over all that its
    definition can return. Raises `UserError` for an unknown dimension, one given twice, or an infinite score.
    """
    chosen = suite(suite_name)
    raw: dict[str, float] = {}
    given: set[str] = set()
    for name, value in scores.items():
        dimension = chosen.dimension(name).name
        if dimension in given:
            raise UserError(f"{dimension} is given twice, once as {name!r}")
        given.add(dimension)
        if value is not None and math.isinf(value):
            raise UserError(f"{dimension}: the score is infinite")
        if value is not None and not math.isnan(value):
            raw[dimension] = float(value)

    def interval(dimension: Dimension) -> Interval:
        low, high = (raw[dimension.name],) * 2 if dimension.name in raw else (dimension.low, dimension.high)
        return Interval(dimension.normalise(low), dimension.normalise(high))

    members = {
        group: [dimension for dimension in chosen.dimensions.values() if dimension.group == group]
        for group in chosen.group_weights
    }
    groups = {
        group: _weighted_mean([(dimension.weight, interval(dimension)) for dimension in dimensions])
        for group, dimensions in members.items()
    }
    return Aggregate(
        chosen.name,
        _weighted_mean([(weight, groups[group]) for group, weight in chosen.group_weights.items()]),
        groups,
        tuple(name for name in chosen.dimensions if name not in raw),
        tuple(name for name, value in raw.items() if not 0 <= chosen.dimensions[name].normalise(value) <= 1),
        tuple(name for name, value in raw.items() if not chosen.dimensions[name].possible(value)),
    )


def _weighted_mean(parts: list[tuple[float, Interval]]) -> Interval:
    weights = sum(weight for weight, _ in parts)
    low = sum(weight * part.low for weight, part in parts) / weights
    high = sum(weight * part.high for weight, part in parts) / weights
    return Interval(low, high)


@cache
def _suites() -> dict[str, Suite]:
    return {
        name: Suite(
            name,
            {key: Dimension(key, **constants) for key, constants in data["dimensions"].items()},
            data["group_weights"],
            data.get("aliases", {}),
            data["source"],
        )
        for name, data in read_toml(CONSTANTS).items()
    }
