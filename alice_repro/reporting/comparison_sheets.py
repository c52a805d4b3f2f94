"""The tables of a comparison: at equal student updates, at equal network evaluations, cost, and claims."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from alice_repro.config import ANCHORED, CONSISTENT, FULL, SHORT, START, UNTRAINED, Scale
from alice_repro.reporting.arms import ENDPOINT
from alice_repro.reporting.comparison import MODE_DISTANCE, SEED_VARIANCE, Methods, evaluations_at, mean_of
from alice_repro.reporting.comparison_claims import Judged
from alice_repro.reporting.estimates import Measured
from alice_repro.reporting.ledger import Run, read_curve
from alice_repro.reporting.render import Head, Sheet, estimated, points, signed

_NEAR = (0.75, 1.34)  # shares of a budget that count as equal
_MEASURES = {"correct": "correct, %", "sound": "sound, %", "dynamic_degree": "dynamic degree, %"}


def equal_updates(methods: Methods) -> Sheet:
    """Every arm at the end of its training, beside the untouched teacher; differences are paired."""
    baseline, floor = methods.comparison.baseline, methods.comparison.floor
    rows, data = [], []
    for teacher in methods.teachers:
        own = [arm for arm in UNTRAINED if methods.has(teacher, arm)]
        for arm in [*own, *methods.arms(teacher)]:
            entries = methods.of(teacher, arm)
            shares = {name: methods.rate(teacher, arm, name) for name in (ENDPOINT, *_MEASURES)}
            modes = methods.mean(teacher, arm, MODE_DISTANCE)
            to_teacher = _beside_untouched(methods, teacher, arm, entries[0]) if entries else None
            to_baseline, to_floor = (
                methods.difference(teacher, arm, other) if entries and arm != other else None
                for other in (baseline, _floor(methods, entries[0]) if entries else "")
            )
            gate = methods.gate(teacher, arm) if entries else None
            row = {"teacher": teacher, "arm": arm, "runs": str(len(entries)) if entries else ""}
            row |= {ENDPOINT: _share(shares[ENDPOINT])}
            row |= {name: points(shares[name].estimate.value) if shares[name] else "" for name in _MEASURES}
            row |= {"modes": points(modes) or "not measurable"}
            row |= {"untouched": _difference(to_teacher), "baseline": _difference(to_baseline)}
            row |= {"floor": _difference(to_floor)}
            row["gate"] = "" if gate is None else f"{'yes' if gate.converged else 'no'} ({signed(gate.moved)})"
            rows.append(row)
            numbers = {"teacher": teacher, "arm": arm, "runs": len(entries)}
            differences = {"untouched": to_teacher, "baseline": to_baseline, "floor": to_floor}
            for name, measured in {**shares, **differences}.items():
                numbers |= _numbers(name, measured)
            data.append(numbers | {"mode_distance": modes, "moved": gate.moved if gate else None})
    heads = (
        Head("teacher", "Teacher"),
        Head("arm", "Arm"),
        Head("runs", "runs", number=True),
        Head(ENDPOINT, "correct and sound, %", number=True),
        *(Head(name, label, number=True) for name, label in _MEASURES.items()),
        Head("modes", "distance to the known modes, %", number=True),
        Head("untouched", "\N{MINUS SIGN} untouched teacher, same steps", number=True),
        Head("baseline", f"\N{MINUS SIGN} {baseline}", number=True),
        *([Head("floor", f"\N{MINUS SIGN} {floor}", number=True)] if floor else []),
        Head("gate", "converged (moved)", number=True),
    )
    notes = (
        "Correct and sound, and the differences, with 95 % intervals (runs first, then captions; the CSV has those of "
        "other measures too). Differences in points, paired by caption and, between students, by run.",
        f"Converged: the mean endpoint moved by at most {methods.margin:g} points over the last quarter of training.",
        f"{FULL} and {SHORT}: the untouched teacher with all its steps, and with as many as the students. An arm that "
        "takes the teacher's many steps is compared with those of the network that it was; one with another number of "
        "steps with none.",
        *([f"{floor}: plain regression, the floor; beside an arm with clean clips {floor}-clean."] if floor else []),
        f"{START}: a student before its first update, without guidance; with both teachers the same network. What it "
        "shows already is no work of a method.",
        f"{CONSISTENT}: the students' steps, each to the end of the teacher's own path from there: what learning "
        "consistency alone gives if it is learned without error.",
        f"{ANCHORED}: DP-DMD's Euler steps, the first exactly to its anchor, the others the untouched teacher's.",
        _clips_note(methods),
        *(["Left out: " + "; ".join(methods.left_out) + "."] if methods.left_out else []),
    )
    return Sheet("Methods at equal student updates", heads, tuple(rows), notes, tuple(data))


def equal_evaluations(methods: Methods) -> Sheet:
    """Every arm at the checkpoint nearest to one budget: the least that an arm with a fake score spent."""
    rows, data = [], []
    for teacher in methods.teachers:
        arms = methods.arms(teacher)
        spent = {arm: mean_of(methods.of(teacher, arm), "network_evaluations") for arm in arms}
        critics = [arm for arm in arms if methods.of(teacher, arm)[0]["critic_updates"] > 0]
        budget = min(spent[arm] for arm in critics or arms)
        for arm in arms:
            entry = methods.of(teacher, arm)[0]
            curve = read_curve(methods.ledger, Run(teacher, arm, entry["seed"]))
            at_each = {at: evaluations_at(entry, curve, at) for at in methods.checkpoints(teacher, arm)}
            at = min(at_each, key=lambda update: abs(at_each[update] - budget))
            share, measured = at_each[at] / budget, methods.rate(teacher, arm, ENDPOINT, at)
            near = _NEAR[0] <= share <= _NEAR[1]
            note = "" if near else "spends less in all" if at == entry["student_updates"] else "no checkpoint near"
            numbers = {"updates": at, "evaluations": at_each[at], "share_of_budget": share}
            data.append({"teacher": teacher, "arm": arm, **numbers, **_numbers(ENDPOINT, measured), "note": note})
            shown = {"updates": str(at), "evaluations": f"{at_each[at]:,.0f}", "share": f"{share:.2f}"}
            shown |= {ENDPOINT: _share(measured) if near or share < 1 else "", "note": note}
            rows.append({"teacher": teacher, "arm": arm, **shown})
    heads = (
        Head("teacher", "Teacher"),
        Head("arm", "Arm"),
        Head("updates", "student updates", number=True),
        Head("evaluations", "network evaluations x clips", number=True),
        Head("share", "of the budget", number=True),
        Head(ENDPOINT, "correct and sound, %", number=True),
        Head("note", "Note"),
    )
    notes = (
        "The budget is the least that an arm with a fake score spent in all. Students are measured at a few times; "
        f"the nearest is shown, and counts as equal if it spent {_NEAR[0]:g} to {_NEAR[1]:g} of the budget.",
        "A pass forward through a network counts as one, guidance as two, a derivative as one (it costs about two).",
        "Not counted: the teacher's clips, made once for all arms that learn from stored ones: "
        + ", ".join(f"{_clips_cost(methods.scale, teacher):,} ({teacher})" for teacher in methods.teachers)
        + ". Clean clips cost none.",
    )
    return Sheet("Methods at equal network evaluations", heads, tuple(rows), notes, tuple(data))


def speed(methods: Methods) -> Sheet:
    """What an update costs: seconds, network evaluations, memory."""
    rows, data = [], []
    for teacher in methods.teachers:
        for arm in methods.arms(teacher):
            entries = methods.of(teacher, arm)
            curves = [read_curve(methods.ledger, Run(teacher, arm, entry["seed"])) for entry in entries]
            seconds = min(float(curve["seconds"].median()) for curve in curves)
            batch = entries[0]["config"]["recipe"]["stages"][-1]["batch"]
            clips = mean_of(entries, "network_evaluations") / mean_of(entries, "student_updates")
            memory = max(entry["peak_memory_gb"] for entry in entries)
            numbers = {"seconds": seconds, "per_second": 1 / seconds, "evaluations": clips / batch, "memory": memory}
            data.append({"teacher": teacher, "arm": arm, **numbers})
            shown = {
                "per_second": f"{1 / seconds:.2f}",
                "seconds": f"{seconds:.2f}",
                "evaluations": f"{clips / batch:.1f}",
                "memory": f"{memory:.1f}",
            }
            rows.append({"teacher": teacher, "arm": arm, **shown})
    heads = (
        Head("teacher", "Teacher"),
        Head("arm", "Arm"),
        Head("per_second", "student updates / s", number=True),
        Head("seconds", "s / student update", number=True),
        Head("evaluations", "network evaluations / update", number=True),
        Head("memory", "peak memory, GB", number=True),
    )
    notes = (
        "Seconds: the median update, with its share of fake-score updates, of the quickest run on the machine that"
        " made it; runs that shared the machine with others are slower.",
        "Evaluations: calls of a network on the batch, mean over the training.",
    )
    return Sheet("What an update costs", heads, tuple(rows), notes, tuple(data))


def agreement(methods: Methods) -> Sheet:
    """Whether a student predicts one clip along the teacher's path, and whether noise decides a caption's quality."""
    rows, data = [], []
    for teacher in methods.teachers:
        if methods.has(teacher, FULL):
            luck = methods.rate(teacher, FULL, SEED_VARIANCE)
            rows.append({"teacher": teacher, "arm": FULL, "spread": "", "own": "", "luck": _share(luck)})
            data.append({"teacher": teacher, "arm": FULL, "spread": None, "own": None, **_numbers("luck", luck)})
        for arm in methods.arms(teacher):
            known = [entry["agreement"] for entry in methods.of(teacher, arm) if "agreement" in entry]
            spread, own = (
                sum(one[name] for one in known) / len(known) if known else None for name in ("student", "teacher")
            )
            luck = methods.rate(teacher, arm, SEED_VARIANCE)
            shown = {
                name: "" if value is None else f"{value:.3f}" for name, value in (("spread", spread), ("own", own))
            }
            rows.append({"teacher": teacher, "arm": arm, **shown, "luck": _share(luck)})
            data.append({"teacher": teacher, "arm": arm, "spread": spread, "own": own, **_numbers("luck", luck)})
    heads = (
        Head("teacher", "Teacher"),
        Head("arm", "Arm"),
        Head("spread", "spread of the student's predictions", number=True),
        Head("own", "of the teacher's own", number=True),
        Head("luck", "variance of the endpoint over noise, %", number=True),
    )
    notes = (
        "Spread: of the clips predicted at the student's times along the teacher's path from a noise, over their mean; "
        "0 for a consistent network. Variance: over the noises of a caption, unbiased, mean over captions.",
    )
    return Sheet("Agreement along a path, and luck of the noise", heads, tuple(rows), notes, tuple(data))


def claims(judged: list[Judged], calibrations: Sequence[str] = ()) -> Sheet:
    """A row for each claim and each arm that it is said to beat.

    Args:
        calibrations: a line each on what the rules find where the truth is known (`reporting.calibration`).
    """
    rows, data = [], []
    for one in judged:
        for worse in one.arms.worse:
            pair = f"{one.arms.better} {'=' if one.arms.equal else '>'} {worse}"
            found = {teacher: one.estimates.get((worse, teacher)) for teacher in ("trained", "exact")}
            name = f"{one.name} ({one.arms.reading})" if one.arms.reading else one.name
            row = {"claim": name, "pair": pair, "endpoint": one.endpoint.label, "verdict": str(one.verdict)}
            row |= {name: estimated(estimate, sign=True) if estimate else "no run" for name, estimate in found.items()}
            rows.append(row | {"reason": one.reason})
            numbers = {
                f"{name}_{key}": getattr(estimate, key, None)
                for name, estimate in found.items()
                for key in ("value", "low", "high", "runs")
            }
            data.append({"claim": name, "pair": pair, "verdict": str(one.verdict), **numbers, "reason": one.reason})
    heads = (
        Head("claim", "Claim"),
        Head("pair", "In the lab's arms"),
        Head("endpoint", "Endpoint"),
        Head("trained", "trained teacher", number=True),
        Head("exact", "exact teacher", number=True),
        Head("verdict", "Verdict"),
        Head("reason", "What is lacking"),
    )
    notes = (
        "Differences in points, turned so that more is in the claim's favour. A verdict is of the whole claim: it "
        "falls with one of its comparisons and stands if all do; rules in alice_repro/verdicts.py.",
        f"{len(rows)} comparisons with 95 % intervals, not adjusted for their number.",
        *(f"The same rules for a student against its teacher on correct and sound: {line}." for line in calibrations),
        "The verdicts speak of mechanisms in a small world; none of them says that a paper is reproduced.",
    )
    return Sheet("Claims of the papers", heads, tuple(rows), notes, tuple(data))


def _beside_untouched(methods: Methods, teacher: str, arm: str, entry: dict[str, Any]) -> Measured | None:
    """An arm less the untouched teacher at the same steps; of a network that still takes the teacher's many steps, less
    itself before it was trained, which is the trained teacher.
    """
    if entry.get("sampler") == "teacher":
        return methods.difference(teacher, arm, FULL, teacher_of_y="trained")
    steps = entry["config"]["scale"]["sampling"]["student_steps"]
    return methods.difference(teacher, arm, SHORT) if steps == methods.scale.sampling.student_steps else None


def _clips_note(methods: Methods) -> str:
    """Which stored clips the runs learned from, by the sha256 of their file."""
    files: dict[tuple[str, str], set[str]] = {}
    for entry in methods.entries:
        source = entry["config"]["scale"]["data"]["source"]
        clips = entry.get("inputs", {}).get("samples", {}).get("sha256", "unknown")
        files.setdefault((entry["teacher"], source), set()).add(clips[:8])
    each = "; ".join(f"{t} teacher, {source} clips {', '.join(sorted(found))}" for (t, source), found in files.items())
    same = "NOT the same" if any(len(found) > 1 for found in files.values()) else "the same"
    return f"Stored clips are {same} for all runs of a teacher and source, by the start of their file's sha256: {each}."


def _clips_cost(scale: Scale, teacher: str) -> int:
    """Network evaluations times clips of making a teacher's training clips."""
    guidance = scale.teacher.exact_guidance if teacher == "exact" else scale.teacher.guidance
    return prod(scale.training_clips(teacher)) * scale.teacher.steps * (1 if guidance == 1.0 else 2)


def _floor(methods: Methods, entry: dict[str, Any]) -> str:
    """The arm of plain regression to the clips that a run read; "" where there is none."""
    source = entry["config"]["scale"]["data"]["source"]
    name = methods.comparison.floor if source == "teacher" else f"{methods.comparison.floor}-{source}"
    return name if name in methods.comparison.arms else ""


def _share(measured: Measured | None) -> str:
    if measured is None:
        return ""
    return estimated(measured.estimate)


def _difference(measured: Measured | None) -> str:
    return estimated(measured.estimate, sign=True) if measured else ""


def _numbers(name: str, measured: Measured | None) -> dict[str, float | None]:
    estimate = measured.estimate if measured else None
    return {f"{name}_{key}".removesuffix("_value"): getattr(estimate, key, None) for key in ("value", "low", "high")}
