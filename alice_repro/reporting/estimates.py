"""The numbers of the report, each with n and a 95 % interval: rates, paired differences, best-of-n, dimensions.

Values are in points (0 to 100). Prompts are the clusters; sampling seeds of a prompt are averaged first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from alice_repro.errors import UserError
from alice_repro.reporting.arms import ENDPOINT, Arms
from alice_repro.statistics import Estimate, hierarchical_bootstrap, paired_difference, proportion_interval

CHOOSER = "temporal_flickering"
MOVES = "dynamic_degree"


@dataclass(frozen=True)
class Measured:
    """An estimate in points, and what it rests on: clips, captions, training runs, and clips left out as missing."""

    estimate: Estimate
    clips: int
    captions: int
    missing: int = 0

    @property
    def n(self) -> str:
        """For print: "216 clips, 54 captions, 2 runs"."""
        runs = self.estimate.runs
        tail = f", {runs} runs" if runs > 1 else ""
        return f"{self.clips} clips, {self.captions} captions{tail}" + (
            f" ({self.missing} missing)" if self.missing else ""
        )


def rate(scores: pd.DataFrame, measure: str = ENDPOINT, n_boot: int = 2000) -> Measured | None:
    """Mean of a 0..1 measure in points. None if no clip has a value.

    Where every clip scores 0, or every clip 1, resampling sees no spread; then the interval is Wilson's for as many
    trials as there are captions.
    """
    kept = scores[scores[measure].notna()]
    if kept.empty:
        return None
    value = kept[measure].to_numpy(float)
    captions = int(kept["prompt_id"].nunique())
    estimate = hierarchical_bootstrap(kept["run"].to_numpy(), kept["prompt_id"].to_numpy(), value, n_boot)
    if value.min() == value.max() and value[0] in (0.0, 1.0):
        edge = proportion_interval(captions * int(value[0]), captions)
        estimate = Estimate(estimate.value, edge.low, edge.high, estimate.n, estimate.runs)
    estimate = estimate.scaled(100)
    clipped = np.clip([estimate.low, estimate.high], 0.0, 100.0)
    estimate = Estimate(estimate.value, float(clipped[0]), float(clipped[1]), estimate.n, estimate.runs)
    return Measured(estimate, len(kept), captions, len(scores) - len(kept))


def difference(
    student: pd.DataFrame, teacher: pd.DataFrame, measure: str = ENDPOINT, n_boot: int = 2000
) -> Measured | None:
    """Student - teacher in points, paired by prompt. None if no prompt has a value in both.

    Without any spread (both at 0, say) there is an estimate but no interval: nothing can be concluded from it.
    """
    x, y = student[student[measure].notna()], teacher[teacher[measure].notna()]
    common = set(x["prompt_id"]) & set(y["prompt_id"])
    x, y = x[x["prompt_id"].isin(common)], y[y["prompt_id"].isin(common)]
    if x.empty:
        return None
    estimate = paired_difference(
        x["run"].to_numpy(),
        x["prompt_id"].to_numpy(),
        x[measure].to_numpy(float),
        y[measure].to_numpy(float),
        y_run=np.zeros(len(y), dtype=int),
        y_prompt=y["prompt_id"].to_numpy(),
        n_boot=n_boot,
    ).scaled(100)
    if estimate.low == estimate.high:
        estimate = Estimate(estimate.value, np.nan, np.nan, estimate.n, estimate.runs)
    return Measured(estimate, len(x), len(common), len(student) - len(x))


def difference_of_arms(x: pd.DataFrame, y: pd.DataFrame, measure: str, n_boot: int = 2000) -> Measured | None:
    """x - y in points for two arms of training runs, paired by run and prompt; None if they have no such pair.

    Sampling seeds are averaged first. Both arms' variation between runs is in the interval, since each run of x meets
    the run of y with its seed.
    """
    cells = [table.dropna(subset=[measure]).groupby(["run", "prompt_id"])[measure].mean() for table in (x, y)]
    pairs = pd.concat(cells, axis=1, join="inner", keys=["x", "y"]).reset_index()
    if pairs.empty:
        return None
    columns = (pairs[name].to_numpy() for name in ("run", "prompt_id", "x", "y"))
    estimate = paired_difference(*columns, n_boot=n_boot).scaled(100)
    if estimate.low == estimate.high:
        estimate = Estimate(estimate.value, np.nan, np.nan, estimate.n, estimate.runs)
    kept = x.set_index(["run", "prompt_id"]).index.isin(pairs.set_index(["run", "prompt_id"]).index).sum()
    return Measured(estimate, int(kept), pairs["prompt_id"].nunique(), len(x) - int(kept))


def best_of(scores: pd.DataFrame, n: int, chooser: str) -> pd.DataFrame:
    """Of every `n` clips of a caption, the one that is best by `chooser`; a row per choice.

    Args:
        scores: one teacher's clips. The clips of a caption, in the order of their sampling seeds, are taken in groups
            of `n`; clips left over are not used.
        chooser: a 0..1 measure, higher is better. Measure A, temporal flickering, is highest for a clip that stands
            still, so that it chooses only among those that move (VBench's dynamic degree), if any of the group does.
            Ties go to the lower seed; a missing value loses.

    Raises:
        UserError: a measure is not in the table.
    """
    needed = (chooser, MOVES) if chooser == CHOOSER else (chooser,)
    for name in needed:
        if name not in scores.columns:
            raise UserError(f"best of {n}: the teacher's scores have no measure {name!r}")
    chosen = []
    for _, clips in scores.sort_values("seed", kind="stable").groupby("prompt_id", sort=True):
        for start in range(0, len(clips) - n + 1, n):
            group = clips.iloc[start : start + n]
            if chooser == CHOOSER and (group[MOVES] > 0.5).any():
                group = group[group[MOVES] > 0.5]
            chosen.append(group.iloc[int(np.argmax(group[chooser].fillna(-np.inf).to_numpy()))])
    return pd.DataFrame(chosen, columns=scores.columns).reset_index(drop=True)


def seeds_per_caption(scores: pd.DataFrame) -> int:
    """The fewest clips that a caption has."""
    return int(scores.groupby("prompt_id").size().min())


def tidy_arms(arms: list[Arms], n: int, steps: tuple[int, int], n_boot: int = 2000) -> pd.DataFrame:
    """The measured arms as one frame, a row per teacher and arm: what Table 4 and Figure 1 both show.

    Args:
        n: of best-of-n; steps: of the teacher and of the student.

    Returns:
        columns teacher, arm, label, value, low, high (points), clips, captions, runs, n (the sizes in words),
        evaluations, seconds, note (why a value is missing).
    """
    rows = []
    for one in arms:
        for arm, label, table, times in _table_rows(one, n, steps):
            cost = one.costs.get("student" if arm == "student" else arm.partition("/")[0])
            cost = cost.times(times) if cost else None
            measured = None if isinstance(table, str) else rate(table, n_boot=n_boot)
            note = table if isinstance(table, str) else "" if measured else "no clip has a value"
            rows.append(
                {
                    "teacher": one.teacher,
                    "arm": arm,
                    "label": label,
                    "value": measured.estimate.value if measured else np.nan,
                    "low": measured.estimate.low if measured else np.nan,
                    "high": measured.estimate.high if measured else np.nan,
                    "clips": measured.clips if measured else 0,
                    "captions": measured.captions if measured else 0,
                    "runs": measured.estimate.runs if measured else 0,
                    "n": measured.n if measured else "",
                    "evaluations": cost.evaluations if cost and not note else np.nan,
                    "seconds": cost.seconds if cost and not note else np.nan,
                    "note": note,
                }
            )
    frame = pd.DataFrame(rows)
    return frame.astype({"evaluations": float, "seconds": float})


def _table_rows(arms: Arms, n: int, steps: tuple[int, int]) -> list[tuple[str, str, pd.DataFrame | str, int]]:
    """(arm, label, scores or why there are none, clips made for one shown)."""
    full, few = steps
    n = min(n, seeds_per_caption(arms.full))
    rows: list[tuple[str, str, pd.DataFrame | str, int]] = [
        ("teacher-full", f"teacher, {full} steps", arms.full, 1),
        ("teacher-short", f"teacher, {few} steps (control)", arms.short, 1),
    ]
    by_measure = f"teacher, best of {n} by measure A"
    by_oracle = f"teacher, best of {n} by the oracle (upper bound)"
    if n < 2:
        why = "not testable here (one sampling seed a caption)"
        rows += [("teacher-full/measure", "teacher, best of n by measure A", why, 1)]
        rows += [("teacher-full/oracle", "teacher, best of n by the oracle (upper bound)", why, 1)]
    else:
        absent = [name for name in (CHOOSER, MOVES) if name not in arms.full.columns]
        why = f"not testable here (the scores have no {absent[0]})" if absent else ""
        rows += [("teacher-full/measure", by_measure, why or best_of(arms.full, n, CHOOSER), n)]
        rows += [("teacher-full/oracle", by_oracle, best_of(arms.full, n, ENDPOINT), n)]
    return [*rows, ("student", f"student ({arms.recipe}), {few} steps", arms.student, 1)]
