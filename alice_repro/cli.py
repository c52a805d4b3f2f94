"""The command line, `alice-repro VERB`: what the verbs have in common. They stand in `alice_repro.verbs`."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence

import tyro

from alice_repro.errors import UserError
from alice_repro.verbs import checks, experiments, planning, stages, videos

VERBS: tuple[Callable[..., None], ...] = (
    *experiments.VERBS,
    *stages.VERBS,
    *videos.VERBS,
    *checks.VERBS,
    *planning.VERBS,
)

TWO_WORDS = {("audit", "checkpoint"): "audit-checkpoint"}
"""Verbs that may be written as two words, where the first by itself is another verb."""


DEBUG = "ALICE_REPRO_DEBUG"
"""Environment variable that acts as ``--debug``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code: 0, 2 for a user's error, 1 for a fault of the code, 130 when interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "--debug" in words:
        os.environ[DEBUG] = "1"  # for the processes of the workflow's steps too
    try:
        return _run([word for word in words if word != "--debug"], debug=os.environ.get(DEBUG) == "1")
    finally:
        if "--debug" in words:
            del os.environ[DEBUG]


def _run(words: list[str], debug: bool) -> int:
    if tuple(words[:2]) in TWO_WORDS:
        words[:2] = [TWO_WORDS[tuple(words[:2])]]
    try:
        tyro.extras.subcommand_cli_from_dict(
            {verb.__name__.replace("_", "-"): verb for verb in VERBS},
            prog="alice-repro",
            description="Checks the claims of few-step video distillation papers. --debug: show where an error arose.",
            args=words,
        )
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (head, less) has seen enough; nothing is left to be flushed to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            traceback.print_exc()
        elif isinstance(error, UserError):
            print(f"error: {error}", file=sys.stderr)
        else:
            print(
                f"{type(error).__name__}: {error}\nThis is a fault in the code; add --debug to see where.",
                file=sys.stderr,
            )
        return error.exit_code if isinstance(error, UserError) else 1
    return 0
