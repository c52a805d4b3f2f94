"""Interval arithmetic over printed numbers: the values that a printed number leaves open.

A number printed to some digit stands for all that round to it. A sign such as "~" or "approximately" widens that by
`APPROXIMATE` of the value on either side. What is computed from intervals is again one, wide enough for every choice;
a name that occurs twice counts as two choices, which favours the paper.
"""

from __future__ import annotations

from dataclasses import dataclass

from alice_repro.papers import Quantity

APPROXIMATE = 0.05
_NOISE = 1e-9  # of the size of the numbers: what floating point leaves of an exact edge


@dataclass(frozen=True)
class Interval:
    """All numbers from `low` to `high`, both included."""

    low: float
    high: float

    def __add__(self, other: Interval | float) -> Interval:
        other = as_interval(other)
        return Interval(self.low + other.low, self.high + other.high)

    def __sub__(self, other: Interval | float) -> Interval:
        other = as_interval(other)
        return Interval(self.low - other.high, self.high - other.low)

    def __mul__(self, other: Interval | float) -> Interval:
        other = as_interval(other)
        corners = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return Interval(min(corners), max(corners))

    def __truediv__(self, other: Interval | float) -> Interval:
        other = as_interval(other)
        if other.low <= 0 <= other.high:
            raise ZeroDivisionError("the divisor may be 0")
        return self * Interval(1 / other.high, 1 / other.low)

    def __radd__(self, other: float) -> Interval:
        return as_interval(other) + self

    def __rsub__(self, other: float) -> Interval:
        return as_interval(other) - self

    def __rmul__(self, other: float) -> Interval:
        return as_interval(other) * self

    def __rtruediv__(self, other: float) -> Interval:
        return as_interval(other) / self

    def __str__(self) -> str:
        if self.high - self.low <= _NOISE * max(1.0, abs(self.low)):
            return show(self.low)
        return f"{show(self.low)} to {show(self.high)}"


def as_interval(value: Interval | float) -> Interval:
    """A plain number is known exactly."""
    return value if isinstance(value, Interval) else Interval(float(value), float(value))


def printed_interval(quantity: Quantity) -> Interval:
    """What a printed number (not text, not missing) may stand for."""
    low, high = quantity.low, quantity.high
    if quantity.approximate:
        low, high = low - APPROXIMATE * abs(low), high + APPROXIMATE * abs(high)
    return Interval(low, high)


def may_hold(left: Interval | float, symbol: str, right: Interval | float) -> bool:
    """Whether "left symbol right" is true for some choice; intervals that touch are equal at the edge."""
    left, right = as_interval(left), as_interval(right)
    noise = _NOISE * max(1.0, *(abs(x) for x in (left.low, left.high, right.low, right.high)))
    if symbol == "=":
        return left.low <= right.high + noise and right.low <= left.high + noise
    if symbol in (">", ">="):
        left, right = right, left
    return left.low < right.high - noise if symbol in ("<", ">") else left.low <= right.high + noise


def distance(left: Interval | float, right: Interval | float) -> float:
    """How far two intervals are from touching, as a share of the largest of their numbers; 0 if they touch."""
    left, right = as_interval(left), as_interval(right)
    gap = max(left.low - right.high, right.low - left.high, 0.0)
    return gap / max(abs(x) for x in (left.low, left.high, right.low, right.high)) if gap else 0.0


def show(value: float) -> str:
    """A number for people: thousands separated, six significant digits."""
    if abs(value) >= 1e15:
        return f"{value:.3g}"
    return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}"
