"""A number as a paper prints it: its value, its unit, and the interval that its rounding leaves open."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache

MARKS = "*†‡§"
MISSING = frozenset({"", "-", "–", "—", "N/A", "n/a"})

_UNIT_NAMES = {"×": "x", "sec": "s", "second": "s", "seconds": "s"}
_PREFIXES = {"K": 1e3, "k": 1e3, "M": 1e6, "million": 1e6, "B": 1e9, "billion": 1e9}
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?"
# The first word of a unit may touch the number, but no digit may follow it: "50x2" and "480p3" stay text.
_UNIT = r"(?:[-\s]?[^\W\d_]+|\s?[%×°]+)?(?:\s[^\W\d_][\w/%-]*)*"
_PRINTED = re.compile(
    rf"(?P<approximate>[~≈∼]|(?:approximately|about|roughly|around)\s)?\s*(?P<sign>[+\-−–])?"
    rf"(?P<number>{_DIGITS})(?:\s?[-–]\s?(?P<upper>{_DIGITS}))?(?P<unit>{_UNIT})\s*(?:\((?P<note>[^()]*)\))?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Quantity:
    """A printed cell or number and what it means.

    printed: the characters of the paper; value: the number in the printed `unit`, None where nothing, a range
    or text is printed; low, high: the values that round to what is printed (half a unit of the last printed
    digit on either side), for a range its outer bounds; approximate: "~" or "about" stands before the number,
    and the bounds are *not* widened for it; marks: footnote marks such as "*"; unit: "s", "%", "B", "x",
    "K steps", ...; note: what stands in parentheses; damaged: why the text it was read from cannot be
    trusted, "" if it can.
    """

    printed: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    approximate: bool = False
    marks: tuple[str, ...] = ()
    unit: str = ""
    note: str = ""
    damaged: str = ""

    @property
    def missing(self) -> bool:
        """Nothing, a dash or "N/A" is printed."""
        return _without_marks(self.printed) in MISSING

    @property
    def is_number(self) -> bool:
        """A number or a range of numbers is printed."""
        return self.low is not None

    def scaled(self) -> Quantity:
        """The same with K, M, B (or million, billion) multiplied in: "100K steps" becomes 100000 "steps"."""
        prefix, _, rest = self.unit.partition(" ")
        factor = _PREFIXES.get(prefix)
        if factor is None:
            return self
        value, low, high = (None if x is None else x * factor for x in (self.value, self.low, self.high))
        return replace(self, value=value, low=low, high=high, unit=rest)


@cache
def parse_quantity(printed: str, exact: bool = False) -> Quantity:
    """Read a printed cell; what is no number comes back with value, low and high None.

    Handles "84.0", "~88", "+0.08", "2s", "68%", "7.5×", "1e-5", "17,000", "100K steps", "14B (active)",
    "10-35×" and marks anywhere. `exact` is for counts (steps, layers), which are not rounded: low = value =
    high. A number in words ("three thresholds", up to twelve) is such a count.
    """
    marks = tuple(character for character in printed if character in MARKS)
    text = _without_marks(printed)
    word, space, rest = text.partition(" ")
    if word.lower() in _WORDS:
        text, exact = f"{_WORDS.index(word.lower())}{space}{rest}", True
    match = None if text in MISSING else _PRINTED.fullmatch(text)
    if match is None:
        return Quantity(printed, marks=marks)
    sign = -1 if (match["sign"] or "+") != "+" else 1
    first, first_half = _decimal(match["number"])
    if match["upper"]:
        last, last_half = _decimal(match["upper"])
        value, low, high = None, first - first_half, last + last_half
        if exact:
            low, high = first, last
        if sign < 0 or last < first:  # "-3-5" or "5-3" is no range that we understand
            return Quantity(printed, marks=marks)
    else:
        half = Decimal(0) if exact else first_half
        value, low, high = sign * first, sign * first - half, sign * first + half
    return Quantity(
        printed=printed,
        value=None if value is None else float(value),
        low=float(low),
        high=float(high),
        approximate=bool(match["approximate"]),
        marks=marks,
        unit=_unit(match["unit"]),
        note=match["note"] or "",
    )


def _without_marks(printed: str) -> str:
    return "".join(character for character in printed if character not in MARKS).strip()


def _decimal(digits: str) -> tuple[Decimal, Decimal]:
    """The number, and half a unit of its last printed digit (decimal, so that 84.0 gives 83.95 exactly)."""
    number = Decimal(digits.replace(",", ""))
    return number, Decimal((0, (5,), number.as_tuple().exponent - 1))


def _unit(text: str) -> str:
    first, space, rest = text.strip(" -").partition(" ")
    return _UNIT_NAMES.get(first, first) + space + rest
