"""A comparison of methods as data: the runs of the ledger with their scores, and differences between arms in points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alice_repro.config import PACKAGE, Comparison, Scale, load_comparison, load_scale
from alice_repro.errors import UserError
from alice_repro.evaluation.index import read_scores
from alice_repro.reporting.arms import ENDPOINT, FULL, SHORT
from alice_repro.reporting.estimates import Measured, difference, rate
from alice_repro.reporting.ledger import Run, read_ledger, read_scores_of
from alice_repro.statistics import Estimate, mean_interval
from alice_repro.verdicts import Gate, convergence_gate

CHECKOUT = PACKAGE.parent
SEED_VARIANCE, MODE_DISTANCE = "seed_variance", "mode_distance"


@dataclass(frozen=True)
class Endpoint:
    """What a claim is judged by: a measure of the scores, and whether more of it is better."""

    measure: str
    higher: bool
    label: str


# The endpoints of claims (papers/*.toml) that the lab's scores hold.
ENDPOINTS = {
    "correct-and-sound": Endpoint(ENDPOINT, True, "correct and sound, %"),
    "sound": Endpoint("sound", True, "sound, %"),
    "defect-rate": Endpoint("sound", True, "sound, %"),
    "dynamic-degree": Endpoint("dynamic_degree", True, "dynamic degree, %"),
    "saturation-error": Endpoint("saturation_error", False, "error of the object's saturation, %"),
    "style": Endpoint("style_night", True, "in the night style, %"),
    "variance-over-seeds": Endpoint(SEED_VARIANCE, False, "variance of the endpoint over a caption's noise, %"),
    "mode-coverage": Endpoint(MODE_DISTANCE, False, "distance to the known modes, %"),
}


@dataclass(frozen=True)
class Methods:
    """The runs of a scale's ledger.

    Attributes:
        entries: one a run (`ledger.read_ledger`).
        ledger, record: results/reference/<scale>/methods, and results/reference/<scale> with the teacher's scores.
    """

    scale: Scale
    comparison: Comparison
    ledger: Path
    record: Path
    entries: list[dict[str, Any]]
    _read: dict[Run, pd.DataFrame] = field(default_factory=dict, repr=False)

    @property
    def teachers(self) -> list[str]:
        """Teachers of which there is a run, the trained one first."""
        return sorted({entry["teacher"] for entry in self.entries}, reverse=True)

    def arms(self, teacher: str) -> list[str]:
        """Arms of which there is a run, in the comparison's order."""
        present = {entry["arm"] for entry in self.entries if entry["teacher"] == teacher}
        return [arm for arm in self.comparison.arms if arm in present]

    def of(self, teacher: str, arm: str) -> list[dict[str, Any]]:
        """The entries of an arm's runs."""
        return [entry for entry in self.entries if (entry["teacher"], entry["arm"]) == (teacher, arm)]

    def scores(self, teacher: str, arm: str, update: int | None = None) -> pd.DataFrame:
        """Scores of an arm with the training run in column ``run``: at the end, or at a checkpoint of every run.

        The teacher's own arms, "teacher-full" and "teacher-short", have one run.
        """
        if arm in (FULL, SHORT):
            return _with_seed_variance(read_scores(self.record / "scores" / teacher / f"{arm}.csv").assign(run=0))
        tables = []
        for entry in self.of(teacher, arm):
            table = self._scores_of(Run(teacher, arm, entry["seed"]))
            at = entry["student_updates"] if update is None else update
            tables.append(table[table["update"] == at].assign(run=entry["seed"]))
        if not tables:
            raise UserError(f"{self.ledger}: no run of {arm} with the {teacher} teacher")
        return _with_seed_variance(pd.concat(tables, ignore_index=True))

    def checkpoints(self, teacher: str, arm: str) -> list[int]:
        """Student updates at which every run of an arm was measured."""
        runs = [self._scores_of(Run(teacher, arm, entry["seed"]))["update"] for entry in self.of(teacher, arm)]
        return sorted(set.intersection(*(set(updates.unique().tolist()) for updates in runs)))

    def gate(self, teacher: str, arm: str) -> Gate:
        """Whether the arm's mean endpoint has settled over the last quarter of its training."""
        steps = self.checkpoints(teacher, arm)
        values = [100 * self.scores(teacher, arm, at)[ENDPOINT].mean() for at in steps]
        return convergence_gate(steps, values, self.scale.protocol.margin)

    def difference(self, teacher: str, x: str, y: str, measure: str = ENDPOINT) -> Measured | None:
        """x - y in points, over the runs that both have; paired by run and caption, or by run alone (mode distance)."""
        first, second = self.scores(teacher, x), self.scores(teacher, y)
        if {x, y}.isdisjoint((FULL, SHORT)):
            common = set(first["run"]) & set(second["run"])
            first, second = (table[table["run"].isin(common)] for table in (first, second))
            if not common:
                return None
        if measure == MODE_DISTANCE:
            return _distance_difference(first, second)
        if x in (FULL, SHORT):  # the side with several runs comes first
            turned = difference(second, first, measure, self.scale.protocol.bootstrap)
            return turned and Measured(turned.estimate.scaled(-1), turned.clips, turned.captions, turned.missing)
        return difference(first, second, measure, self.scale.protocol.bootstrap)

    def _scores_of(self, run: Run) -> pd.DataFrame:
        if run not in self._read:
            self._read[run] = read_scores_of(self.ledger, run)
        return self._read[run]

    def rate(self, teacher: str, arm: str, measure: str = ENDPOINT) -> Measured | None:
        """Mean of a measure over an arm's clips, in points."""
        return rate(self.scores(teacher, arm), measure, self.scale.protocol.bootstrap)


