"""Claims of the papers judged by a comparison: a verdict for each, by the rules of `alice_repro.verdicts`."""

from __future__ import annotations

from dataclasses import dataclass, field

from alice_repro.config import UNTRAINED, ClaimInArms
from alice_repro.errors import UserError
from alice_repro.papers import Claim, load_paper
from alice_repro.reporting.arms import ENDPOINT
from alice_repro.reporting.comparison import AGREEMENT, ENDPOINTS, SEED_VARIANCE, Endpoint, Methods
from alice_repro.statistics import Estimate
from alice_repro.verdicts import TEACHERS, Verdict, combine_teachers, equivalence_verdict, superiority_verdict


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict.

    Attributes:
        estimates: (arm that is said to be worse, teacher) -> better - worse in points, turned so that more is better.
        reason: why there is no better verdict, "" if nothing is lacking.
    """

    name: str
    claim: Claim
    arms: ClaimInArms
    endpoint: Endpoint
    verdict: Verdict
    estimates: dict[tuple[str, str], Estimate]
    reason: str

    @property
    def line(self) -> str:
        """The claim and its verdict in a line."""
        sign = "=" if self.arms.equal else ">"
        what = f"{self.arms.better} {sign} {', '.join(self.arms.worse)} on {self.endpoint.label}"
        why = f" ({self.reason})" if self.reason else ""
        return f"{self.name}{f' [{self.arms.reading}]' if self.arms.reading else ''}: {what}: {self.verdict}{why}"


@dataclass
class _Lacking:
    """What a claim lacks with one teacher for a better verdict.

    Attributes:
        wanted: runs that a verdict needs.
        absent: arms without a run, as keys.
        few: number of runs -> the arms that share so few with the better one.
        moving: arm -> its measures that have not settled.
    """

    wanted: int
    absent: dict[str, None] = field(default_factory=dict)
    few: dict[int, list[str]] = field(default_factory=dict)
    moving: dict[str, list[str]] = field(default_factory=dict)
    other: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"no run of {', '.join(self.absent)}"] if self.absent else []
        parts += [f"{runs} of {self.wanted} runs beside {', '.join(arms)}" for runs, arms in self.few.items()]
        moving = (f"{arm} ({', '.join(measures)})" for arm, measures in self.moving.items())
        parts += [f"still moving: {', '.join(moving)}"] if self.moving else []
        return "; ".join(parts + self.other)


def _told(lacking: dict[str, _Lacking]) -> str:
    """In words, teacher by teacher; once if it is the same of both."""
    texts = {f"{teacher} teacher": str(one) for teacher, one in lacking.items()}
    if len(same := set(texts.values())) == 1:
        texts = {"both teachers": same.pop()}
    return ". ".join(f"{whose}: {text}" for whose, text in texts.items() if text)


def judge_claims(methods: Methods) -> list[Judged]:
    """Every claim of the scale's comparison.

    Raises:
        UserError: a claim or an arm that is not there, or an endpoint that the scores do not hold.
    """
    return [_judge(methods, arms) for arms in methods.comparison.claims]


def _judge(methods: Methods, arms: ClaimInArms) -> Judged:
    paper, _, name = arms.claim.partition(".")
    claim = load_paper(paper).claim(name)
    if claim.endpoint not in ENDPOINTS:
        raise UserError(f"claim {arms.claim}: the scores hold no endpoint {claim.endpoint!r}; known: {list(ENDPOINTS)}")
    known = {*methods.comparison.arms, *UNTRAINED}
    if not {arms.better, *arms.worse} <= known:
        raise UserError(f"claim {arms.claim} speaks of an arm that the comparison does not have")
    endpoint, verdicts, estimates = ENDPOINTS[claim.endpoint], [], {}
    lacking = {teacher: _Lacking(methods.scale.protocol.runs) for teacher in TEACHERS}
    for worse in arms.worse:
        results = {}
        for teacher in TEACHERS:
            estimate = _estimate(methods, teacher, arms.better, worse, endpoint, lacking[teacher])
            if estimate is None:
                continue
            estimates[worse, teacher] = estimate
            settled = (arms.better,) if endpoint.about_settling else (arms.better, worse)
            moving = _moving(methods, teacher, settled, endpoint)
            lacking[teacher].moving.update(moving)
            rule, protocol = equivalence_verdict if arms.equal else superiority_verdict, methods.scale.protocol
            verdict = rule(estimate, protocol.margin, protocol.runs, not moving)
            if verdict is Verdict.LAB_CONTRADICTS and not arms.equal:
                verdict = _unless_perfect(methods, teacher, worse, estimate, endpoint, lacking[teacher])
            if endpoint.measure == SEED_VARIANCE and verdict is Verdict.LAB_SUPPORTS:
                verdict = _unless_worthless(methods, teacher, arms.better, worse, lacking[teacher])
            results[teacher] = estimate, verdict
        verdicts.append(_both(results, methods, arms.equal))
    return Judged(arms.claim, claim, arms, endpoint, _all(verdicts), estimates, _told(lacking))


def _estimate(
    methods: Methods, teacher: str, better: str, worse: str, endpoint: Endpoint, lacking: _Lacking
) -> Estimate | None:
    """better - worse, turned so that more is better."""
    absent = [arm for arm in (better, worse) if not methods.has(teacher, arm)]
    if absent:
        lacking.absent.update(dict.fromkeys(absent))
        return None
    found = methods.difference(teacher, better, worse, endpoint.measure)
    if found is None:
        lacking.other.append(f"{endpoint.measure} of {better} and {worse} cannot be compared")
        return None
    estimate = found.estimate if endpoint.higher else found.estimate.scaled(-1)
    if estimate.runs < lacking.wanted:
        lacking.few.setdefault(estimate.runs, []).append(worse)
    return estimate


def _moving(methods: Methods, teacher: str, arms: tuple[str, ...], endpoint: Endpoint) -> dict[str, list[str]]:
    """Students -> what still moves over the last quarter of their training: the primary endpoint, or the claim's.

    The agreement along a path is measured at the end alone.
    """
    found = {
        arm: [
            measure
            for measure in dict.fromkeys((ENDPOINT, endpoint.measure))
            if measure != AGREEMENT and not methods.gate(teacher, arm, measure).converged
        ]
        for arm in arms
        if arm not in UNTRAINED
    }
    return {arm: measures for arm, measures in found.items() if measures}


def _unless_perfect(
    methods: Methods, teacher: str, worse: str, estimate: Estimate, endpoint: Endpoint, lacking: _Lacking
) -> Verdict:
    """Nothing is contradicted where there was nothing to repair: the arm that is said to be worse is within the margin
    of the best value that there is, and the other is not clearly below it.
    """
    value = methods.mean(teacher, worse, endpoint.measure)
    short = 100 - value if endpoint.higher else value
    if short >= methods.margin or estimate.high < -methods.margin:
        return Verdict.LAB_CONTRADICTS
    lacking.other.append(f"{worse} is at {value:.1f} %, which leaves nothing to repair")
    return Verdict.LAB_INCONCLUSIVE


def _unless_worthless(methods: Methods, teacher: str, better: str, worse: str, lacking: _Lacking) -> Verdict:
    """No credit for less luck to an arm that is simply wrong: its endpoint may be lower by the margin."""
    loss = methods.mean(teacher, worse, ENDPOINT) - methods.mean(teacher, better, ENDPOINT)
    if loss <= methods.margin:
        return Verdict.LAB_SUPPORTS
    lacking.other.append(f"{better} varies less, but its endpoint is {loss:.1f} points lower")
    return Verdict.LAB_INCONCLUSIVE


def _both(results: dict[str, tuple[Estimate, Verdict]], methods: Methods, equal: bool) -> Verdict:
    """One verdict of both teachers."""
    if not equal:
        return combine_teachers(results, methods.scale.protocol.margin, methods.scale.protocol.runs)
    verdicts = {verdict for _, verdict in results.values()}
    if Verdict.NOT_CONVERGED in verdicts:
        return Verdict.NOT_CONVERGED
    return verdicts.pop() if len(results) == 2 and len(verdicts) == 1 else Verdict.LAB_INCONCLUSIVE


def _all(verdicts: list[Verdict]) -> Verdict:
    """A claim about several arms: it falls with one, whatever else is not settled, and stands if all stand."""
    for decisive in (Verdict.LAB_CONTRADICTS, Verdict.NOT_CONVERGED):
        if decisive in verdicts:
            return decisive
    return Verdict.LAB_SUPPORTS if set(verdicts) == {Verdict.LAB_SUPPORTS} else Verdict.LAB_INCONCLUSIVE
