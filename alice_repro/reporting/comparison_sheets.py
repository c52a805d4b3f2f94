"""The tables of a comparison: at equal student updates, at equal network evaluations, cost, and claims."""

from __future__ import annotations

from alice_repro.reporting.arms import ENDPOINT, FULL, SHORT
from alice_repro.reporting.comparison import SEED_VARIANCE, Methods, evaluations_at, mean_of, mode_distances
from alice_repro.reporting.comparison_claims import Judged, interval
from alice_repro.reporting.estimates import Measured
from alice_repro.reporting.ledger import Run, read_curve
from alice_repro.reporting.render import Head, Sheet, points, signed

_MEASURES = {"correct": "correct, %", "sound": "sound, %", "dynamic_degree": "dynamic degree, %"}


def equal_updates(methods: Methods) -> Sheet:
    """Every arm at the end of its training, beside the untouched teacher; differences are paired."""
    baseline, margin = methods.comparison.baseline, methods.scale.protocol.margin
    rows, data = [], []
    for teacher in methods.teachers:
        for arm in [FULL, SHORT, *methods.arms(teacher)]:
            student = arm not in (FULL, SHORT)
            shares = {name: methods.rate(teacher, arm, name) for name in (ENDPOINT, *_MEASURES)}
            distance = list(mode_distances(methods.scores(teacher, arm)).values())
            to_teacher = methods.difference(teacher, arm, SHORT) if student else None
            to_baseline = methods.difference(teacher, arm, baseline) if student and arm != baseline else None
            gate = methods.gate(teacher, arm) if student else None
            row = {"teacher": teacher, "arm": arm, "runs": str(len(methods.of(teacher, arm))) if student else ""}
            row |= {ENDPOINT: _share(shares[ENDPOINT])}
            row |= {name: points(shares[name].estimate.value) if shares[name] else "" for name in _MEASURES}
            row |= {"modes": points(100 * sum(distance) / len(distance))}
            row |= {"teacher_4": _difference(to_teacher), "baseline": _difference(to_baseline)}
            row["gate"] = "" if gate is None else f"{'yes' if gate.converged else 'no'} ({signed(gate.moved)})"
            rows.append(row)
            numbers = {"teacher": teacher, "arm": arm, "runs": len(methods.of(teacher, arm))}
            for name, measured in {**shares, "teacher_4": to_teacher, "baseline": to_baseline}.items():
                numbers |= _numbers(name, measured)
            numbers |= {"mode_distance": sum(distance) / len(distance), "moved": gate.moved if gate else None}
            data.append(numbers)
    heads = (
        Head("teacher", "Teacher"),
        Head("arm", "Arm"),
        Head("runs", "runs", number=True),
        Head(ENDPOINT, "correct and sound, %", number=True),
        *(Head(name, label, number=True) for name, label in _MEASURES.items()),
        Head("modes", "distance to the known modes, %", number=True),
        Head("teacher_4", "\N{MINUS SIGN} untouched teacher, same steps", number=True),
        Head("baseline", f"\N{MINUS SIGN} {baseline}", number=True),
        Head("gate", "converged (moved)", number=True),
    )
    notes = (
        "Means with 95 % intervals (runs first, then captions). Differences in points, paired by run and caption.",
        f"Converged: the mean endpoint moved by at most {margin:g} points over the last quarter of training.",
        f"{FULL} and {SHORT}: the untouched teacher with all its steps, and with as many as the students.",
    )
    return Sheet("Methods at equal student updates", heads, tuple(rows), notes, tuple(data))


def equal_evaluations(methods: Methods) -> Sheet:
    """Every arm at the checkpoint nearest to one budget of network evaluations: the least that an arm spent in all."""
    rows, data = [], []
    for teacher in methods.teachers:
        budget = min(mean_of(methods.of(teacher, arm), "network_evaluations") for arm in methods.arms(teacher))
        for arm in methods.arms(teacher):
            entry = methods.of(teacher, arm)[0]
            curve = read_curve(methods.ledger, Run(teacher, arm, entry["seed"]))
            spent = {at: evaluations_at(entry, curve, at) for at in methods.checkpoints(teacher, arm)}
            at = min(spent, key=lambda update: abs(spent[update] - budget))
            share = 100 * methods.scores(teacher, arm, at)[ENDPOINT].mean()
            numbers = {"updates": at, "evaluations": spent[at], "share_of_budget": spent[at] / budget, ENDPOINT: share}
            data.append({"teacher": teacher, "arm": arm, **numbers})
            rows.append(
                {
                    "teacher": teacher,
                    "arm": arm,
                    "updates": str(at),
                    "evaluations": f"{spent[at]:,.0f}",
                    "share": f"{spent[at] / budget:.2f}",
                    ENDPOINT: points(share),
                }
            )
    heads = (
        Head("teacher", "Teacher"),
        Head("arm", "Arm"),
        Head("updates", "student updates", number=True),
        Head("evaluations", "network evaluations x clips", number=True),
        Head("share", "of the budget", number=True),
        Head(ENDPOINT, "correct and sound, %", number=True),
    )
    notes = (
        "The budget is what the cheapest arm spent in all. Students are measured at a few checkpoints only; the "
        "nearest is shown with what it had spent: read an arm that is far from 1 with care.",
        "A pass forward through a network counts as one, guidance as two, a derivative as one (it costs about two).",
    )
    return Sheet("Methods at equal network evaluations", heads, tuple(rows), notes, tuple(data))


def speed(methods: Methods) -> Sheet:
    """What an update costs: seconds, network evaluations, memory; and the limit of 3 seconds."""
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


def claims(judged: list[Judged]) -> Sheet:
    """A row for each claim and each arm that it is said to beat."""
    rows, data = [], []
    for one in judged:
        for worse in one.arms.worse:
            pair = f"{one.arms.better} {'=' if one.arms.equal else '>'} {worse}"
            found = {teacher: one.estimates.get((worse, teacher)) for teacher in ("trained", "exact")}
            row = {"claim": one.name, "pair": pair, "endpoint": one.endpoint.label, "verdict": str(one.verdict)}
            row |= {name: interval(estimate) if estimate else "no run" for name, estimate in found.items()}
            rows.append(row | {"reason": one.reason})
            numbers = {
                f"{name}_{key}": getattr(estimate, key, None)
                for name, estimate in found.items()
                for key in ("value", "low", "high", "runs")
            }
            data.append({"claim": one.name, "pair": pair, "verdict": str(one.verdict), **numbers, "reason": one.reason})
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
        "The verdicts speak of mechanisms in a small world; none of them says that a paper is reproduced.",
    )
    return Sheet("Claims of the papers", heads, tuple(rows), notes, tuple(data))


def _share(measured: Measured | None) -> str:
    if measured is None:
        return ""
    e = measured.estimate
    return f"{points(e.value)} [{points(e.low)}, {points(e.high)}]"


def _difference(measured: Measured | None) -> str:
    return interval(measured.estimate) if measured else ""


def _numbers(name: str, measured: Measured | None) -> dict[str, float | None]:
    estimate = measured.estimate if measured else None
    return {f"{name}_{key}".removesuffix("_value"): getattr(estimate, key, None) for key in ("value", "low", "high")}
