"""Verbs for anyone who has a folder of videos."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro

from alice_repro.verbs.arguments import MetricSettings


def evaluate(
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")],
    /,
    out: Path,
    metrics: str = "vbench-custom",
    prompts: str | None = None,
    weights: Path | None = None,
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
        device: cpu or cuda.
        batch: frames that go through a network together.
    """
    from alice_repro.evaluation.evaluate import evaluate as run
    from alice_repro.evaluation.evaluate import show
    from alice_repro.evaluation.metric import Tools
    from alice_repro.evaluation.registry import parse_settings
    from alice_repro.evaluation.weights import Weights

    names = [name.strip() for name in metrics.split(",") if name.strip()]
    tools = Tools(Weights(weights), device, batch)
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


VERBS = (
    evaluate,
    metrics,
    compare,
)
