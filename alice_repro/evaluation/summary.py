"""From scores of videos to one number a measure, with n and a 95 % interval; and measures of sets of videos.

Videos of one prompt are no independent evidence: intervals resample prompts. Where each video has a prompt of its own,
or none is known, a video is its own cluster.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from alice_repro.evaluation.engine import Measured
from alice_repro.evaluation.index import REASON_SUFFIX, measures
from alice_repro.evaluation.metric import Metric, SetValue, VideoSet
from alice_repro.statistics import Estimate, hierarchical_bootstrap, mean_interval, proportion_interval

VIDEO, SET = "video", "set"
SUMMARY_COLUMNS = ("measure", "of", "n", "missing", "value", "low", "high", "note")
DRAWS = 2000


def prompts_of(scores: pd.DataFrame) -> pd.Series:
    """Which prompt each row is of: its prompt_id, else its caption, else the video itself."""
    prompt = scores["prompt_id"].fillna("").astype(str)
    prompt = prompt.where(prompt != "", scores["caption"].fillna("").astype(str))
    return prompt.where(prompt != "", scores["video"])


def summarise(scores: pd.DataFrame, sets: pd.DataFrame, metrics: Sequence[Metric]) -> pd.DataFrame:
    """A row a measure, columns SUMMARY_COLUMNS: `n` videos, or prompts for measures of sets, went in.

    `value` is pooled as the metric says (VBench weights some dimensions by frames), `note` says what to know of it.
    """
    owner = {measure: metric for metric in metrics for measure in metric.measures}
    rows = []
    for measure in measures(scores):
        metric = owner.get(measure)
        weight = metric.weighted_by.get(measure) if metric else None
        estimate = pooled(scores, measure, weight, binary=metric is not None and measure in metric.binary)
        notes = [metric.surrogate] if metric and metric.surrogate else []
        notes += [f"weighted by {weight}"] if weight else []
        rows.append(_row(measure, VIDEO, estimate, len(scores) - (estimate.n if estimate else 0), notes))
    notes_of = {metric.name: metric.surrogate for metric in metrics}
    for (metric_name, measure), table in sets.groupby(["metric", "measure"], sort=False):
        present = table["value"].dropna()
        estimate = mean_interval(present) if len(present) else None
        note = notes_of.get(str(metric_name), "")
        rows.append(_row(str(measure), SET, estimate, len(table) - len(present), [note] * bool(note)))
    return pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))


def pooled(scores: pd.DataFrame, measure: str, weight: str | None = None, binary: bool = False) -> Estimate | None:
    """Mean of a measure over the videos that have it, with its interval; None if none has.

    With a weight, "frames" or "pairs" of them, the interval is of the linearised ratio: each value counts as
    mean + w / mean(w) * (value - mean).
    """
    known = scores[scores[measure].notna()]
    if known.empty:
        return None
    values, prompt = known[measure].to_numpy(float), prompts_of(known).to_numpy(str)
    if weight is not None:
        w = known["frames"].to_numpy(float) - (weight == "pairs")
        mean = float((w * values).sum() / w.sum())
        values = mean + w / w.mean() * (values - mean)
    elif binary:
        return _share(values, prompt)
    return hierarchical_bootstrap(np.zeros(len(values)), prompt, values, DRAWS)


def _share(values: np.ndarray, prompt: np.ndarray) -> Estimate:
    """Of values that are 0 or 1: Wilson's interval where each prompt counts once, else that of means of prompts.

    Where all values agree a bootstrap sees no spread; then Wilson's, with as many trials as there are prompts.
    """
    prompts, mean = len(set(prompt)), float(values.mean())
    if prompts == len(values) or mean in (0.0, 1.0):
        wilson = proportion_interval(round(mean * prompts), prompts)
        return Estimate(mean, wilson.low, wilson.high, len(values))
    found = hierarchical_bootstrap(np.zeros(len(values)), prompt, values, DRAWS)
    if np.isnan(found.low):
        return found
    return Estimate(found.value, max(0.0, found.low), min(1.0, found.high), found.n)


def measure_sets(measured: Measured, metrics: Sequence[Metric]) -> pd.DataFrame:
    """Measures over the videos of each prompt: columns metric, prompt, measure, value, reason, n, missing."""
    rows = []
    prompts = prompts_of(measured.scores)
    for metric in metrics:
        if metric.name not in measured.arrays:
            continue
        left = measured.arrays[metric.name]
        sets, reasons = [], {}
        for prompt, table in measured.scores.groupby(prompts, sort=True):
            order = table.sort_values(["seed", "video"]).index
            present = [i for i in order if isinstance(left[i], dict)]
            absent = [str(left[i]) for i in order if not isinstance(left[i], dict)]
            reasons[str(prompt)] = absent
            arrays = [left[i] for i in present]
            sets.append(VideoSet(str(prompt), measured.scores.loc[present], arrays, len(absent)))  # type: ignore[arg-type]
        for value in metric.over_sets(sets):
            rows.append(_set_row(metric.name, value, reasons.get(value.prompt, [])))
    return pd.DataFrame(rows, columns=["metric", "prompt", "measure", "value", "reason", "n", "missing"])


def _set_row(metric: str, found: SetValue, absent: list[str]) -> dict[str, object]:
    said = isinstance(found.value, str) or not np.isfinite(found.value)
    reason = str(found.value) if said else ""
    if said and absent:
        reason += f"; {len(absent)} videos left out: {absent[0]}"
    row = {"metric": metric, "prompt": found.prompt, "measure": found.measure}
    return row | {"value": np.nan if said else found.value, "reason": reason, "n": found.n, "missing": len(absent)}


def _row(measure: str, of: str, estimate: Estimate | None, missing: int, notes: list[str]) -> dict[str, object]:
    row: dict[str, object] = {"measure": measure, "of": of, "n": estimate.n if estimate else 0, "missing": missing}
    if estimate is None:
        return row | {"value": np.nan, "low": np.nan, "high": np.nan, "note": "; ".join(["no value", *notes])}
    if np.isnan(estimate.low):
        notes = [*notes, "no interval from one prompt"]
    return row | {"value": estimate.value, "low": estimate.low, "high": estimate.high, "note": "; ".join(notes)}


def reasons(scores: pd.DataFrame) -> pd.DataFrame:
    """Why values are missing: a row for each measure and reason, with how many videos and one of them."""
    rows = []
    for measure in measures(scores):
        if measure + REASON_SUFFIX not in scores:
            continue
        absent = scores[scores[measure].isna()]
        for reason, table in absent.groupby(measure + REASON_SUFFIX, sort=False):
            rows.append({"measure": measure, "reason": reason, "videos": len(table), "such as": table["video"].iloc[0]})
    return pd.DataFrame(rows, columns=["measure", "reason", "videos", "such as"])
