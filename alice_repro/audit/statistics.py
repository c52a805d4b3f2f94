"""What numbers of cases can and cannot give: shares that no count yields, differences that may be noise, copied rows.

Each part has its argument in its own file: `statistics_shares` (counts behind percentages), `statistics_noise`
(differences that an argument rests on) and `statistics_duplicates` (rows that are equal to the last digit).

Statistics alone seldom convicts. What is called inconsistent here is so by counting: no whole number of cases gives the
printed percentages, or two settings that the document tells apart have every digit in common. A difference that could
be noise "needs a run": the printed numbers do not carry the argument, and do not refute it either.
"""

from __future__ import annotations

from collections.abc import Iterator

from alice_repro.audit import statistics_duplicates, statistics_noise, statistics_shares
from alice_repro.audit.findings import Finding, Record


def check(record: Record) -> Iterator[Finding]:
    """All of it, over every table, ranking and relation of the documents."""
    for document in record.documents:
        yield from statistics_shares.check_document(record, document)
        yield from statistics_noise.check_document(record, document)
        yield from statistics_duplicates.check_document(document)
