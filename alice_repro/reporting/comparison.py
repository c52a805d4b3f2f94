"""A comparison of methods as data: the runs of the ledger with their scores, and differences between arms in points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from alice_repro.config import (
    CHECKOUT,
    FULL,
    UNTRAINED,
    Comparison,
    Scale,
    load_comparison,
    load_scale,
    resolve,
)
from alice_repro.errors import UserError
from alice_repro.reporting.arms import ENDPOINT
from alice_repro.reporting.estimates import Measured, difference, difference_of_arms, rate
from alice_repro.reporting.ledger import (
    Run,
    has_teacher,
    read_ledger,
    read_scores_of,
    read_teacher,
    same_training,
    teacher_scores,
)
from alice_repro.statistics import Estimate, mean_interval, student_quantile
from alice_repro.verdicts import Gate, convergence_gate

SEED_VARIANCE, MODE_DISTANCE, AGREEMENT = "seed_variance", "mode_distance", "agreement"


@dataclass(frozen=True)
class Endpoint:
    """What a claim is judged by: a measure of the scores, and whether more of it is better.

    Attributes:
        about_settling: the claim is that the worse arm never settles, so that only the better one has to have settled.
    """

    measure: str
    higher: bool
    label: str
    about_settling: bool = False


# The endpoints of claims (papers/*.toml) that the lab's scores hold.
ENDPOINTS = {
    "correct-and-sound": Endpoint(ENDPOINT, True, "correct and sound, %"),
    "sound": Endpoint("sound", True, "sound, %"),
    "defect-rate": Endpoint("sound", True, "sound, %"),
    "dynamic-degree": Endpoint("dynamic_degree", True, "dynamic degree, %"),
    "saturation-error": Endpoint("saturation_error", False, "error of the object's saturation, %"),
    "style": Endpoint("style_night", True, "in the night style, %"),
    "variance-over-seeds": Endpoint(SEED_VARIANCE, False, "variance of the endpoint over a caption's noise, %"),
    "convergence": Endpoint(ENDPOINT, True, "correct and sound at the end, %", about_settling=True),
    "blur": Endpoint("flag_blur", False, "blurred, %"),
    "instance-preservation": Endpoint("instance_preservation_world", True, "objects kept, %"),
    "agreement": Endpoint(AGREEMENT, False, "spread of the predictions along a path, %"),
    "mode-coverage": Endpoint(MODE_DISTANCE, False, "distance to the known modes, %"),
}


@dataclass(frozen=True)
class Methods:
    """The runs of a scale's ledger.

    Attributes:
        entries: one a run (`ledger.read_ledger`) that was trained as the comparison says now.
        untrained: teacher and arm of the arms without training that were sampled as the scale says now.
        left_out: what else the ledger holds: runs with other settings, or of arms that the comparison does not have.
        ledger: results/reference/<scale>/methods.
    """

    scale: Scale
    comparison: Comparison
    ledger: Path
    entries: list[dict[str, Any]]
    untrained: frozenset[tuple[str, str]]
    left_out: list[str]
    _read: dict[Run, pd.DataFrame] = field(default_factory=dict, repr=False)

    @property
    def teachers(self) -> list[str]:
        """Teachers of which there is a run, the trained one first."""
        return sorted({entry["teacher"] for entry in self.entries}, reverse=True)

    def arms(self, teacher: str) -> list[str]:
        """Arms of which there is a run, in the comparison's order."""
        present = {entry["arm"] for entry in self.entries if entry["teacher"] == teacher}
        return [arm for arm in self.comparison.arms if arm in present]

    def has(self, teacher: str, arm: str) -> bool:
        """Whether an arm, or one of the teacher's own, has scores."""
        return (teacher, arm) in self.untrained if arm in UNTRAINED else arm in self.arms(teacher)

    def of(self, teacher: str, arm: str) -> list[dict[str, Any]]:
        """The entries of an arm's runs."""
        return [entry for entry in self.entries if (entry["teacher"], entry["arm"]) == (teacher, arm)]

    def scores(self, teacher: str, arm: str, update: int | None = None) -> pd.DataFrame:
        """Scores of an arm with the training run in column ``run``: at the end, or at a checkpoint of every run.

        The arms without training (`config.UNTRAINED`) have one run.

        Raises:
            UserError: the ledger has no scores of it.
        """
        if not self.has(teacher, arm):
            raise UserError(f"{self.ledger}: no scores of {arm} with the {teacher} teacher")
        if arm in UNTRAINED:
            return _with_seed_variance(read_teacher(self.ledger, teacher, arm).assign(run=0))
        tables = []
        for entry in self.of(teacher, arm):
            table = self._scores_of(Run(teacher, arm, entry["seed"]))
            at = entry["student_updates"] if update is None else update
            tables.append(table[table["update"] == at].assign(run=entry["seed"]))
        return _with_seed_variance(pd.concat(tables, ignore_index=True))

    def checkpoints(self, teacher: str, arm: str) -> list[int]:
        """Student updates at which every run of an arm was measured."""
        runs = [self._scores_of(Run(teacher, arm, entry["seed"]))["update"] for entry in self.of(teacher, arm)]
        return sorted(set.intersection(*(set(updates.unique().tolist()) for updates in runs)))

    def gate(self, teacher: str, arm: str, measure: str = ENDPOINT) -> Gate:
        """Whether the arm's mean of a measure has settled over the last quarter of its training."""
        steps = self.checkpoints(teacher, arm)
        return convergence_gate(steps, [self.mean(teacher, arm, measure, at) for at in steps], self.margin)

    def mean(self, teacher: str, arm: str, measure: str, update: int | None = None) -> float:
        """Mean of a measure over an arm's clips, in points; of the mode distance over its runs. NaN: not measurable.

        The agreement along a path is that of the runs' ends, whatever ``update``.
        """
        if measure == AGREEMENT:
            return 100 * float(np.mean(list(self._agreement(teacher, arm).values()) or [np.nan]))
        scores = self.scores(teacher, arm, update)
        if measure == MODE_DISTANCE:
            return 100 * float(np.mean(list(mode_distances(scores).values())))
        return 100 * float(scores[measure].mean()) if measure in scores else float("nan")

    def difference(
        self, teacher: str, x: str, y: str, measure: str = ENDPOINT, teacher_of_y: str = ""
    ) -> Measured | None:
        """x - y in points, paired by caption and, between students, by run; over the runs that both have.

        None where one of them has no scores, none of this measure, or no run in common with the other.

        Args:
            teacher_of_y: if y is with the other teacher.
        """
        of_y = teacher_of_y or teacher
        if not (self.has(teacher, x) and self.has(of_y, y)):
            return None
        if measure == AGREEMENT:
            return agreement_difference(self._agreement(teacher, x), self._agreement(of_y, y))
        first, second = self.scores(teacher, x), self.scores(of_y, y)
        students = {x, y}.isdisjoint(UNTRAINED)
        if students:
            common = set(first["run"]) & set(second["run"])
            first, second = (table[table["run"].isin(common)] for table in (first, second))
        if first.empty or (measure != MODE_DISTANCE and not (measure in first and measure in second)):
            return None
        draws = self.scale.protocol.bootstrap
        if measure == MODE_DISTANCE:
            return mode_difference(first, second, draws)
        if students:
            return difference_of_arms(first, second, measure, draws)
        if x in UNTRAINED:  # the side with several runs comes first
            turned = difference(second, first, measure, draws)
            return turned and Measured(turned.estimate.scaled(-1), turned.clips, turned.captions, turned.missing)
        return difference(first, second, measure, draws)

    def rate(self, teacher: str, arm: str, measure: str = ENDPOINT, update: int | None = None) -> Measured | None:
        """Mean of a measure over an arm's clips with its interval, in points."""
        scores = self.scores(teacher, arm, update)
        return rate(scores, measure, self.scale.protocol.bootstrap) if measure in scores else None

    @property
    def margin(self) -> float:
        """In points."""
        return self.scale.protocol.margin

    def _agreement(self, teacher: str, arm: str) -> dict[int, float]:
        """Run -> spread of what its student predicts along the teacher's paths; of `FULL` the teacher's own, as run 0.

        Runs that were made before it was measured, and other arms without training, have none.
        """
        if arm == FULL:
            found = [entry["agreement"]["teacher"] for entry in self.entries if _has_agreement(entry, teacher)]
            return {0: found[0]} if found else {}
        entries = (entry for entry in self.of(teacher, arm) if _has_agreement(entry, teacher))
        return {entry["seed"]: entry["agreement"]["student"] for entry in entries}

    def _scores_of(self, run: Run) -> pd.DataFrame:
        if run not in self._read:
            self._read[run] = read_scores_of(self.ledger, run)
        return self._read[run]


