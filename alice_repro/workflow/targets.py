"""What `alice-repro reproduce` can make: paper -> part -> the rule of the Snakefile that makes it."""

from __future__ import annotations

TARGETS = {"alice": {"table04": "table04", "figure01": "table04", "report": "table04"}}
