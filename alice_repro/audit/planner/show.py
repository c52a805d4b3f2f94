"""A plan as text: a table of the work, totals, memory and disk, and what is in the way."""

from __future__ import annotations

from alice_repro.audit.planner.plan import GB, Plan, Training
from alice_repro.progress import duration

SHOWN = 1  # trainings whose memory is given part by part, the largest first
_SCALES = ((1e24, "Y"), (1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"))


def show_plan(plan: Plan) -> str:
    """The text for a terminal."""
    unit = plan.machine.unit
    rows = [("work", "evaluations", "operations", unit, "wall time")]
    for line in plan.lines:
        evaluations = f"{line.work.evaluations:,.0f}" if line.work.evaluations else "-"
        operations = flop(line.work.operations) if line.work.operations else "-"
        busy = span(*line.hours) if line.hours[1] else "-"
        rows.append((line.work.name, evaluations, operations, busy, times(*line.wall) if line.wall[1] else "-"))
    rows.append(("together", f"{plan.evaluations:,.0f}", flop(plan.operations), span(*plan.hours), times(*plan.wall)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    text = [f"{plan.title}, scale {plan.scale}, on {plan.machine.name}", ""]
    for number, row in enumerate(rows):
        if number in (1, len(rows) - 1):
            text.append("-" * (sum(widths) + 2 * (len(widths) - 1)))
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        text.append("  ".join(cells))
    text += ["", f"Rates: sampling {plan.machine.described('sampling')}, training {plan.machine.described('training')}"]
    largest = sorted(plan.trainings, key=lambda one: -one.bytes)[:SHOWN]
    for one in largest:
        text += ["", *_memory(one, plan)]
    if len(plan.trainings) > SHOWN:
        text.append(f"The other {len(plan.trainings) - SHOWN} trainings need less.")
    if plan.files:
        text += ["", f"Disk: {size(plan.disk)}"]
        text += [f"  {size(part.bytes):>10}  {part.name}{_rough(part.rough)}" for part in plan.files]
    if plan.notes:
        text += ["", "Notes", *(f"  - {note}" for note in plan.notes)]
    return "\n".join(text)


def _memory(one: Training, plan: Plan) -> list[str]:
    setup, where = one.setup, "GPU" if plan.machine.gpu else "process"
    layout = "sharded (FSDP2)" if setup.sharded else "replicated (DDP)" if setup.processes > 1 else "one process"
    mark = "" if one.fits else f"  DOES NOT FIT {plan.machine.gpu.memory:g} GB"
    text = [f"Memory of {one.recipe} a {where}, {setup.processes} of them, {layout}: {size(one.bytes)}{mark}"]
    text += [f"  {size(part.bytes):>10}  {part.name}{_rough(part.rough)}" for part in one.parts]
    text.append(
        f"  host: {size(one.host[0])} a process at the start, {size(one.host[1])} in the main one at a checkpoint"
    )
    return text


def _rough(rough: bool) -> str:
    return " (estimated)" if rough else ""


def span(low: float, high: float) -> str:
    """Two numbers with the digits that a range of this kind deserves."""
    return f"{number(low)} to {number(high)}" if number(low) != number(high) else number(low)


def number(value: float) -> str:
    """Two significant digits, with commas."""
    if value >= 100:
        digits = len(str(int(value))) - 2
        return f"{round(value, -digits):,.0f}"
    return f"{value:.2g}"


def times(low: float, high: float) -> str:
    """Two times, given in hours."""
    return f"{time(low)} to {time(high)}" if time(low) != time(high) else time(low)


def time(hours: float) -> str:
    """A time in words: seconds and minutes as progress shows them, then hours, days, years."""
    if hours < 2:
        return duration(hours * 3600) if hours * 3600 >= 1 else "0 s"
    if hours < 48:
        return f"{number(hours)} h"
    return f"{number(hours / 24)} days" if hours < 24 * 730 else f"{number(hours / 24 / 365)} years"


def flop(operations: float) -> str:
    """Operations with a prefix."""
    scale, prefix = next(((scale, prefix) for scale, prefix in _SCALES if operations >= scale), (1.0, ""))
    return f"{operations / scale:.3g} {prefix}FLOP"


def size(count: float) -> str:
    """Bytes in MB, GB or TB."""
    for scale, name in ((1e12, "TB"), (GB, "GB")):
        if count >= scale:
            return f"{count / scale:.3g} {name}" if count < 1000 * scale else f"{count / scale:,.0f} {name}"
    return f"{count / 1e6:.3g} MB"
