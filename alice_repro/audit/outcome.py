"""What a check of a given equation computes, before it becomes an entry of the audit."""

from __future__ import annotations

from dataclasses import dataclass

from alice_repro.audit.findings import Reading


@dataclass(frozen=True)
class Outcome:
    """thing: ends the entry's id; the other fields as in `Finding` and `judge`; severity: if it does not hold."""

    thing: str
    readings: tuple[Reading, ...]
    computed: str
    explanation: str
    severity: str = "major"
    plain_first: bool = False
