"""What hardware can do: parameters and memory (`limits_size`), seconds (`limits_time`), GPU-hours (`limits_budget`)."""

from __future__ import annotations

from collections.abc import Iterator

from alice_repro.audit.findings import Finding, Record
from alice_repro.audit.limits_budget import check_budgets
from alice_repro.audit.limits_size import check_sizes
from alice_repro.audit.limits_time import check_times


def check(record: Record) -> Iterator[Finding]:
    """Every stated size, time, budget and overhead against its floor."""
    yield from check_sizes(record)
    yield from check_times(record)
    yield from check_budgets(record)