def load_methods(scale: str, reference: str | Path = "") -> Methods:
    """Read the ledger of a scale.

    Args:
        reference: results/reference/<scale>; that of the checkout if not given.

    Raises:
        UserError: there is no run in it.
    """
    ledger = Path(reference or CHECKOUT / "results" / "reference" / scale) / "methods"
    preset, comparison, kept, left_out = load_scale(scale), load_comparison(scale), [], []
    for entry in read_ledger(ledger):
        name = f"{entry['arm']}, run {entry['seed']}, {entry['teacher']} teacher"
        if entry["arm"] not in comparison.arms:
            left_out.append(f"{name}: no arm of the comparison")
        elif not same_training(entry, *resolve(scale, comparison.arms[entry["arm"]])):
            left_out.append(f"{name}: trained or measured with other settings")
        else:
            kept.append(entry)
    if not kept:
        raise UserError(f"{ledger} holds no run: make some with  make compare-methods SCALE={scale}")
    both = product(sorted({entry["teacher"] for entry in kept}), UNTRAINED)
    there = [(teacher, arm) for teacher, arm in both if teacher_scores(ledger, teacher, arm).exists()]
    untrained = frozenset((teacher, arm) for teacher, arm in there if has_teacher(ledger, teacher, arm, preset))
    others = [(teacher, arm) for teacher, arm in there if (teacher, arm) not in untrained]
    left_out += [f"{arm}, {teacher} teacher: sampled with other settings" for teacher, arm in others]
    return Methods(preset, comparison, ledger, kept, untrained, left_out)


