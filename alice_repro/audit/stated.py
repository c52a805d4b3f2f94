"""What stands behind a fact of the record (a timing, a budget): its printed numbers, their place and their damage."""

from __future__ import annotations

from dataclasses import dataclass

from alice_repro.audit.expressions import damage, printed, quantities
from alice_repro.audit.findings import Finding, Reading, Record, graded
from alice_repro.audit.interval import Interval, as_interval, printed_interval
from alice_repro.papers import Model, Name, Paper, Quantity, evaluate
from alice_repro.papers.expressions import Node


@dataclass(frozen=True)
class Stated:
    """Expressions of a document with the numbers behind them."""

    document: Paper
    found: dict[Name, Quantity]

    def interval(self, node: Node) -> Interval:
        """What an expression may stand for."""
        return as_interval(evaluate(node, lambda name: printed_interval(self.found[name])))

    @property
    def printed(self) -> str:
        return printed(self.found)

    @property
    def damaged(self) -> str:
        return damage(self.found)

    def shown(self, node: Node) -> str:
        """An expression as printed, where it is one number; else the values that it may have."""
        return self.found[node].printed if isinstance(node, Name) else str(self.interval(node))

    def quote(self, node: Node) -> str:
        """The sentence of a number, or the cell with its row and column."""
        if not isinstance(node, Name) or node.document:
            return ""
        if not node.row:
            return self.document.quantity(node.id).quote
        table = self.document.table(node.id)
        label = next(column.label for column in table.columns if column.key == node.column)
        return f"{table.labels[table.row_index(node.row)]} | {label} | {self.found[node].printed}"


def stated(record: Record, document: Paper, *nodes: Node) -> Stated:
    """Look the names in some expressions up."""
    found: dict[Name, Quantity] = {}
    for node in nodes:
        found |= quantities(record, document, node)
    return Stated(document, found)


def model_of(document: Paper, name: str) -> Model:
    """A model of the document; the loader has checked that it exists."""
    return next(model for model in document.models if model.id == name)


def limit_finding(
    facts: Stated,
    rule: str,
    thing: str,
    place: str,
    quote: str,
    computed: str,
    readings: list[Reading],
    verdict: str,
    severity: str,
    explanation: str,
    printed: str = "",
) -> Finding:
    """An entry of the hardware's limits; `rule` and `thing` make its id."""
    if facts.damaged:
        explanation += f" The text is damaged here: {facts.damaged}."
    return Finding(
        id=f"{facts.document.id}.limits.{rule}.{thing}",
        paper=facts.document.id,
        place=place,
        quote=quote,
        rule=f"limits.{rule}",
        printed=printed or facts.printed,
        computed=computed,
        readings=tuple(readings),
        verdict=verdict,
        severity=graded(verdict, severity),
        explanation=explanation,
    )
