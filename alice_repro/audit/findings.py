"""What the audit says: one entry for each thing that was checked, whether it holds or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from alice_repro.papers import Paper, Quantity, load_paper
from alice_repro.papers.expressions import Name
from alice_repro.verdicts import Verdict

CONSISTENT = "consistent"
CHECK_PDF = "check the PDF"
NEEDS_A_RUN = "needs a run"
PERSON = "a person's reading"
INCONSISTENT = Verdict.INCONSISTENT_ON_PAPER.value
IMPOSSIBLE = Verdict.IMPOSSIBLE_ON_PAPER.value
NOT_TESTABLE = Verdict.NOT_TESTABLE.value

SEVERITIES = ("fatal", "major", "minor", "note")


@dataclass(frozen=True)
class Reading:
    """One way to understand the printed text: what comes out of it, whether the text then holds.

    admissible: false for a reading that the text or the benchmark's own definition rules out; it is shown and
    decides nothing.
    """

    name: str
    computed: str
    holds: bool
    admissible: bool = True


@dataclass(frozen=True)
class Finding:
    """One thing checked. printed: what the document says; computed: what follows from its other numbers.

    verdict: one of the labels above; severity: of what does not hold, "note" for what does.
    """

    id: str
    paper: str
    place: str
    quote: str
    rule: str
    printed: str
    computed: str
    readings: tuple[Reading, ...]
    verdict: str
    severity: str
    explanation: str

    @property
    def sound(self) -> bool:
        """Whether what was checked holds."""
        return self.verdict == CONSISTENT

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self) | {"readings": [asdict(reading) for reading in self.readings]}


def judge(readings: Sequence[Reading], failed: str, damaged: str = "", plain_first: bool = False) -> str:
    """The verdict: consistent if any admissible reading holds; else `failed`, or "check the PDF" on damaged text.

    plain_first: the first reading is what the words say by themselves and the others need something that the
    document does not print; where only they hold, nothing is shown either way: it needs a run.
    """
    if any(reading.holds for reading in readings if reading.admissible):
        return CONSISTENT if readings[0].holds or not plain_first else NEEDS_A_RUN
    return CHECK_PDF if damaged else failed


def graded(verdict: str, severity: str) -> str:
    """The severity of an entry: what holds is a note; what cannot be decided is at most minor."""
    if verdict == CONSISTENT:
        return "note"
    return severity if verdict in (INCONSISTENT, IMPOSSIBLE) else "minor" if verdict == NEEDS_A_RUN else "note"


@dataclass(frozen=True)
class Record:
    """The documents that are audited together: a paper, then those about it (reviews, the release)."""

    documents: tuple[Paper, ...]

    @property
    def paper(self) -> Paper:
        return self.documents[0]

    def quantity(self, document: Paper, name: Name) -> Quantity:
        """What a name in an expression of `document` stands for; other documents are those of the record first."""
        if not name.document:
            return document.value(name)
        for other in self.documents:
            if other.id == name.document:
                return other.value(name)
        return load_paper(name.document).value(name)