def agreement_difference(x: dict[int, float], y: dict[int, float]) -> Measured | None:
    """Mean over runs of x - y, in points, with Student's interval over the runs that both have; None without any.

    A side with one run, the teacher or a single student, stands beside every run of the other.
    """
    if not (x and y):
        return None
    runs = sorted(max(x, y, key=len))
    x, y = (side if len(side) > 1 else dict.fromkeys(runs, *side.values()) for side in (x, y))
    estimate = mean_interval([x[run] - y[run] for run in runs if run in x and run in y])
    return Measured(replace(estimate, runs=estimate.n).scaled(100), estimate.n, 0)


def mode_distances(scores: pd.DataFrame) -> dict[int, float]:
    """Total-variation distance to the known modes, of each run's clips, 0 to 1; NaN where no clip shows the modes."""
    from alice_repro.evaluation.lab import mode_counts, mode_distance

    found = {}
    for run, table in scores.groupby("run"):
        try:
            found[int(run)] = float(mode_distance(mode_counts(table)))
        except UserError:  # night clips, say, have no hue of the palette
            found[int(run)] = float("nan")
    return found


def mode_difference(x: pd.DataFrame, y: pd.DataFrame, n_boot: int, seed: int = 0) -> Measured | None:
    """Mean over runs of the mode distance of x less that of y, in points; None where no clip shows the modes.

    Interval: runs resampled first, then captions, the same for both sides (a teacher's one run stands for all); the
    quantiles are widened to Student's t for as many runs.
    """
    from alice_repro.evaluation.lab import mode_counts, mode_distance

    runs = sorted(set(max(x["run"], y["run"], key=lambda column: column.nunique())))
    prompts = sorted(set(x["prompt_id"]) & set(y["prompt_id"]))
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(prompts), np.full(len(prompts), 1 / len(prompts)), size=n_boot).astype(float)
    values, drawn = [], []
    for run in runs:
        sides = []
        for table in (x, y):
            own = table if table["run"].nunique() == 1 else table[table["run"] == run]
            try:
                sides.append(mode_counts(own[own["prompt_id"].isin(prompts)]))
            except UserError:
                return None
        if any(len(counts) != len(prompts) for side in sides for counts in side.values()):
            return None
        values.append(float(mode_distance(sides[0]) - mode_distance(sides[1])))
        drawn.append(mode_distance(sides[0], weights) - mode_distance(sides[1], weights))
    chosen = rng.multinomial(len(runs), np.full(len(runs), 1 / len(runs)), size=n_boot) / len(runs)
    replicates = (chosen * np.array(drawn).T).sum(axis=1)
    value = float(np.mean(values))
    wider = student_quantile(0.975, max(1, len(runs) - 1)) / NormalDist().inv_cdf(0.975) if len(runs) > 1 else 1.0
    low, high = value + wider * (np.nanquantile(replicates, [0.025, 0.975]) - np.nanmean(replicates))
    return Measured(Estimate(value, float(low), float(high), len(x), len(runs)).scaled(100), len(x), len(prompts))


def _has_agreement(entry: Mapping[str, Any], teacher: str) -> bool:
    return entry["teacher"] == teacher and "agreement" in entry


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
