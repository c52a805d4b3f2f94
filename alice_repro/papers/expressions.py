"""Arithmetic that a paper states or implies, as text: "speedup = teacher / student". Parsed, never run as code.

    comparison:  sum op sum        with op one of = < <= > >=
    sum, product:                  + - * / and parentheses
    operand:                       a number, or a name

A name is a lower-case word that may hold "-", "_" and "."; so "a-b" is one name and "a - b" a difference. It
may say its document first ("alice:filtered-videos"), and it may be a cell, by the row's label or its index
from 0: "table04[Alice v1].vbench", "table03[#1].average".
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

COMPARISONS = ("=", "<", "<=", ">", ">=")

_WORD = r"[a-z][a-z0-9]*(?:[-_.][a-z0-9]+)*"
_NAME = re.compile(rf"(?:(?P<document>[a-z][a-z0-9_]*):)?(?P<id>{_WORD})(?:\[(?P<row>[^\]]+)\]\.(?P<column>{_WORD}))?")
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
_SYMBOL = re.compile(r"<=|>=|[-+*/()=<>]")
_OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


@dataclass(frozen=True)
class Name:
    """A quantity's id, a column's key, or (with row and column) a table's cell; document is "" for its own."""

    id: str
    document: str = ""
    row: str = ""
    column: str = ""


@dataclass(frozen=True)
class Number:
    """An exact number."""

    value: float


@dataclass(frozen=True)
class Operation:
    """`left symbol right`, symbol one of + - * /."""

    symbol: str
    left: Node
    right: Node


Node = Name | Number | Operation


@dataclass(frozen=True)
class Comparison:
    """`left symbol right`, symbol one of COMPARISONS; text: as written."""

    text: str
    symbol: str
    left: Node
    right: Node


def parse_expression(text: str) -> Node:
    """Read a sum of products.

    Raises:
        ValueError: what is wrong, and where in the text.
    """
    tokens = _Tokens(text)
    node = _sum(tokens)
    tokens.finish()
    return node


def parse_comparison(text: str) -> Comparison:
    """Read "left = right" (or <, <=, >, >=).

    Raises:
        ValueError: what is wrong, and where in the text.
    """
    tokens = _Tokens(text)
    left = _sum(tokens)
    symbol = tokens.take()
    if symbol not in COMPARISONS:
        raise ValueError(f"{text!r}: expected one of {' '.join(COMPARISONS)}, found {symbol or 'the end'!r}")
    right = _sum(tokens)
    tokens.finish()
    return Comparison(text, symbol, left, right)


def names(node: Node | Comparison) -> Iterator[Name]:
    """All names in it, left to right."""
    if isinstance(node, Name):
        yield node
    elif not isinstance(node, Number):
        yield from names(node.left)
        yield from names(node.right)


def evaluate(node: Node, value_of: Callable[[Name], Any]) -> Any:
    """Compute it over whatever `value_of` returns: floats, or intervals that know + - * / with floats.

    Raises:
        ZeroDivisionError: as the values' own division does.
    """
    if isinstance(node, Name):
        return value_of(node)
    if isinstance(node, Number):
        return node.value
    return _OPERATIONS[node.symbol](evaluate(node.left, value_of), evaluate(node.right, value_of))


class _Tokens:
    """The operands and symbols of a text, one after another."""

    def __init__(self, text: str):
        self.text, self.at = text, 0

    def peek(self) -> str | Name | Number | None:
        self.at += len(self.text[self.at :]) - len(self.text[self.at :].lstrip())
        self.end = self.at
        if self.at == len(self.text):
            return None
        for pattern in (_NAME, _NUMBER, _SYMBOL):
            if match := pattern.match(self.text, self.at):
                self.end = match.end()
                if pattern is _NAME:
                    return Name(**{key: value or "" for key, value in match.groupdict().items()})
                return Number(float(match[0])) if pattern is _NUMBER else match[0]
        raise ValueError(f"{self.text!r}: cannot read {self.text[self.at :]!r}")

    def take(self) -> str | Name | Number | None:
        token = self.peek()
        self.at = self.end
        return token

    def finish(self) -> None:
        if self.peek() is not None:
            raise ValueError(f"{self.text!r}: cannot read {self.text[self.at :]!r}")


def _sum(tokens: _Tokens) -> Node:
    node = _product(tokens)
    while tokens.peek() in ("+", "-"):
        node = Operation(str(tokens.take()), node, _product(tokens))
    return node


def _product(tokens: _Tokens) -> Node:
    node = _operand(tokens)
    while tokens.peek() in ("*", "/"):
        node = Operation(str(tokens.take()), node, _operand(tokens))
    return node


def _operand(tokens: _Tokens) -> Node:
    token = tokens.take()
    if token == "(":
        node = _sum(tokens)
        if tokens.take() != ")":
            raise ValueError(f"{tokens.text!r}: a parenthesis is not closed")
        return node
    if isinstance(token, (Name, Number)):
        return token
    raise ValueError(f"{tokens.text!r}: expected a name or a number, found {token or 'the end'!r}")
