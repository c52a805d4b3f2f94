"""`alice-repro vote A B`: ask people which video is better."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from alice_repro.evaluation.preference.ballot import Ballot
from alice_repro.evaluation.preference.opening import open_study
from alice_repro.evaluation.preference.report import write_results
from alice_repro.evaluation.preference.server import VoteServer
from alice_repro.evaluation.preference.study import VOTES, Study
from alice_repro.evaluation.preference.votes import VoteLog
from alice_repro.progress import log

PORT = 8765


def vote(
    a: str | Path,
    b: str | Path,
    out: str | Path,
    *,
    more: Sequence[str | Path] = (),
    prompts: str | Path | None = None,
    criteria: Sequence[str] = ("overall",),
    votes: int = 3,
    raters: Sequence[str] = (),
    most: int = 0,
    check_every: int = 0,
    pairs: int = 0,
    only_first: bool = False,
    seed: int = 0,
    port: int = PORT,
) -> None:
    """Serve the page that asks which of two videos is better, until Ctrl-C; then write the results.

    Args:
        a, b: folders of videos, an arm each; `more`: further arms.
        out: folder of the study; called again with the same one, it goes on.
        prompts, criteria, votes, raters, most, check_every, pairs, only_first, seed: see `open_study`.
        port: of the page on this machine; 0 takes any that is free.

    Raises:
        UserError: nothing can be compared, `out` holds another study, or the port is taken.
    """
    study = open_study(
        (a, b, *more), out, prompts=prompts, criteria=criteria, votes=votes, raters=raters, most=most,
        check_every=check_every, pairs=pairs, only_first=only_first, seed=seed,
    )  # fmt: skip
    ballot_log = VoteLog(study.folder / VOTES)
    try:
        with VoteServer(Ballot(study, ballot_log), port) as server:
            print(_welcome(study, server.url), flush=True)
            try:
                threading.Event().wait()
            except KeyboardInterrupt:
                print()
    finally:
        ballot_log.close()
    if any(event["event"] == "vote" for event in ballot_log.events):
        print(write_results(study.folder))
    else:
        log(f"No votes yet; the study is kept in {study.folder}")


def _welcome(study: Study, url: str) -> str:
    pairs = len(study.comparisons)
    lines = [
        f"{pairs} pairs of {' and '.join(study.arms)}, {study.votes} raters each, asked: {', '.join(study.criteria)}",
        *([f"{len(study.left_out)} left out, such as {study.left_out[0]}"] if study.left_out else []),
        f"Open {url}   (this machine only; Ctrl-C ends, every vote is kept in {study.folder})",
    ]
    return "\n".join(lines)
