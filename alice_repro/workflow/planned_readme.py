"""The README's table of costs: every `make reproduce-...` target at every full-size scale, between two markers."""

from __future__ import annotations

from pathlib import Path

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


def update_readme(path: Path = CHECKOUT / "README.md") -> str:
    """Write the table between the README's markers; returns what was done.

    Raises:
        UserError: no README, or none with both markers.
    """
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise UserError(f"{path} does not hold the two markers {BEGIN} and {END}, once each")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    new = f"{before}{BEGIN}\n{readme_table()}\n{END}{after}"
    if new == text:
        return f"{path.name}: the table is up to date"
    atomic_write_text(path, new)
    return f"{path.name}: the table is written again"
