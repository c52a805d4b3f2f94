"""Verbs for anyone who has a folder of videos."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from alice_repro.errors import UserError
from alice_repro.verbs.arguments import MetricSettings


def evaluate(
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")],
    /,
    out: Path,
    metrics: str = "",
    prompts: str | None = None,
    weights: Path | None = None,
    weights_file: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    download: bool = False,
    device: str = "cpu",
    batch: int = 16,
    settings: MetricSettings = (),
    engine: Literal["native", "official"] = "native",
    suite: Literal["vbench", "vbench-i2v", "vbench-long", "vbench-2.0"] = "vbench",
    python: Path | None = None,
    timeout: float | None = None,
    checkout: Path | None = None,
    unpickle: bool = False,
) -> None:
    """Measure a folder of videos, whoever made them: first what was found, then the scores with 95 % intervals.

    Call it again after an interruption and it goes on, video by video. Leaves with 3 if a video or a metric could not
    be measured; each has its row and its reason.

    Args:
        folder: mp4, mov, webm, mkv, avi or gif files, and all below; or one file.
        out: folder of the tables: scores.csv, summary.csv, sets.csv, inventory.csv.
        metrics: names or groups with commas between (`alice-repro metrics` lists them), vbench-custom if not given; of
            the official engine: dimensions, all of the suite if not given.
        prompts: a CSV (columns video, caption), a JSON ({video: prompt}), "names" (prompt-3.mp4) or "none"; if not
            given, FOLDER/captions.csv, else the names. Of the official engine also "standard": the suite's own.
        weights: folder of the public weights; $ALICE_REPRO_WEIGHTS or ~/.cache/alice_repro/weights if not given.
        weights_file: NAME=PATH of a file that lies elsewhere. Repeatable.
        download: get the public weights that are not there.
        device: cpu or cuda.
        batch: frames that go through a network together.
        engine: native, or official: the VBench packages in their own environment (make vbench-env).
        suite: of the official engine.
        python: of another environment that has the official package.
        timeout: seconds that a dimension of the official engine may take.
        checkout: the official repository, for modules that the wheels lack.
        unpickle: let the official code unpickle weights; only for files that you trust.
    """
    names = [name.strip() for name in metrics.split(",")] if metrics else []
    if engine == "official":
        from alice_repro.evaluation.official.engine import evaluate_official, show_protocol

        scores, protocol = evaluate_official(
            folder, suite, names or None, out, python=python, timeout=timeout, prompts=prompts, device=device,
            checkout=checkout, unpickle=unpickle,
        )  # fmt: skip
        print(show_protocol(protocol))
        complete, faults = protocol["complete"], False
    else:
        from alice_repro.evaluation.evaluate import evaluate as run
        from alice_repro.evaluation.evaluate import show
        from alice_repro.evaluation.metric import Tools
        from alice_repro.evaluation.registry import needed_weights, parse_settings
        from alice_repro.evaluation.weights import Weights, fetch

        names = names or ["vbench-custom"]
        files = {name: Path(path) for name, _, path in (word.partition("=") for word in weights_file)}
        tools = Tools(Weights(weights, files), device, batch)
        for name in needed_weights(names) if download else ():
            fetch(tools.weights, name)
        found = run(folder, names, out, prompts=prompts, tools=tools, options=parse_settings(settings))
        print(show(found))
        scores, complete, faults = found.scores, found.complete, bool(found.faults)
    print(f"{len(scores)} videos: {out}/scores.csv")
    if not complete:
        sys.exit(1 if faults else 3)


def total(
    scores: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SCORES")],
    /,
    suite: Literal["vbench", "vbench-i2v", "vbench-2.0"] | None = None,
    unit: Literal["percent", "fraction"] | None = None,
) -> None:
    """Recompute VBench totals from scores a dimension, as an interval where a dimension is missing.

    Leaves with 3 if a score is impossible or a printed total does not agree.

    Args:
        scores: a CSV (dimension and score; a column or a row a model), our score table, or the official
            *_eval_results.json; a printed total is checked.
        suite: by the dimensions if not given.
        unit: told by the numbers if not given.
    """
    from alice_repro.evaluation.totals import recompute_totals

    found = recompute_totals(scores, suite, unit)
    print(found.text())
    if not found.sound:
        sys.exit(3)


def sampling_plan(
    suite: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SUITE")],
    /,
    out: Path,
    dimensions: str = "",
    source: Path | None = None,
) -> None:
    """Write what to sample for a suite: prompts x seeds, with the file names that the official tools want.

    Args:
        suite: vbench, vbench-i2v, vbench-long or vbench-2.0; its prompts are read from the installed package.
        out: caption table (CSV), which `evaluate --prompts` reads too.
        dimensions: names with commas between; all of the suite if not given.
        source: the package's wheel, or its list of prompts (JSON), if it is not installed.
    """
    from alice_repro.evaluation.suites import plan_notes, read_suite
    from alice_repro.evaluation.suites import sampling_plan as plan
    from alice_repro.files import write_csv

    prompts, wanted = read_suite(suite, source=source), [name for name in dimensions.split(",") if name] or None
    table = plan(prompts, wanted)
    write_csv(out, table)
    for note in plan_notes(prompts, wanted):
        print(f"note: {note}")
    print(f"{len(table)} videos of {table['caption'].nunique()} prompts: {out}")


def validate_camera(out: Path = Path("results/camera")) -> None:
    """Write the camera metric's validation: clips of known paths, measured from the files, beside the truth.

    Args:
        out: folder for the tables.
    """
    from alice_repro.evaluation.camera.validation import validate_camera as run

    run(out)
    print((out / "camera_validation.md").read_text(encoding="utf-8"))


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
    total,
    sampling_plan,
    validate_camera,
    vote,
    vote_results,
    vote_simulated,
)
