"""Measures videos: one decode of each for all metrics, every row kept as it is made.

A row is known by the content of the file and by what decides the value (code, options, weights, prompt where it
counts): a run that was cut short goes on, a metric that is added later leaves the others alone, and a copy of a file is
not measured twice.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

from alice_repro.errors import UserError
from alice_repro.evaluation.index import OPTIONAL_COLUMNS, REASON_SUFFIX, SCORE_COLUMNS, TECHNICAL_COLUMNS
from alice_repro.evaluation.inventory import Entry
from alice_repro.evaluation.metric import Clip, Metric, Result, Watcher
from alice_repro.files import atomic_path, atomic_write_text
from alice_repro.media import VideoError, iter_frames
from alice_repro.progress import log, track

CLIP = "clip"  # the row of what every decode tells: how many frames there are
# Begin the reason of a metric that could not do its work; such a row is made anew the next time.
FAILED, FAULT = "failed: ", "fault: "


@dataclass
class Store:
    """Rows and arrays on disk: PATH, a line a row, and the folder PATH.arrays.

    A line that a kill cut short is measured again.
    """

    path: Path
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def read(self) -> None:
        """Read what an earlier run left."""
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []:
            try:
                entry = json.loads(line)
                self.rows[entry["key"]] = entry["row"]
            except (json.JSONDecodeError, KeyError, TypeError):
                continue

    def keep(self, key: str, result: Result) -> None:
        """Append a row; its arrays are on disk before it."""
        if result.arrays:
            with atomic_path(self._arrays(key)) as temporary:
                save_file({name: np.ascontiguousarray(array) for name, array in result.arrays.items()}, temporary)
        self.rows[key] = result.values
        if _failed(result.values):
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps({"key": key, "row": result.values}, allow_nan=False))

    def arrays(self, key: str) -> dict[str, np.ndarray] | None:
        """What a metric left of a video; None if there is nothing."""
        path = self._arrays(key)
        return load_file(path) if path.exists() else None

    def compact(self, files: set[str]) -> None:
        """Each row once, of these files (sha256) alone, by whatever metric."""
        kept = {key: row for key, row in self.rows.items() if key.split()[0] in files and not _failed(row)}
        lines = [json.dumps({"key": key, "row": row}, allow_nan=False) for key, row in kept.items()]
        atomic_write_text(self.path, "\n".join(lines) + "\n")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes out.

        Raises:
            UserError: another one is at work here.
        """
        lock = self.path.with_name(self.path.name + ".lock")
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{self.path.parent}: another evaluation is writing there; wait for it") from None
            yield

    def _arrays(self, key: str) -> Path:
        return (
            self.path.with_name(self.path.name + ".arrays")
            / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"
        )


@dataclass
class Measured:
    """Scores of videos.

    Attributes:
        scores: a score table (index.py) in the order of the entries.
        arrays: metric that measures sets -> for each row what it left of the video, or why it left nothing.
        faults: videos on which our own code failed, with what it said.
    """

    scores: pd.DataFrame
    arrays: dict[str, list[dict[str, np.ndarray] | str]]
    faults: list[str]


def measure_videos(entries: Sequence[Entry], metrics: Sequence[Metric], store: Path, title: str) -> Measured:
    """Measure every video by every metric, doing only what the store lacks.

    A video with a problem has a row in which every measure is missing with that reason. So has a video for which a
    metric failed, by an error of the user's (no weights, a prompt that it cannot judge) or a fault of the code.

    Args:
        store: file of the rows; arrays lie beside it.

    Raises:
        UserError: another process is writing there.
    """
    kept, faults, keys = Store(store), [], _keys(entries, metrics)
    with kept.alone():
        kept.read()
        for entry, own in track(list(zip(entries, keys, strict=True)), title):
            lacking = [metric for metric in metrics if own and own[metric.name] not in kept.rows]
            if not own or (not lacking and own[CLIP] in kept.rows):
                continue
            for name, result in measure_clip(entry.clip, lacking, faults).items():
                kept.keep(own[name], result)
        kept.compact({entry.sha256 for entry in entries if not entry.problem})
    arrays = {
        metric.name: [
            _left(kept, own[metric.name]) if own else entry.problem for entry, own in zip(entries, keys, strict=True)
        ]
        for metric in metrics
        if type(metric).over_sets is not Metric.over_sets
    }
    return Measured(_table(entries, metrics, keys, kept), arrays, faults)


def outstanding(entries: Sequence[Entry], metrics: Sequence[Metric], store: Path) -> dict[str, list[Entry]]:
    """Metric -> the videos that it has still to measure; a metric that has measured all is not there."""
    kept = Store(store)
    kept.read()
    lacking: dict[str, list[Entry]] = {}
    for entry, own in zip(entries, _keys(entries, metrics), strict=True):
        for name in own:
            if name != CLIP and own[name] not in kept.rows:
                lacking.setdefault(name, []).append(entry)
    return lacking


