"""Verdicts on claims, by rules fixed before anything is measured. Pure functions of estimates.

All estimates, margins and shifts here are in percentage points (`Estimate.scaled(100)`): a claim "X beats Y"
is judged on the estimate of X - Y.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from alice_repro.errors import UserError
from alice_repro.statistics import Estimate, paired_difference, proportion_interval

MARGIN = 2.0
MIN_RUNS = 5
TEACHERS = ("exact", "trained")


class Verdict(StrEnum):
    """The only labels in use. A lab result is never "reproduced": that needs the paper's own scale."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    LAB_SUPPORTS = "lab supports"
    LAB_CONTRADICTS = "lab contradicts"
    LAB_INCONCLUSIVE = "lab inconclusive"
    NOT_CONVERGED = "not converged"
    INCONSISTENT_ON_PAPER = "inconsistent on paper"
    IMPOSSIBLE_ON_PAPER = "impossible on paper"
    NOT_TESTABLE = "not testable here"


def superiority_verdict(
    estimate: Estimate, margin: float = MARGIN, min_runs: int = MIN_RUNS, converged: bool = True
) -> Verdict:
    """Verdict on "X beats Y" from the estimate of X - Y in points.

    Not converged: no verdict. Fewer than `min_runs` training runs: inconclusive. Supports: the interval lies
    above 0 and the value is at least the margin. Contradicts: the whole interval lies below the margin. Else
    inconclusive, also where there is no interval.
    """
    if not converged:
        return Verdict.NOT_CONVERGED
    if estimate.runs < min_runs:
        return Verdict.LAB_INCONCLUSIVE
    if estimate.low > 0 and estimate.value >= margin:
        return Verdict.LAB_SUPPORTS
    if estimate.high < margin:
        return Verdict.LAB_CONTRADICTS
    return Verdict.LAB_INCONCLUSIVE


def equivalence_verdict(
    estimate: Estimate, margin: float = MARGIN, min_runs: int = MIN_RUNS, converged: bool = True
) -> Verdict:
    """Verdict on "X and Y do not differ": supports if the whole interval lies within the margin on either side,
    contradicts if it lies on one side of 0 with an estimate of at least the margin.
    """
    if not converged:
        return Verdict.NOT_CONVERGED
    if estimate.runs < min_runs:
        return Verdict.LAB_INCONCLUSIVE
    if -margin < estimate.low and estimate.high < margin:
        return Verdict.LAB_SUPPORTS
    if (estimate.low > 0 or estimate.high < 0) and abs(estimate.value) >= margin:
        return Verdict.LAB_CONTRADICTS
    return Verdict.LAB_INCONCLUSIVE


def combine_teachers(
    results: Mapping[str, tuple[Estimate, Verdict]], margin: float = MARGIN, min_runs: int = MIN_RUNS
) -> Verdict:
    """One verdict from the estimates with the "exact" and the "trained" teacher.

    Supports: a teacher supports, none contradicts, and with both the estimate is above 0. Contradicts: a
    teacher contradicts, none supports, and with both the estimate is below the margin. Not converged: a
    student of either is. Inconclusive: all else, among it a missing teacher, or one with fewer than
    `min_runs` runs.
    """
    unknown = sorted(set(results) - set(TEACHERS))
    if unknown:
        raise UserError(f"unknown teacher {unknown[0]!r}; the teachers are {' and '.join(TEACHERS)}")
    verdicts = {verdict for _, verdict in results.values()}
    estimates = [estimate for estimate, _ in results.values()]
    if Verdict.NOT_CONVERGED in verdicts:
        return Verdict.NOT_CONVERGED
    if set(results) != set(TEACHERS) or any(estimate.runs < min_runs for estimate in estimates):
        return Verdict.LAB_INCONCLUSIVE
    supports, contradicts = Verdict.LAB_SUPPORTS in verdicts, Verdict.LAB_CONTRADICTS in verdicts
    if supports and not contradicts and all(estimate.value > 0 for estimate in estimates):
        return Verdict.LAB_SUPPORTS
    if contradicts and not supports and all(estimate.value < margin for estimate in estimates):
        return Verdict.LAB_CONTRADICTS
    return Verdict.LAB_INCONCLUSIVE


@dataclass(frozen=True)
class Gate:
    """Convergence of one endpoint, in points: `moved` = end - value at 3/4 of training; the rule is on its
    size.

    `spread` = highest - lowest value in the last quarter, the value at 3/4 among them: reported, not judged.
    """

    converged: bool
    moved: float
    spread: float


def convergence_gate(steps: Sequence[float], values: Sequence[float], margin: float = MARGIN) -> Gate:
    """Whether the endpoint has settled: converged if |value at the end - value at 3/4 of training| <= margin.

    Args: steps: training steps of the evaluations, increasing, the last one being the end of training, which
    began at step 0. values: the endpoint in points. The value at 3/4 is interpolated between its neighbours
    in time. Raises `UserError` if no evaluation was made at or before 3/4, or a value is missing.
    """
    steps, values = np.asarray(steps, float), np.asarray(values, float)
    if steps.shape != values.shape or steps.ndim != 1 or len(steps) < 2:
        raise UserError(f"the gate needs two or more evaluations, got steps {steps.shape} and values {values.shape}")
    if not (np.diff(steps) > 0).all() or not np.isfinite(values).all():
        raise UserError("the gate needs increasing steps and finite values")
    start = 0.75 * steps[-1]
    if steps[0] > start:
        raise UserError(
            f"the gate needs an evaluation at or before step {start:g} (3/4 of training); first: {steps[0]:g}"
        )
    reference = float(np.interp(start, steps, values))
    quarter = np.append(values[steps >= start], reference)
    moved = float(values[-1] - reference)
    return Gate(abs(moved) <= margin, moved, float(np.ptp(quarter)))


