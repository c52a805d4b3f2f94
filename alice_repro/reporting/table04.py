"""Alice Table 4: the published cells as printed and, in columns of their own, what was measured in the lab."""

from __future__ import annotations

import pandas as pd

from alice_repro.papers import Table
from alice_repro.reporting.estimates import CHOOSER
from alice_repro.reporting.render import Head, Sheet, bounds, count, points, seconds

PUBLISHED, MEASURED = "published, as printed", "measured in the lab"
CLOSED = "not testable here (closed)"
NO_WEIGHTS = "not testable here (no weights at this scale)"
# Arms of the published record -> the lab's arm that stands beside it.
COUNTERPART = {"teacher-50": "teacher-full", "student-4": "student"}

_MEASURED_HEADS = (
    Head("arm", "Arm", MEASURED),
    Head("teacher", "Teacher", MEASURED),
    Head("endpoint", "correct and sound, % (lab, not VBench)", MEASURED, number=True),
    Head("interval", "95 % interval", MEASURED, number=True),
    Head("n", "n", MEASURED),
    Head("evaluations", "network evaluations / clip", MEASURED, number=True),
    Head("seconds", "s / clip, this machine", MEASURED, number=True),
)


def table04(published: Table, arms: pd.DataFrame, scale: str, device: str = "") -> Sheet:
    """Build Table 4.

    Args:
        published: the record's table.
        arms: the measured arms (`estimates.tidy_arms`); the first teacher's stand beside the paper's rows, all else
            follows in rows of its own.
        scale, device: for title and notes.
    """
    first = arms["teacher"].iloc[0]
    counterpart = {published.arms[paper]: (first, lab) for paper, lab in COUNTERPART.items()}
    beside = {(row["teacher"], row["arm"]): row for row in arms.to_dict("records")}
    rows, data = [], []
    for label, cells in zip(published.labels, published.rows, strict=True):
        key = counterpart.get(label)
        measured = beside.pop(key) if key else None
        note = "" if measured else CLOSED if "*" in label else NO_WEIGHTS
        rows.append(_published(published, cells) | _printed(measured, note))
        data.append(_published(published, cells) | _numbers(measured, note))
    blank = ("",) * len(published.columns)
    for measured in beside.values():
        rows.append(_published(published, blank) | _printed(measured, ""))
        data.append(_published(published, blank) | _numbers(measured, ""))
    heads = [Head(f"published_{c.key}", c.label, PUBLISHED, c.kind == "number") for c in published.columns]
    title = f"Alice v1, Table {published.number}, beside what was measured at scale {scale}"
    return Sheet(title, (*heads, *_MEASURED_HEADS), tuple(rows), _notes(published, device), tuple(data))


def _published(table: Table, cells: tuple[str, ...]) -> dict[str, str]:
    return {f"published_{column.key}": cell for column, cell in zip(table.columns, cells, strict=True)}


def _printed(row: dict | None, note: str) -> dict[str, str]:
    if row is None or row["note"]:
        empty = dict.fromkeys((head.key for head in _MEASURED_HEADS), "")
        if row is None:
            return empty | {"arm": note}
        return empty | {"arm": f"{row['label']}: {row['note']}", "teacher": row["teacher"]}
    return {
        "arm": row["label"],
        "teacher": row["teacher"],
        "endpoint": points(row["value"]),
        "interval": bounds(row["low"], row["high"]),
        "n": row["n"],
        "evaluations": count(row["evaluations"]),
        "seconds": seconds(row["seconds"]),
    }


def _numbers(row: dict | None, note: str) -> dict[str, object]:
    names = {
        "lab_arm": "label",
        "lab_teacher": "teacher",
        "lab_correct_and_sound_percent": "value",
        "lab_low_percent": "low",
        "lab_high_percent": "high",
        "lab_clips": "clips",
        "lab_captions": "captions",
        "lab_runs": "runs",
        "lab_evaluations_per_clip": "evaluations",
        "lab_seconds_per_clip": "seconds",
    }
    if row is None:
        return dict.fromkeys(names, "") | {"lab_note": note}
    return {name: row[key] for name, key in names.items()} | {"lab_note": row["note"]}


def _notes(published: Table, device: str) -> tuple[str, ...]:
    footnotes = [f"{mark} {text}" for mark, text in published.footnotes.items()]
    damaged = [f'Column "{d.column}" of the published table: {d.why}' for d in published.damaged if d.row is None]
    return (
        *footnotes,
        *damaged,
        f'Published: {published.place}: "{published.caption}"',
        "The published and the measured columns have no common scale: the lab's endpoint is the share of clips that "
        "its oracle finds correct (agrees with the caption) and sound (free of every defect). It is no VBench score, "
        "and a lab result never counts as reproducing the paper.",
        f"Measure A is VBench's {CHOOSER.replace('_', ' ')}: of n teacher clips of a caption the one with the "
        "highest value among those that move. The oracle then judges the choice. Choosing by the oracle itself is the "
        "upper bound. A choice costs n clips.",
        "Intervals: bootstrap over captions (and over training runs where there are several); sampling seeds of a "
        "caption are averaged first. Where no clip or every clip passes: Wilson's, with captions as trials.",
        "Seconds: sampling and decoding on the machine of this run" + (f" ({device})." if device else "."),
    )
