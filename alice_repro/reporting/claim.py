"""The verdict on "a 4-step student exceeds its teacher", from the committed record; the fresh run stands beside it.

Only the record (several runs, both teachers) gives a verdict, by the rules of `alice_repro.verdicts`. A fresh run says
where it lies, and whether it has converged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from alice_repro.config import ProtocolConfig
from alice_repro.errors import UserError
from alice_repro.papers import Claim
from alice_repro.reporting.arms import ENDPOINT, Arms
from alice_repro.reporting.estimates import Measured, difference
from alice_repro.reporting.render import bounds, estimated, signed
from alice_repro.statistics import Estimate
from alice_repro.verdicts import (
    TEACHERS,
    Gate,
    Verdict,
    combine_teachers,
    convergence_gate,
    superiority_verdict,
)

PLAIN = {
    Verdict.LAB_SUPPORTS: "In the lab, the few-step student exceeds its teacher.",
    Verdict.LAB_CONTRADICTS: "In the lab, the few-step student does not exceed its teacher.",
    Verdict.LAB_INCONCLUSIVE: "The lab cannot say yet whether a few-step student exceeds its teacher.",
    Verdict.NOT_CONVERGED: "The students had not finished learning, so the lab gives no verdict.",
}


@dataclass(frozen=True)
class Comparison:
    """Student against teacher, for one teacher: the difference in points, per run and over all, and the gate.

    gate is None where it cannot be computed; `gate_note` then says why.
    """

    teacher: str
    runs: tuple[int, ...]
    by_run: tuple[float, ...]
    difference: Measured
    gate: Gate | None
    gate_note: str
    verdict: Verdict

    def gate_line(self, margin: float) -> str:
        """The gate in words."""
        if self.gate is None:
            return f"convergence unknown: {self.gate_note}"
        word = "converged" if self.gate.converged else "not converged"
        return (
            f"{word}: the student's endpoint moved by {signed(self.gate.moved)} points over the last quarter "
            f"of its training (gate: {margin:g}; spread {self.gate.spread:.1f})"
        )


@dataclass(frozen=True)
class ClaimReport:
    """A claim with its verdict, why, the command that adds evidence, and what was compared."""

    claim: Claim
    verdict: Verdict
    reason: str
    command: str
    margin: float
    reference: tuple[Comparison, ...]
    fresh: tuple[Comparison, ...]

    @property
    def plain(self) -> str:
        """The verdict as a sentence."""
        return PLAIN[self.verdict]

    @property
    def fresh_lines(self) -> list[str]:
        """A line per teacher of the fresh run: the difference, where it lies, its gate."""
        record = {comparison.teacher: comparison for comparison in self.reference}
        return [fresh_line(one, record.get(one.teacher), self.margin) for one in self.fresh]

    @property
    def reference_lines(self) -> list[str]:
        """A line per teacher of the record."""
        return [
            f"reference record, {one.teacher} teacher, {_runs(len(one.runs))}: student - teacher = "
            f"{_interval(one.difference.estimate)} ({one.difference.n}); {one.gate_line(self.margin)}"
            for one in self.reference
        ]

    def lines(self) -> list[str]:
        """The whole verdict as plain text, the label first."""
        command = [f"To add runs: {self.command}"] if self.verdict is Verdict.LAB_INCONCLUSIVE else []
        head = [f'Claim "{self.claim.id}" ({self.claim.place}): {self.verdict}', f"Why: {self.reason}"]
        return [*head, *command, *self.reference_lines, *self.fresh_lines]


def compare(arms: Arms, protocol: ProtocolConfig) -> Comparison:
    """Student against the teacher with all its steps, and the verdict that this teacher alone would give.

    Raises:
        UserError: student and teacher share no caption.
    """
    result = difference(arms.student, arms.full, n_boot=protocol.bootstrap)
    if result is None:
        raise UserError(f"{arms.root / 'scores' / arms.teacher}: student and teacher were scored on no common caption")
    by_run = [difference(arms.student[arms.student["run"] == run], arms.full, n_boot=1) for run in arms.runs]
    gate, note = run_gate(arms, protocol.margin)
    verdict = superiority_verdict(
        result.estimate, protocol.margin, protocol.runs, converged=gate is None or gate.converged
    )
    if gate is None:
        verdict = Verdict.LAB_INCONCLUSIVE
    values = tuple(one.estimate.value for one in by_run if one)
    return Comparison(arms.teacher, tuple(arms.runs), values, result, gate, note, verdict)


def run_gate(arms: Arms, margin: float) -> tuple[Gate | None, str]:
    """The convergence gate on the mean endpoint of all runs, from every snapshot and the end; or why there is none.

    Only clips (run, caption, sampling seed) that were scored at every one of these times count.
    """
    lengths = {arms.updates.get(run) for run in arms.runs}
    if not arms.snapshots:
        return None, "no snapshot of the student was measured"
    if None in lengths:
        return None, f"a run has no manifest below {arms.root / 'runs' / arms.teacher / arms.recipe}"
    if len(lengths) > 1:
        return None, f"the runs are of different lengths ({', '.join(map(str, sorted(lengths)))} updates)"
    end = lengths.pop()
    tables = {update: table for update, table in arms.snapshots.items() if update < end} | {end: arms.student}
    keyed = [table.set_index(["run", "prompt_id", "seed"])[ENDPOINT] for table in tables.values()]
    together = pd.concat(keyed, axis=1, join="inner").dropna()
    if together.empty or set(together.index.get_level_values("run")) != set(arms.runs):
        return None, "not every run was measured at every snapshot on the same clips"
    try:
        return convergence_gate(list(tables), 100 * together.mean().to_numpy(), margin), ""
    except UserError as error:
        return None, str(error)


def judge(
    claim: Claim, reference: list[Comparison], fresh: list[Comparison], protocol: ProtocolConfig, command: str
) -> ClaimReport:
    """The verdict from the comparisons of the record alone."""
    results = {one.teacher: (one.difference.estimate, one.verdict) for one in reference}
    verdict = combine_teachers(results, protocol.margin, protocol.runs)
    # A gate that cannot be computed is no pass, whatever the other teacher says.
    if any(one.gate is None for one in reference) and verdict is not Verdict.NOT_CONVERGED:
        verdict = Verdict.LAB_INCONCLUSIVE
    reason = _reason(verdict, {one.teacher: one for one in reference}, protocol)
    return ClaimReport(claim, verdict, reason, command, protocol.margin, tuple(reference), tuple(fresh))


def _reason(verdict: Verdict, record: dict[str, Comparison], protocol: ProtocolConfig) -> str:
    if not record:
        return f"there is no committed record at this scale; a verdict needs {_runs(protocol.runs)} with each teacher"
    moved = [one for one in record.values() if one.gate and not one.gate.converged]
    if verdict is Verdict.NOT_CONVERGED:
        which = " and ".join(f"{one.teacher} ({signed(one.gate.moved)} points)" for one in moved)
        return f"the students' endpoint still moves over the last quarter of training with the teacher: {which}"
    counts = {name: len(record[name].runs) if name in record else 0 for name in TEACHERS}
    if min(counts.values()) < protocol.runs:
        held = " and ".join(f"{_runs(count)} with the {name} teacher" for name, count in counts.items())
        return f"the record holds {held}; a verdict needs {_runs(protocol.runs)} with each"
    unknown = [f"{one.teacher} teacher: {one.gate_note}" for one in record.values() if one.gate is None]
    if unknown:
        return f"convergence is unknown ({'; '.join(unknown)})"
    values = "; ".join(f"{name} teacher {_interval(one.difference.estimate)}" for name, one in record.items())
    margin = f"{protocol.margin:g}"
    rule = {
        Verdict.LAB_SUPPORTS: f"an interval lies above 0 with an estimate of at least {margin}, and both signs agree",
        Verdict.LAB_CONTRADICTS: f"a whole interval lies below {margin} points, and no teacher speaks for the claim",
        Verdict.LAB_INCONCLUSIVE: f"neither rule is met (supports: interval above 0 and estimate at least {margin}; "
        f"contradicts: whole interval below {margin}; both teachers agreeing)",
    }[verdict]
    return f"student - teacher: {values}: {rule}"


def fresh_line(fresh: Comparison, record: Comparison | None, margin: float) -> str:
    """Where the fresh run lies beside the record, and whether it has converged."""
    what = f"this run ({fresh.teacher} teacher, {_runs(len(fresh.runs))}): student - teacher = "
    what += _interval(fresh.difference.estimate)
    if record is None:
        place = "no reference record with this teacher to compare with"
    elif np.isnan(record.difference.estimate.low):
        place = "the reference record has no interval"
    else:
        reference = record.difference.estimate
        side = "inside" if reference.low <= fresh.difference.estimate.value <= reference.high else "outside"
        place = f"lies {side} the interval of the reference record {bounds(reference.low, reference.high, sign=True)}"
        if len(record.by_run) > 1:
            place += f" (its single runs: {signed(min(record.by_run))} to {signed(max(record.by_run))})"
    return f"{what}; {place}; {fresh.gate_line(margin)}"


def _interval(estimate: Estimate) -> str:
    return estimated(estimate, sign=True, unit=" points")


def _runs(count: int) -> str:
    return {0: "no run", 1: "1 run"}.get(count, f"{count} runs")