def measure_clip(
    clip: Clip, metrics: Sequence[Metric], faults: list[str], at_most: int | None = None
) -> dict[str, Result]:
    """One decode of a video for all metrics; a video that breaks off gives its reason to all of them.

    Args:
        faults: where our own code fails, it is written down here.
        at_most: frames to look at; all of them if not given.
    """
    results: dict[str, Result] = {}
    watchers: dict[str, Watcher] = {}

    def guarded(metric: Metric, step: Any) -> Any:
        try:
            return step()
        except Exception as error:
            watchers.pop(metric.name, None)
            reason = f"{FAILED}{error}" if isinstance(error, UserError) else f"{FAULT}{_described(error)}"
            results[metric.name] = _reason(metric, reason)
            if not isinstance(error, UserError):
                faults.append(f"{metric.name} of {clip.video}: {_described(error)}")
                log(faults[-1])
            return None

    for metric in metrics:
        watcher = guarded(metric, lambda metric=metric: metric.watch(clip))
        if watcher is not None:
            watchers[metric.name] = watcher
    by_name, frames = {metric.name: metric for metric in metrics}, 0
    try:
        for frame in islice(iter_frames(clip.path), at_most):
            frames += 1
            for name, watcher in list(watchers.items()):
                guarded(by_name[name], lambda watcher=watcher, frame=frame: watcher.see(frame))
    except VideoError as error:
        reason = str(error).removeprefix(f"{clip.path}: ")
        broken = {metric.name: _reason(metric, reason) for metric in metrics}
        return {CLIP: Result({"frames": reason}), **broken}
    for name, watcher in list(watchers.items()):
        result = guarded(by_name[name], watcher.result)
        if result is not None:
            results[name] = _checked(by_name[name], result)
    size = {"fps": float(clip.fps), "height": float(clip.height), "width": float(clip.width)}
    return {CLIP: Result({"frames": float(frames), **size}), **results}


def _keys(entries: Sequence[Entry], metrics: Sequence[Metric]) -> list[dict[str, str]]:
    """For each entry metric (or CLIP) -> the key of its row; nothing for an entry with a problem."""
    identities = {metric.name: metric.identity for metric in metrics}
    return [
        {}
        if entry.problem
        else {CLIP: f"{entry.sha256} {CLIP}"} | {m.name: _key(entry, m, identities[m.name]) for m in metrics}
        for entry in entries
    ]


def _key(entry: Entry, metric: Metric, identity: str) -> str:
    """What a row is known by."""
    parts = [entry.sha256, identity, metric.beside(entry.clip)]
    return " ".join([*parts, str(entry.columns.get("caption"))] if metric.reads_caption else parts)


def _left(store: Store, key: str) -> dict[str, np.ndarray] | str:
    arrays = store.arrays(key)
    if arrays is not None:
        return arrays
    return next((value for value in store.rows[key].values() if isinstance(value, str)), "nothing was left of it")


def _reason(metric: Metric, reason: str) -> Result:
    return Result(dict.fromkeys(metric.measures or (metric.name,), reason))


def _described(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(where.filename).name}, line {where.lineno})"


def _failed(row: dict[str, Any]) -> bool:
    return any(isinstance(value, str) and value.startswith((FAILED, FAULT)) for value in row.values())


def _checked(metric: Metric, result: Result) -> Result:
    """Only what the metric announced, and a reason in place of a number that is not finite."""
    stray = set(result.values) ^ set(metric.measures)
    if stray:
        raise TypeError(f"metric {metric.name} and its measures disagree on {', '.join(sorted(stray))}")
    for name, value in result.values.items():
        if not isinstance(value, str):
            finite = bool(np.isfinite(value))
            result.values[name] = float(value) if finite else f"{FAILED}the computation gave {float(value)}"
    return result


def _table(
    entries: Sequence[Entry], metrics: Sequence[Metric], keys: list[dict[str, str]], store: Store
) -> pd.DataFrame:
    owners: dict[str, str] = {}  # a measure that two metrics have (lab holds VBench's flickering) stands once
    for metric in metrics:
        for measure in metric.measures:
            owners.setdefault(measure, metric.name)
    rows = []
    for entry, own in zip(entries, keys, strict=True):
        row: dict[str, Any] = {"video": entry.video, "caption": entry.columns.get("caption") or ""}
        row |= {name: entry.columns.get(name, pd.NA if name in ("seed", "run") else "") for name in OPTIONAL_COLUMNS}
        known = store.rows[own[CLIP]] if own else {"frames": entry.problem}
        broken = known["frames"] if isinstance(known["frames"], str) else ""
        row |= {name: np.nan if broken else known[name] for name in TECHNICAL_COLUMNS}
        for measure, owner in owners.items():
            value = broken or store.rows[own[owner]].get(measure, "not measured")
            row[measure] = np.nan if isinstance(value, str) else value
            row[measure + REASON_SUFFIX] = value if isinstance(value, str) else ""
        rows.append(row)
    columns = [*SCORE_COLUMNS, *TECHNICAL_COLUMNS]
    for measure in owners:
        columns.append(measure)
        if any(row[measure + REASON_SUFFIX] for row in rows):
            columns.append(measure + REASON_SUFFIX)
    return pd.DataFrame(rows)[columns]
