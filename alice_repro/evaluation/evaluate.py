"""Score a folder of videos: pre-flight, one decode of each video for all metrics, tables with intervals.

    evaluation = evaluate("clips", ["vbench-custom", "diversity"], "scores")
    evaluation.summary      # a row a measure: n, missing, value, 95 % interval
    evaluation.scores       # a row a video
    evaluation.plot()

A call that is interrupted goes on from where it was, video by video.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from alice_repro.errors import UserError
from alice_repro.evaluation.engine import FAILED, FAULT, measure_clip, measure_videos, outstanding
from alice_repro.evaluation.index import read_scores, write_scores
from alice_repro.evaluation.inventory import Entry, Inventory, take_inventory
from alice_repro.evaluation.metric import Metric, Tools
from alice_repro.evaluation.registry import build_metrics
from alice_repro.evaluation.summary import measure_sets, reasons, summarise
from alice_repro.files import write_csv
from alice_repro.manifest import write_manifest
from alice_repro.progress import duration, log

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCORES, SETS, SUMMARY, INVENTORY, ROWS = "scores.csv", "sets.csv", "summary.csv", "inventory.csv", "rows.jsonl"
TRIED_FRAMES = 8


@dataclass(frozen=True)
class Evaluation:
    """A folder's scores.

    Attributes:
        scores: a row a video (index.py's score table); a missing value has its reason beside it.
        sets: a row for each prompt and measure of sets (diversity ...).
        summary: a row a measure.
        inventory: what was found in the folder.
        faults: where our own code failed.
        out: the folder of the tables.
    """

    scores: pd.DataFrame
    sets: pd.DataFrame
    summary: pd.DataFrame
    inventory: Inventory
    faults: list[str]
    out: Path

    @property
    def reasons(self) -> pd.DataFrame:
        """Why values are missing: measure, reason, videos, such as."""
        return reasons(self.scores)

    @property
    def complete(self) -> bool:
        """Every video of the folder and of the prompts was measured by every metric.

        A metric may still have said that a measure does not apply to a video; that is a value's own reason.
        """
        failed = self.reasons["reason"].str.startswith((FAILED, FAULT)).any()
        unmeasured = (self.sets["n"] == 0).all() if len(self.sets) else False
        return bool(self.scores["frames"].notna().all() and not failed and not unmeasured and not self.faults)

    def plot(self) -> Figure:
        """Every measure's values, a dot a video, with the mean and its interval."""
        from alice_repro.evaluation.plots import plot_scores

        return plot_scores(self.scores, self.summary)


def evaluate(
    folder: str | Path,
    metrics: Sequence[str],
    out: str | Path,
    *,
    prompts: str | Path | None = None,
    tools: Tools | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Evaluation:
    """Score the videos of a folder and write the tables.

    Args:
        folder: searched with all below it; or a single video.
        metrics: names or groups (`registry`).
        out: folder for scores.csv, summary.csv, sets.csv, inventory.csv, the rows as they are made, a manifest.
        prompts: CSV, JSON, "names" or "none"; captions.csv of the folder, else the names, if not given.
        tools: weights, device, batch.
        options: metric -> its settings.

    Raises:
        UserError: nothing to measure, or a request that makes no sense. A single bad video is no error: it is a row.
    """
    started, out = time.time(), Path(out)
    chosen = build_metrics(metrics, tools or Tools(), options)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: no folder for the tables can be made there ({error.strerror})") from error
    inventory = take_inventory(folder, prompts)
    for line in [*inventory.lines(), *preflight(inventory, chosen, out / ROWS)]:
        log(line)
    measured = measure_videos(inventory.entries, chosen, out / ROWS, f"scores of {inventory.folder.name}")
    sets = measure_sets(measured, chosen)
    summary = summarise(measured.scores, sets, chosen)
    write_scores(out / SCORES, measured.scores)
    tables = {SUMMARY: summary, SETS: sets, INVENTORY: inventory.as_table()}
    for name, table in tables.items():
        write_csv(out / name, table)
    write_manifest(
        [out / name for name in (SCORES, *tables)],
        config={"metrics": {metric.name: described(metric) for metric in chosen}, "prompts": inventory.prompts},
        extra={"videos": len(inventory.entries), "not_measured": len(inventory.problems)},
        started=started,
    )
    return Evaluation(measured.scores, sets, summary, inventory, measured.faults, out)


def preflight(inventory: Inventory, metrics: Sequence[Metric], store: Path) -> list[str]:
    """What the metrics lack, and how long they will take: what has still to measure is tried on a video's first frames.

    Args:
        store: file of the rows that an earlier call left.
    """
    lines, left = [], outstanding(inventory.entries, metrics, store)
    for metric in metrics:
        lines += [f"  skipped: {metric.name}: {why}" for why in metric.missing_weights]
        for name in () if metric.missing_weights else metric.weights:
            lines.append(f"  weights: {metric.name}: {metric.tools.weights.place(name)} (sha256 "
                         f"{metric.tools.weights.sha256(name)[:12]}...)")  # fmt: skip
        lines += [f"  note: {metric.name}: {metric.surrogate}"] * bool(metric.surrogate)
    ready = [metric for metric in metrics if metric.name in left and not metric.missing_weights]
    if ready:
        videos = max((left[metric.name] for metric in ready), key=len)
        frames = sum(entry.info.frames or 0 for entry in videos if entry.info)
        seconds = _seconds_a_frame(videos[0], ready)
        lines.append(f"  estimated time: {duration(seconds * max(frames, 1))}{'' if frames else ' a frame'}")
    elif inventory.readable and len(left) < len(metrics):
        lines.append("  measured before: all that can be measured")
    return lines


def _seconds_a_frame(video: Entry, metrics: Sequence[Metric]) -> float:
    """Time for a frame, from a video's first frames, after a first pass that loads the networks."""
    took = 0.0
    for _ in range(2):
        began = time.perf_counter()
        measure_clip(video.clip, metrics, [], at_most=TRIED_FRAMES)
        took = time.perf_counter() - began
    return took / max(1, min(TRIED_FRAMES, (video.info and video.info.frames) or TRIED_FRAMES))


def described(metric: Metric) -> dict[str, Any]:
    """A metric's identity, options and weights, for a manifest."""
    weights = {} if metric.missing_weights else {name: metric.tools.weights.sha256(name) for name in metric.weights}
    return {"identity": metric.identity, "options": vars(metric.options), "weights": weights}


def show(evaluation: Evaluation) -> str:
    """The summary and what is missing, for the terminal."""
    table = evaluation.summary.copy()
    notes = {note: f"{number}" for number, note in enumerate(dict.fromkeys(_single_notes(table["note"])), start=1)}
    table["note"] = [" ".join(notes[note] for note in _single_notes([cell])) for cell in table["note"]]
    table["n"] = table["n"].astype(str) + table["missing"].map(lambda k: f" (+{k} missing)" if k else "")
    table["value"] = [f"{value:.4f}" if value == value else "" for value in table["value"]]
    both = zip(evaluation.summary["low"], evaluation.summary["high"], strict=True)
    table["95 % interval"] = [f"[{low:.4f}, {high:.4f}]" if low == low else "" for low, high in both]
    shown = table[["measure", "of", "n", "value", "95 % interval", "note"]]
    lines = [shown.to_markdown(index=False, disable_numparse=True)]
    lines += [f"{number}: {note}" for note, number in notes.items()]
    why = _absent(evaluation.reasons.rename(columns={"videos": "count"}), "videos")
    absent = evaluation.sets[evaluation.sets["value"].isna()].groupby(["measure", "reason"], sort=False)["prompt"]
    why += _absent(absent.agg(["count", "first"]).reset_index().rename(columns={"first": "such as"}), "prompts")
    lines += ["", "Missing, and why:", *why] if why else []
    lines += [f"fault: {fault}" for fault in evaluation.faults]
    return "\n".join(lines)


def _absent(rows: pd.DataFrame, of: str) -> list[str]:
    """A line a reason: the measures that it concerns, how many videos or prompts, and one of them."""
    lines = []
    for (reason, count, one), table in rows.groupby(["reason", "count", "such as"], sort=False):
        measures = table["measure"].tolist()
        more = f" and {len(measures) - 1} more" if len(measures) > 1 else ""
        lines.append(f"  {measures[0]}{more}: {count} {of}, such as {one}: {reason}")
    return lines


def _single_notes(cells: Iterable[str]) -> list[str]:
    return [note for cell in cells for note in cell.split("; ") if note]


def load_scores(place: str | Path) -> pd.DataFrame:
    """A score table, or that of an evaluation's folder."""
    path = Path(place)
    return read_scores(path / SCORES if path.is_dir() else path)
