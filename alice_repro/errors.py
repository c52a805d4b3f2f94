"""The one error that a user's own input can cause, and the message for an unknown name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input, missing file or unknown name: the message says what is wrong and how to put it right.

    The command line prints the message without a traceback and leaves with `exit_code`.
    """

    exit_code = 2


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """Return the valid name most like `name`, or None if none is near."""
    matches = difflib.get_close_matches(name, sorted(valid), n=1, cutoff=0.4)
    return matches[0] if matches else None


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> UserError:
    """Build the error for a `kind` (scale, recipe, parameter ...) called `name` that does not exist."""
    valid = sorted(valid)
    near = nearest(name, valid)
    hint = f"did you mean {near!r}? " if near else ""
    return UserError(f"unknown {kind} {name!r}: {hint}valid are {', '.join(valid) or 'none'}")
