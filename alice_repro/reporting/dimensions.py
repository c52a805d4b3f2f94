"""What stands beside Table 4: the dimensions that bear VBench's names, and how well the known modes are covered."""

from __future__ import annotations

from alice_repro.evaluation.vbench import suite
from alice_repro.reporting.arms import Arms
from alice_repro.reporting.estimates import Measured, difference, rate
from alice_repro.reporting.render import Head, Sheet, estimated, points

NO_TRUTH = "not testable here (the lab's world has no truth for it)"


def dimensions(arms: list[Arms], n_boot: int) -> Sheet:
    """The dimensions that bear VBench's names, for teacher and student, and their paired difference, in percent."""
    heads: list[Head] = [Head("dimension", "Dimension (VBench's name, measured in the lab)")]
    for one in arms:
        group = f"{one.teacher} teacher, %"
        labels = {
            "full": "all steps",
            "short": "few steps",
            "student": "student",
            "difference": "student \N{MINUS SIGN} all steps",
        }
        heads += [Head(f"{one.teacher}_{key}", label, group, number=True) for key, label in labels.items()]
    rows, data, absent = [], [], []
    for name in suite("vbench").dimensions:
        if not all(name in table.columns for one in arms for table in one.by_arm().values()):
            absent.append(name)
            continue
        row: dict[str, str] = {"dimension": name}
        numbers: dict[str, object] = {"dimension": name}
        for one in arms:
            found = {
                "full": rate(one.full, name, n_boot),
                "short": rate(one.short, name, n_boot),
                "student": rate(one.student, name, n_boot),
                "difference": difference(one.student, one.full, name, n_boot),
            }
            for key, measured in found.items():
                row[f"{one.teacher}_{key}"] = _cell(measured, sign=key == "difference")
                numbers |= _columns(f"{one.teacher}_{key}", measured)
        rows.append(row)
        data.append(numbers)
    notes = (
        "Per clip from 0 to 100, not normalised, over the captions of Table 4; a clip without a value (the dimension "
        "does not apply, or the object is not seen) is left out.",
        f"{', '.join(absent)}: {NO_TRUTH}.",
    )
    if not rows:
        data = [{"dimension": name, "note": NO_TRUTH} for name in absent]
    return Sheet("Dimensions with VBench's names", tuple(heads), tuple(rows), notes, tuple(data))


def _cell(measured: Measured | None, sign: bool) -> str:
    return "no value" if measured is None else estimated(measured.estimate, sign)


def _columns(name: str, measured: Measured | None) -> dict[str, object]:
    if measured is None:
        return {name: "", f"{name}_low": "", f"{name}_high": "", f"{name}_clips": 0}
    e = measured.estimate
    return {name: e.value, f"{name}_low": e.low, f"{name}_high": e.high, f"{name}_clips": measured.clips}


def coverage(arms: list[Arms]) -> Sheet | None:
    """How the attributes that captions leave open are distributed, against their known probabilities.

    None where the scores say nothing of them.
    """
    from alice_repro.evaluation.lab import RARE_MODE, mode_coverage

    rare = "_".join(RARE_MODE)
    tables = [(one.teacher, arm, table) for one in arms for arm, table in one.by_arm().items() if rare in table]
    tables = [(teacher, arm, table) for teacher, arm, table in tables if table[rare].notna().any()]
    if not tables:
        return None
    rows, data = [], []
    for teacher, arm, table in tables:
        found = mode_coverage(table)
        d, share = found.distance, found.rare_share.scaled(100)
        rows.append(
            {
                "teacher": teacher,
                "arm": arm,
                "distance": f"{d.value:.2f} [{d.low:.2f}, {d.high:.2f}]",
                "floor": f"{found.floor:.2f}",
                "share": estimated(share),
                "recall": points(100 * found.rare_recall),
                "clips": str(len(table)),
            }
        )
        numbers = {"distance": d.value, "distance_low": d.low, "distance_high": d.high, "floor": found.floor}
        rates = {"rare_share": found.rare_share.value, "rare_recall": found.rare_recall, "clips": len(table)}
        data.append({"teacher": teacher, "arm": arm} | numbers | rates)
    heads = (
        Head("teacher", "Teacher"),
        Head("arm", "Arm"),
        Head("distance", "distance to the known modes (0 to 1)", number=True),
        Head("floor", "as many true draws would show", number=True),
        Head("share", f"rare mode ({' '.join(reversed(RARE_MODE))}), % of clips", number=True),
        Head("recall", "its recall, %", number=True),
        Head("clips", "clips", number=True),
    )
    notes = (
        "Total-variation distance, mean over the attributes that captions leave open, with 95 % interval over "
        "captions; it is never below what as many draws from the truth show, so read the two columns together.",
    )
    return Sheet("Mode coverage", heads, tuple(rows), notes, tuple(data))