@dataclass(frozen=True)
class Calibration:
    """What the verdict rules do on data whose truth is known; rates are proportions over simulations.

    false_verdict: the teacher against itself under other seeds, X beats Y or Y beats X "supported" (aim: <= 5
    %). contradicted: the same, "X beats Y" contradicted; a right answer, as the true difference 0 lies below
    the margin. detected: a planted shift supported (aim: >= 80 %). smallest_effect: in points, supported in
    80 % of simulations; None if no effect that the pool has room for is.
    """

    false_verdict: Estimate
    contradicted: Estimate
    detected: Estimate
    shift: float
    smallest_effect: float | None


def calibrate(
    prompt: ArrayLike,
    value: ArrayLike,
    *,
    runs: int = MIN_RUNS,
    shift: float = 10.0,
    margin: float = MARGIN,
    power: float = 0.8,
    simulations: int = 400,
    n_boot: int = 400,
    seed: int = 0,
) -> Calibration:
    """Simulate the rules on a pool of teacher scores, several sampling seeds for each prompt.

    Args: prompt, value: a row per teacher clip, value in points (0 or 100 for a clip that is right or wrong).
    In each simulation the seeds of every prompt are dealt anew: `runs` of them stand for students, one a run,
    the rest is averaged as the teacher. (A pool of fewer than runs + 1 seeds: one is the teacher, students
    share the others.) A planted shift turns wrong clips right by chance in a 0/100 pool (up to 100 % right)
    and is added in any other. It shifts all runs alike: variation between training runs is not in the pool,
    so these are best cases.
    """
    pool = _pool(np.asarray(prompt), np.asarray(value, dtype=float))
    binary = bool(np.isin(pool, (0.0, 100.0)).all())
    room = 100.0 - float(pool.mean()) if binary else np.inf

    def outcomes(effect: float) -> list[tuple[Verdict, Verdict]]:
        rng = np.random.default_rng(seed)
        return [_simulate(pool, effect, room, binary, runs, margin, n_boot, rng) for _ in range(simulations)]

    def detection(effect: float) -> Estimate:
        hits = sum(forward is Verdict.LAB_SUPPORTS for forward, _ in outcomes(effect))
        return proportion_interval(hits, simulations)

    null = outcomes(0.0)
    false = sum(Verdict.LAB_SUPPORTS in pair for pair in null)
    contradicted = sum(forward is Verdict.LAB_CONTRADICTS for forward, _ in null)
    if shift > room:
        raise UserError(f"a shift of {shift:g} points does not fit: the pool has {room:.1f} points of room to 100 %")
    return Calibration(
        proportion_interval(false, simulations),
        proportion_interval(contradicted, simulations),
        detection(shift),
        shift,
        _smallest_effect(lambda effect: detection(effect).value >= power, min(room, 100.0)),
    )


def _smallest_effect(found: Callable[[float], bool], largest: float, resolution: float = 0.5) -> float | None:
    """Smallest effect (to `resolution` points) that is found, by bisection: detection grows with the
    effect.
    """
    if not found(largest):
        return None
    low, high = 0.0, largest
    while high - low > resolution:
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


def _pool(prompt: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Scores as (prompts, seeds); prompts with more seeds than the poorest lose the surplus."""
    names, index = np.unique(prompt, return_inverse=True)
    groups = [value[index == i] for i in range(len(names))]
    depth = min((len(group) for group in groups), default=0)
    if depth < 2 or len(groups) < 2 or not np.isfinite(value).all():
        raise UserError("calibration needs two or more prompts, each with two or more finite teacher scores")
    return np.stack([group[:depth] for group in groups])


def _simulate(
    pool: np.ndarray,
    effect: float,
    room: float,
    binary: bool,
    runs: int,
    margin: float,
    n_boot: int,
    rng: np.random.Generator,
) -> tuple[Verdict, Verdict]:
    """Verdicts on "student beats teacher" and on "teacher beats student" in one simulated comparison."""
    prompts, depth = pool.shape
    dealt = rng.permuted(pool, axis=1)
    kept = max(1, depth - runs)
    teacher, spare = dealt[:, :kept], dealt[:, kept:]
    if spare.shape[1] >= runs:
        students = spare[:, :runs]
    else:
        students = np.take_along_axis(spare, rng.integers(spare.shape[1], size=(prompts, runs)), axis=1)
    chance = rng.random(students.shape)  # drawn whatever the effect: simulations stay matched across effects
    if binary:
        students = np.where((effect > 0) & (chance * room < effect), 100.0, students)
    else:
        students = students + effect
    names = np.arange(prompts)
    estimate = paired_difference(
        np.tile(np.arange(runs), prompts),
        np.repeat(names, runs),
        students.ravel(),
        teacher.ravel(),
        y_run=np.zeros(teacher.size, dtype=int),
        y_prompt=np.repeat(names, kept),
        n_boot=n_boot,
        seed=int(rng.integers(2**32)),
    )
    return superiority_verdict(estimate, margin, runs), superiority_verdict(estimate.scaled(-1), margin, runs)
