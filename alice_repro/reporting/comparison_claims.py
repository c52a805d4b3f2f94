"""Claims of the papers judged by a comparison: a verdict for each, by the rules of `alice_repro.verdicts`."""

from __future__ import annotations

from dataclasses import dataclass

from alice_repro.config import UNTRAINED, ClaimInArms
from alice_repro.errors import UserError
from alice_repro.papers import Claim, load_paper
from alice_repro.reporting.arms import ENDPOINT
from alice_repro.reporting.comparison import ENDPOINTS, SEED_VARIANCE, Endpoint, Methods
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
    endpoint, verdicts, estimates, lacking = ENDPOINTS[claim.endpoint], [], {}, []
    for worse in arms.worse:
        results = {}
        for teacher in TEACHERS:
            estimate, why = _estimate(methods, teacher, arms.better, worse, endpoint)
            lacking += why
            if estimate is None:
                continue
            estimates[worse, teacher] = estimate
            unsettled = _unsettled(methods, teacher, (arms.better, worse), endpoint)
            lacking += unsettled
            rule, protocol = equivalence_verdict if arms.equal else superiority_verdict, methods.scale.protocol
            verdict = rule(estimate, protocol.margin, protocol.runs, not unsettled)
            if endpoint.measure == SEED_VARIANCE and verdict is Verdict.LAB_SUPPORTS:
                verdict, why = _unless_worthless(methods, teacher, arms.better, worse, verdict)
                lacking += why
            results[teacher] = estimate, verdict
        verdicts.append(_both(results, methods, arms.equal))
    return Judged(arms.claim, claim, arms, endpoint, _all(verdicts), estimates, "; ".join(dict.fromkeys(lacking)))


def _estimate(
    methods: Methods, teacher: str, better: str, worse: str, endpoint: Endpoint
) -> tuple[Estimate | None, list[str]]:
    """better - worse, turned so that more is better, and what is lacking for a verdict."""
    absent = [arm for arm in (better, worse) if not methods.has(teacher, arm)]
    if absent:
        return None, [f"no run of {' and '.join(absent)} with the {teacher} teacher"]
    found = methods.difference(teacher, better, worse, endpoint.measure)
    if found is None:
        return None, [f"{endpoint.measure} of {better} and {worse} cannot be compared with the {teacher} teacher"]
    estimate = found.estimate if endpoint.higher else found.estimate.scaled(-1)
    wanted = methods.scale.protocol.runs
    short = [f"{estimate.runs} of {wanted} runs with the {teacher} teacher"] if estimate.runs < wanted else []
    return estimate, short


def _unsettled(methods: Methods, teacher: str, arms: tuple[str, ...], endpoint: Endpoint) -> list[str]:
    """Students whose primary endpoint, or that of the claim, still moves over the last quarter of their training."""
    measures = dict.fromkeys((ENDPOINT, endpoint.measure))
    return [
        f"{measure} of {arm} still moves with the {teacher} teacher"
        for arm in arms
        if arm not in UNTRAINED
        for measure in measures
        if not methods.gate(teacher, arm, measure).converged
    ]


def _unless_worthless(
    methods: Methods, teacher: str, better: str, worse: str, verdict: Verdict
) -> tuple[Verdict, list[str]]:
    """No credit for less luck to an arm that is simply wrong: its endpoint may be lower by the margin."""
    loss = methods.mean(teacher, worse, ENDPOINT) - methods.mean(teacher, better, ENDPOINT)
    if loss <= methods.margin:
        return verdict, []
    why = f"{better} varies less with the {teacher} teacher, but its endpoint is {loss:.1f} points lower"
    return Verdict.LAB_INCONCLUSIVE, [why]


def _both(results: dict[str, tuple[Estimate, Verdict]], methods: Methods, equal: bool) -> Verdict:
    """One verdict of both teachers."""
    if not equal:
        return combine_teachers(results, methods.scale.protocol.margin, methods.scale.protocol.runs)
    verdicts = {verdict for _, verdict in results.values()}
    if Verdict.NOT_CONVERGED in verdicts:
        return Verdict.NOT_CONVERGED
    return verdicts.pop() if len(results) == 2 and len(verdicts) == 1 else Verdict.LAB_INCONCLUSIVE


def _all(verdicts: list[Verdict]) -> Verdict:
    """A claim about several arms: it falls with one, and stands if all stand."""
    for decisive in (Verdict.NOT_CONVERGED, Verdict.LAB_CONTRADICTS):
        if decisive in verdicts:
            return decisive
    return Verdict.LAB_SUPPORTS if set(verdicts) == {Verdict.LAB_SUPPORTS} else Verdict.LAB_INCONCLUSIVE
