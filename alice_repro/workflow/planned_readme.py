"""The generated tables: what every `make reproduce-...` target costs at every scale, and the published times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alice_repro.audit.planner.calibration import published
from alice_repro.audit.planner.show import size, span, times
from alice_repro.errors import UserError
from alice_repro.files import atomic_write_text
from alice_repro.workflow.layout import CHECKOUT
from alice_repro.workflow.planned import plan_what, targets

BEGIN, END = "<!-- plan: begin, made by `make plan-readme` -->", "<!-- plan: end -->"
# Scale -> the machine that the row is for.
MACHINES = {"lab": "2xCPU", "wan-1.3b": "8xH100", "wan-14b": "64xH100", "alice-14b": "64xH100"}


def readme_table() -> str:
    """The table in Markdown; targets that are made by the same graph share a row."""
    rows = [
        "| target | scale | on | GPU-hours (lab: core-hours) | wall time | memory a GPU | disk |",
        "|---|---|---|---|---|---|---|",
    ]
    for scale, gpus in MACHINES.items():
        groups: dict[str, list[str]] = {}
        for name in targets():
            plan = plan_what(name, scale, gpus)
            held = max(one.bytes for one in plan.trainings)
            fits = "" if plan.fits else ", does not fit"
            cells = (scale, gpus, span(*plan.hours), times(*plan.wall), f"{size(held)}{fits}", size(plan.disk))
            groups.setdefault(" | ".join(cells), []).append(f"`{name.removeprefix('reproduce-')}`")
        rows += [f"| {', '.join(names)} | {cells} |" for cells, names in groups.items()]
    return "\n".join(rows)


def published_table() -> str:
    """What each published time implies, in Markdown."""
    rows = [
        "| time | GPU | published | at 100 % of the peak | share implied | source, remarks |",
        "|---|---|---|---|---|---|",
    ]
    for one in published():
        share = span(*(100 * share for share in one.shares))
        cells = (one.id, one.gpu, one.published, one.floor, f"{share} %", f"{one.source}; {one.note}")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def update_readme(root: Path = CHECKOUT) -> str:
    """Write both tables between their markers in the README and in docs/planning.md; returns what was done.

    Raises:
        UserError: a file that is missing or does not hold its two markers.
    """
    return "\n".join(_update(root / name, *markers, make()) for name, (markers, make) in TABLES.items())


def between(text: str, begin: str, end: str) -> str:
    """What stands between two markers."""
    return text.split(begin)[1].split(end)[0].strip()


def _update(path: Path, begin: str, end: str, table: str) -> str:
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if text.count(begin) != 1 or text.count(end) != 1:
        raise UserError(f"{path} does not hold the two markers {begin} and {end}, once each")
    before, rest = text.split(begin)
    new = f"{before}{begin}\n{table}\n{end}{rest.split(end)[1]}"
    if new == text:
        return f"{path.name}: the table is up to date"
    atomic_write_text(path, new)
    return f"{path.name}: the table is written again"


PUBLISHED = ("<!-- published: begin, made by `make plan-readme` -->", "<!-- published: end -->")
TABLES: dict[str, tuple[tuple[str, str], Callable[[], str]]] = {
    "README.md": ((BEGIN, END), readme_table),
    "docs/planning.md": (PUBLISHED, published_table),
}
