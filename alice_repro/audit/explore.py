"""For notebooks: the audit's entries as a table, one entry in full, and a time floor under other assumptions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from alice_repro.audit.findings import IMPOSSIBLE, NEEDS_A_RUN, Finding, Reading, Record, judge
from alice_repro.audit.limits_time import Peak, peaks, timing_flops
from alice_repro.audit.run import Report
from alice_repro.audit.stated import model_of, stated
from alice_repro.errors import UserError, unknown_name
from alice_repro.papers import Paper, Timing, gpus

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("id", "paper", "place", "rule", "verdict", "severity", "printed", "computed")


def select(
    report: Report, paper: str = "", verdict: str = "", severity: str = "", rule: str = ""
) -> tuple[Finding, ...]:
    """Entries with these properties, "" for any; a rule may be a whole family ("limits"). Findings come first.

    Raises:
        UserError: no entry has such a value; names the nearest one that some entry has.
    """
    entries = report.entries
    for name, wanted in {"paper": paper, "verdict": verdict, "severity": severity}.items():
        _check(name, wanted, {getattr(entry, name) for entry in report.entries})
        entries = tuple(entry for entry in entries if wanted in ("", getattr(entry, name)))
    families = {entry.rule.partition(".")[0] for entry in report.entries}
    _check("rule", rule, {entry.rule for entry in report.entries} | families)
    return tuple(entry for entry in entries if not rule or f"{entry.rule}.".startswith(f"{rule}."))


def find(report: Report, name: str) -> Finding:
    """The entry with this id.

    Raises:
        UserError: no such entry.
    """
    _check("entry", name, {entry.id for entry in report.entries}, empty=False)
    return next(entry for entry in report.entries if entry.id == name)


def frame(entries: Iterable[Finding]) -> pd.DataFrame:
    """A row for each entry."""
    import pandas as pd

    return pd.DataFrame([{name: getattr(entry, name) for name in _COLUMNS} for entry in entries], columns=_COLUMNS)


@dataclass(frozen=True)
class Floor:
    """The least seconds of a timed generation on `peak`, against the printed time (the largest that rounds to it).

    frames: of the clip; evaluations: of the network, a step (2 with guidance); utilisation: share of the peak that is
    reached; assumed: whether anything was chosen that the text leaves open or does not say.
    """

    timing: str
    peak: Peak
    frames: int
    evaluations: int
    utilisation: float
    seconds: float
    printed: float
    verdict: str
    assumed: bool

    def __str__(self) -> str:
        times = "1 evaluation" if self.evaluations == 1 else f"{self.evaluations} evaluations"
        under = "if that is assumed" if self.assumed else "with all that the text leaves open in its favour"
        return (
            f"{self.timing}: {self.frames} frames, {times} a step, {100 * self.utilisation:g} % of {self.peak}: "
            f"at least {self.seconds:.3g} s. Printed: up to {self.printed:.4g} s. So {self.verdict}, {under}."
        )


def time_floor(
    record: Record,
    timing: str,
    *,
    gpu: str = "",
    precision: str = "",
    frames: int = 0,
    evaluations: int = 0,
    utilisation: float = 1.0,
) -> Floor:
    """Recompute a time floor. What is left "" or 0 is the choice most favourable to the paper, as the rule takes it.

    Args:
        record: the paper and its companions.
        timing: id of a [[timing]] of one of them.
        gpu: a GPU of hardware.toml.
        precision: of the matrix products: "bf16", "fp8", "int8" ...
        frames: of the clip.
        evaluations: of the network, a step; 2 with guidance.
        utilisation: share of the dense peak that is reached, above 0 and up to 1.

    Raises:
        UserError: unknown timing, GPU or precision; a number out of range.
    """
    document, chosen = _timing(record, timing)
    if not 0 < utilisation <= 1:
        raise UserError(f"utilisation {utilisation:g}: a share of the peak, above 0 and up to 1")
    if frames < 0 or evaluations < 0:
        raise UserError("frames and evaluations are counts; 0 leaves them as the text admits")
    best = _peak(chosen, gpu, precision)
    clip, times = frames or min(chosen.frames), evaluations or min(chosen.evaluations)
    facts = stated(record, document, chosen.steps, chosen.seconds)
    steps, limit = facts.interval(chosen.steps).low, facts.interval(chosen.seconds).high
    operations = timing_flops(chosen, model_of(document, chosen.model), steps, clip, times)
    seconds = operations / (best.flops * utilisation)
    reading = Reading(str(best), f"at least {seconds:.3g} s", seconds <= limit)
    verdict = judge([reading], IMPOSSIBLE if chosen.gpus or gpu else NEEDS_A_RUN, facts.damaged)
    assumed = bool(gpu or precision or frames or evaluations or utilisation != 1)
    return Floor(timing, best, clip, times, utilisation, seconds, limit, verdict, assumed)


def time_floors(
    record: Record, timing: str, utilisations: Sequence[float] = (1.0, 0.75, 0.5), gpu: str = ""
) -> pd.DataFrame:
    """Seconds at least, a column for each utilisation, a row for each precision, length and guidance that is admitted.

    gpu: as in `time_floor`; the fastest that the text admits if not given.
    """
    import pandas as pd

    _, chosen = _timing(record, timing)
    precisions = _peak(chosen, gpu, "").gpu.peaks
    rows = []
    for precision, frames, evaluations in product(
        precisions, sorted(set(chosen.frames)), sorted(set(chosen.evaluations))
    ):
        floors = [
            time_floor(
                record,
                timing,
                gpu=gpu,
                precision=precision,
                frames=frames,
                evaluations=evaluations,
                utilisation=share,
            )
            for share in utilisations
        ]
        row = {"precision": precision, "frames": frames, "evaluations a step": evaluations}
        rows.append(row | {f"{100 * floor.utilisation:g} %": floor.seconds for floor in floors})
        rows[-1]["printed, up to"] = floors[0].printed
    return pd.DataFrame(rows).round(1)


def timings(record: Record) -> tuple[str, ...]:
    """Ids of the timed generations that a record states."""
    return tuple(timing.id for document in record.documents for timing in document.timings)


def _timing(record: Record, name: str) -> tuple[Paper, Timing]:
    _check("timing", name, timings(record), empty=False)
    return next((d, timing) for d in record.documents for timing in d.timings if timing.id == name)


def _peak(timing: Timing, gpu: str, precision: str) -> Peak:
    """The fastest of what is named, of what the text admits where nothing is."""
    _check("GPU", gpu, gpus())
    admitted = (gpu,) if gpu else timing.gpus or tuple(gpus())
    _check("precision", precision, {name for one in admitted for name in gpus()[one].peaks})
    return peaks(admitted, precision or timing.precision)[0]


def _check(what: str, name: str, known: Iterable[str], empty: bool = True) -> None:
    if name not in known and not (empty and name == ""):
        raise unknown_name(what, name, sorted(known))
