"""Verbs for anyone who has a folder of videos."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro

from alice_repro.errors import UserError
from alice_repro.verbs.arguments import MetricSettings


def evaluate(
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")],
    /,
    out: Path,
    metrics: str = "vbench-custom",
    prompts: str | None = None,
    weights: Path | None = None,
    weights_file: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    download: bool = False,
    device: str = "cpu",
    batch: int = 16,
    settings: MetricSettings = (),
) -> None:
    """Measure a folder of videos, whoever made them: first what was found, then the scores with 95 % intervals.

    Call it again after an interruption and it goes on, video by video. Leaves with 3 if a video or a metric could not
    be measured; each has its row and its reason.

    Args:
        folder: mp4, mov, webm, mkv, avi or gif files, and all below; or one file.
        out: folder of the tables: scores.csv, summary.csv, sets.csv, inventory.csv.
        metrics: names or groups with commas between; `alice-repro metrics` lists them.
        prompts: a CSV (columns video, caption), a JSON ({video: prompt}), "names" (prompt-3.mp4) or "none"; if not
            given, FOLDER/captions.csv, else the names.
        weights: folder of the public weights; $ALICE_REPRO_WEIGHTS or ~/.cache/alice_repro/weights if not given.
        weights_file: NAME=PATH of a file that lies elsewhere. Repeatable.
        download: get the public weights that are not there.
        device: cpu or cuda.
        batch: frames that go through a network together.
    """
    from alice_repro.evaluation.evaluate import evaluate as run
    from alice_repro.evaluation.evaluate import show
    from alice_repro.evaluation.metric import Tools
    from alice_repro.evaluation.registry import needed_weights, parse_settings
    from alice_repro.evaluation.weights import Weights, fetch

    files = {name: Path(path) for name, _, path in (word.partition("=") for word in weights_file)}
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    tools = Tools(Weights(weights, files), device, batch)
    if download:
        for name in needed_weights(names):
            fetch(tools.weights, name)
    found = run(folder, names, out, prompts=prompts, tools=tools, options=parse_settings(settings))
    print(show(found))
    print(f"{len(found.scores)} videos: {out}/scores.csv")
    if not found.complete:
        sys.exit(1 if found.faults else 3)


def metrics() -> None:
    """List the metrics, what each needs, and the groups."""
    from alice_repro.evaluation.registry import describe

    print(describe())


def compare(
    a: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="A")],
    b: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="B")],
    /,
) -> None:
    """Compare two evaluations: paired differences a measure with intervals, and which are beyond noise.

    Args:
        a: folder of `evaluate`, or a score table.
        b: the other.
    """
    from alice_repro.evaluation.paired import compare as run

    print(run(a, b).show())


def vote(
    a: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="A")],
    b: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="B")],
    /,
    out: Path,
    more: tuple[Path, ...] = (),
    prompts: str | None = None,
    criteria: tuple[str, ...] = ("overall",),
    votes: int = 3,
    raters: tuple[str, ...] = (),
    most: int = 0,
    check_every: int = 0,
    pairs: int = 0,
    only_first: bool = False,
    seed: int = 0,
    port: int = 8765,
) -> None:
    """Ask people which of two videos of one prompt is better, on a page of this machine; Ctrl-C ends, writing results.

    Args:
        a: folder of videos, an arm.
        b: another.
        out: folder of the study; call again with the same one to go on.
        more: further folders, an arm each.
        prompts: CSV, JSON or "names"; captions.csv in each folder, else the file names, if not given.
        criteria: overall, quality, motion, alignment; several are asked of each pair.
        votes: raters a pair needs.
        raters: who may vote; anyone who gives a name if none is named.
        most: comparisons that one rater is asked for at most; 0: no limit.
        check_every: an attention check in each so many comparisons; 0: none.
        pairs: compare so many pairs, drawn by prompt; 0: all.
        only_first: compare A with each other folder, not all with all.
        seed: of the order and the sides.
        port: 0 takes any that is free.
    """
    from alice_repro.evaluation.preference.serve import vote as run

    run(
        a,
        b,
        out,
        more=more,
        prompts=prompts,
        criteria=criteria,
        votes=votes,
        raters=raters,
        most=most,
        check_every=check_every,
        pairs=pairs,
        only_first=only_first,
        seed=seed,
        port=port,
    )


def vote_results(
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")], /, min_checks: float = 0.0
) -> None:
    """Write what the votes of a study say: win / tie / loss, agreement, ranking, the preference file.

    Args:
        out: folder of the study.
        min_checks: leave out raters who passed a smaller share of their attention checks.
    """
    from alice_repro.evaluation.preference.report import write_results

    print(write_results(out, min_checks))


def vote_simulated(
    scores: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SCORES ...")],
    /,
    out: Path,
    raters: int = 3,
    error_rate: float = 0.1,
    criteria: tuple[str, ...] = ("overall",),
) -> None:
    """Let raters of known error vote by the lab oracle's scores, where there are no people; labelled as simulated.

    Args:
        scores: score tables of the lab protocol, an arm each, called by their file names.
        out: folder of the study.
        raters: how many.
        error_rate: chance that an answer is replaced by another one.
        criteria: overall, quality, motion, alignment.
    """
    from alice_repro.evaluation.preference.report import write_results
    from alice_repro.evaluation.preference.simulate import simulate_votes

    tables = {path.stem: path for path in scores}
    if len(tables) < max(2, len(scores)):
        raise UserError("vote-simulated needs two or more score tables with different file names")
    simulate_votes(tables, out, raters=raters, error_rate=error_rate, criteria=criteria)
    print(write_results(out))


VERBS = (
    evaluate,
    metrics,
    compare,
    vote,
    vote_results,
    vote_simulated,
)
