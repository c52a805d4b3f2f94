"""Small features of a recorded formula: its terms with their signs, what stands between norm bars, a quotient.

No algebra system: just enough for a check of a given equation to follow its record when a sign, a factor or an
exponent there is corrected.
"""

from __future__ import annotations

import re

_WRAPPERS = re.compile(r"\\(?:mathbf|mathcal|mathrm|boldsymbol|operatorname|text)\{([^{}]*)\}")
_SPACING = re.compile(r"\\(?:(?:left|right|quad|qquad|cdot)(?![A-Za-z])|[,;!:])|\s+")
_OPEN, _CLOSE = "{([", "})]"


class UnknownForm(ValueError):
    """A formula that a check does not know how to read."""


def canonical(latex: str) -> str:
    r"""Without fonts, spacing, sizes of brackets and underbraces: "\mathbf{P}\,\mathbf{V}" becomes "PV"."""
    text = latex
    while (plain := _WRAPPERS.sub(r"\1", text)) != text:
        text = plain
    text = re.sub(r"\\bar\{([^{}]*)\}", r"bar\1", text)
    text = _SPACING.sub("", text)
    while "\\underbrace" in text:
        before, _, rest = text.partition("\\underbrace")
        inner, rest = group(rest)
        if rest.startswith("_"):
            _, rest = group(rest[1:])
        text = before + inner + rest
    return text


def right_side(latex: str) -> str:
    """What a formula's first "=" defines, up to a comma outside of brackets, canonical."""
    text = canonical(latex).partition("=")[2]
    depth = 0
    for i, character in enumerate(text):
        depth += (character in _OPEN) - (character in _CLOSE)
        if character == "," and depth == 0:
            return text[:i]
    return text


def group(text: str) -> tuple[str, str]:
    """The contents of the bracket that opens `text`, and what follows it."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character in _OPEN) - (character in _CLOSE)
        if depth == 0:
            return text[1:i], text[i + 1 :]
    raise UnknownForm(f"no closing bracket in {text!r}")


def terms(text: str) -> dict[str, int]:
    """The terms of a canonical sum with their signs: "a-(b+c)d" gives {"a": 1, "(b+c)d": -1}."""
    found: dict[str, int] = {}
    depth, sign, start = 0, 1, 0
    for i, character in enumerate(text + "+"):
        depth += (character in _OPEN) - (character in _CLOSE)
        if depth == 0 and character in "+-":
            if text[start:i]:
                found[text[start:i]] = sign
            sign, start = (1 if character == "+" else -1), i + 1
    return found


def within_norm(text: str) -> str:
    r"""What stands between the first "\|" of a canonical formula and its partner."""
    start = text.find("\\|")
    depth = 0
    for i in range(start + 2, len(text)):
        depth += (text[i] in _OPEN) - (text[i] in _CLOSE)
        if depth == 0 and text.startswith("\\|", i):
            return text[start + 2 : i]
    raise UnknownForm(f"no norm in {text!r}")


def fraction(text: str) -> tuple[str, str, str]:
    r"""What stands before the first "\frac" of a canonical term, its numerator and its denominator."""
    before, mark, rest = text.partition("\\frac")
    if not mark:
        raise UnknownForm(f"no fraction in {text!r}")
    numerator, rest = group(rest)
    return before, numerator, group(rest)[0]


def sign_of(found: dict[str, int], *parts: str) -> int:
    """The sign of the one term that holds all the parts.

    Raises:
        UnknownForm: no such term, or several.
    """
    hits = [sign for term, sign in found.items() if all(part in term for part in parts)]
    if len(hits) != 1:
        raise UnknownForm(f"{len(hits)} terms with {' and '.join(parts)} in {list(found)}")
    return hits[0]
