"""Comparisons of the record, evaluated over what the printed numbers may stand for."""

from __future__ import annotations

from alice_repro.audit.findings import Reading, Record
from alice_repro.audit.interval import Interval, may_hold, printed_interval
from alice_repro.papers import Comparison, Name, Paper, Quantity, evaluate, names


def sides(comparison: Comparison, quantities: dict[Name, Quantity]) -> tuple[Interval | float, Interval | float]:
    """Left and right side, over what the printed numbers may stand for.

    Raises:
        ZeroDivisionError: a divisor may be 0.
    """
    left, right = (
        evaluate(side, lambda name: printed_interval(quantities[name])) for side in (comparison.left, comparison.right)
    )
    return left, right


def reading(comparison: Comparison, quantities: dict[Name, Quantity]) -> Reading:
    """Whether a comparison can hold, and both of its sides. A divisor that may be 0 can hold."""
    try:
        left, right = sides(comparison, quantities)
    except ZeroDivisionError:
        return Reading(comparison.text, "a divisor rounds to 0: undecided", True)
    return Reading(comparison.text, f"{left} {comparison.symbol} {right}", may_hold(left, comparison.symbol, right))


def quantities(record: Record, document: Paper, comparison: Comparison) -> dict[Name, Quantity]:
    """The printed numbers behind each name of a comparison."""
    return {name: record.quantity(document, name) for name in names(comparison)}


def printed(found: dict[Name, Quantity]) -> str:
    """The names with what is printed for them."""
    return "; ".join(f"{_label(name)} = {quantity.printed}" for name, quantity in found.items())


def damage(found: dict[Name, Quantity]) -> str:
    """Why what a comparison rests on cannot be trusted, "" if it can."""
    return "; ".join(dict.fromkeys(quantity.damaged for quantity in found.values() if quantity.damaged))


def _label(name: Name) -> str:
    document = f"{name.document}:" if name.document else ""
    return f"{document}{name.id}" + (f"[{name.row}].{name.column}" if name.row else "")
