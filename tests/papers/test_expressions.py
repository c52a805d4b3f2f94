"""Arithmetic as text: precedence, names that hold hyphens, cells, and everything that is no arithmetic."""

from __future__ import annotations

import pytest

from alice_repro.papers import Name, evaluate, names, parse_comparison, parse_expression

VALUES = {"a": 2.0, "b": 3.0, "a-b": 100.0, "x.y_z-1": 7.0}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7.0),
        ("(1 + 2) * 3", 9.0),
        ("8 / 2 / 2", 2.0),
        ("8 - 2 - 1", 5.0),
        ("a - b", -1.0),
        ("a-b", 100.0),  # one name: a difference has spaces around its sign
        ("a - b*a", -4.0),
        ("x.y_z-1 / 7", 1.0),
        ("1.5e2", 150.0),
        ("((a))", 2.0),
    ],
)
def test_values(text: str, value: float) -> None:
    assert evaluate(parse_expression(text), lambda name: VALUES[name.id]) == value


def test_names_in_order_with_document_and_cell() -> None:
    comparison = parse_comparison("alice:total >= table04[Veo3 (API) / 1].time + #0".replace("#0", "table03[#0].mean"))
    assert comparison.symbol == ">="
    assert list(names(comparison)) == [
        Name("total", "alice"),
        Name("table04", row="Veo3 (API) / 1", column="time"),
        Name("table03", row="#0", column="mean"),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "found 'the end'"),
        ("a +", "found 'the end'"),
        ("a b", "cannot read 'b'"),
        ("(a", "not closed"),
        ("a)", "cannot read"),
        ("2 ** 3", "expected a name or a number"),
        ("-a", "expected a name or a number"),
        ("__import__('os')", "cannot read"),
        ("a = b", "cannot read"),
        ("table04[Veo3]", "cannot read"),
    ],
)
def test_what_is_no_expression(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace("(", r"\(")):
        parse_expression(text)


@pytest.mark.parametrize("text", ["a", "a + b", "a == b", "a = b = a", "= a"])
def test_what_is_no_comparison(text: str) -> None:
    with pytest.raises(ValueError):
        parse_comparison(text)