def load_methods(scale: str, reference: str | Path = "") -> Methods:
    """Read the ledger of a scale.

    Args:
        reference: results/reference/<scale>; that of the checkout if not given.

    Raises:
        UserError: there is no run in it.
    """
    record = Path(reference or CHECKOUT / "results" / "reference" / scale)
    ledger = record / "methods"
    entries = read_ledger(ledger)
    if not entries:
        raise UserError(f"{ledger} holds no run: make some with  make compare-methods SCALE={scale}")
    return Methods(load_scale(scale), load_comparison(scale), ledger, record, entries)


def mode_distances(scores: pd.DataFrame) -> dict[int, float]:
    """Total-variation distance to the known modes, of each run's clips, 0 to 1."""
    from alice_repro.evaluation.lab import mode_coverage

    return {int(run): mode_coverage(table, n_boot=1).distance.value for run, table in scores.groupby("run")}


def _distance_difference(x: pd.DataFrame, y: pd.DataFrame) -> Measured:
    first, second = mode_distances(x), mode_distances(y)
    runs = max(first, second, key=len)
    alone = {name: next(iter(values.values())) for name, values in (("x", first), ("y", second)) if len(values) == 1}
    values = [100 * (first.get(run, alone.get("x")) - second.get(run, alone.get("y"))) for run in runs]
    estimate = mean_interval(values)
    estimate = Estimate(estimate.value, estimate.low, estimate.high, len(x), len(values))
    return Measured(estimate, len(x), x["prompt_id"].nunique())


def _with_seed_variance(scores: pd.DataFrame) -> pd.DataFrame:
    """With the unbiased variance of the endpoint over the sampling seeds of each (run, caption), on its rows."""
    groups = scores.groupby(["run", "prompt_id"])[ENDPOINT]
    return scores.assign(**{SEED_VARIANCE: groups.transform("var")})


def evaluations_at(entry: dict[str, Any], curve: pd.DataFrame, update: int) -> float:
    """Network evaluations times clips that a run had spent after an update."""
    if update == entry["student_updates"]:
        return float(entry["network_evaluations"])
    return float(curve.loc[curve["update"] == update, "evaluations"].iloc[0])


def mean_of(entries: Sequence[dict[str, Any]], key: str) -> float:
    """Mean of a number over entries."""
    return float(np.mean([entry[key] for entry in entries]))
