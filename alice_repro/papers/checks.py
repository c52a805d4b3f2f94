"""Checks of parsed TOML; each failure names the key at which it lies."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from alice_repro.errors import nearest
from alice_repro.papers.expressions import Comparison, Node, parse_comparison, parse_expression

_SLUG = re.compile(r"[a-z0-9]+(?:[-_.][a-z0-9]+)*")


class Malformed(Exception):
    """Says what is wrong and at which key; the file's name is added by the loader."""

    def __init__(self, where: str, reason: str):
        super().__init__(f"{where}: {reason}")


def check_keys(raw: Any, where: str, required: dict[str, Any], optional: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of `raw` after checking its keys and the types of its values."""
    if not isinstance(raw, dict):
        raise Malformed(where, f"expected a table, found {raw!r}")
    types = required | optional
    for key, value in raw.items():
        if key not in types:
            raise Malformed(f"{where}.{key}", f"unknown key; {_hint(key, types)}")
        # bool is an int to Python, not to us
        if not isinstance(value, types[key]) or (isinstance(value, bool) and types[key] is int):
            expected = getattr(types[key], "__name__", str(types[key]))
            raise Malformed(f"{where}.{key}", f"expected {expected}, found {value!r}")
    for key in required:
        if key not in raw:
            raise Malformed(f"{where}.{key}", "missing key")
    return dict(raw)


def check_known(name: str, known: Iterable[str], where: str) -> None:
    """A name that refers to something must be among the `known`."""
    known = list(known)
    if name not in known:
        raise Malformed(where, f"unknown {name!r}; {_hint(name, known)}")


def check_unique(values: list[Any], where: str, what: str) -> None:
    """No value of the key `what` may occur twice."""
    for value in values:
        if values.count(value) > 1:
            raise Malformed(where, f"{what} {value!r} occurs more than once")


def check_slug(name: str, where: str) -> None:
    """Ids and column keys stand in file names and command lines: lower-case words."""
    if not _SLUG.fullmatch(name):
        raise Malformed(where, f"{name!r} must be lower-case letters, digits, '-', '_' or '.'")


def strings(values: Any, where: str) -> tuple[str, ...]:
    """A list of strings, as a tuple."""
    if not isinstance(values, list):
        raise Malformed(where, f"expected a list of strings, found {values!r}")
    for i, value in enumerate(values):
        if not isinstance(value, str):
            raise Malformed(f"{where}[{i}]", f"expected a string, found {value!r}; write it as printed, in quotes")
    return tuple(values)


def texts(values: dict[str, Any], where: str) -> dict[str, str]:
    """A table whose values are strings."""
    strings(list(values.values()), where)
    return dict(values)


def numbers(values: Any, where: str) -> tuple[int, ...]:
    """A list of whole numbers that is not empty, as a tuple."""
    if not isinstance(values, list) or not values or not all(type(value) is int for value in values):
        raise Malformed(where, f"expected a list of whole numbers, found {values!r}")
    return tuple(values)


def expression(text: Any, where: str) -> Node:
    """A sum of products, see `expressions`."""
    return _parsed(parse_expression, text, where)


def comparison(text: Any, where: str) -> Comparison:
    """Two expressions and what is between them, see `expressions`."""
    return _parsed(parse_comparison, text, where)


def references(fields: dict[str, Any], where: str, *keys: str) -> dict[str, Node]:
    """Those of the `keys` that are there, as expressions."""
    return {key: expression(fields[key], f"{where}.{key}") for key in keys if key in fields}


def _parsed(parse: Any, text: Any, where: str) -> Any:
    if not isinstance(text, str):
        raise Malformed(where, f"expected a string, found {text!r}")
    try:
        return parse(text)
    except ValueError as error:
        raise Malformed(where, str(error)) from None


def _hint(name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    return f"did you mean {near!r}?" if near else "known: " + ", ".join(known)
