"""Claims of the papers judged by a comparison: a verdict for each, by the rules of `alice_repro.verdicts`."""

from __future__ import annotations

from dataclasses import dataclass

from alice_repro.config import ClaimInArms
from alice_repro.errors import UserError
from alice_repro.papers import Claim, load_paper
from alice_repro.reporting.arms import FULL, SHORT
from alice_repro.reporting.comparison import ENDPOINTS, Endpoint, Methods
from alice_repro.reporting.render import points
from alice_repro.statistics import Estimate
from alice_repro.verdicts import Verdict, combine_teachers, equivalence_verdict, superiority_verdict


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
        return f"{self.name}: {self.arms.better} {sign} {', '.join(self.arms.worse)} on {self.endpoint.label}: " + (
            f"{self.verdict}" + (f" ({self.reason})" if self.reason else "")
        )


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
    endpoint, known = ENDPOINTS[claim.endpoint], {*methods.comparison.arms, FULL, SHORT}
    if not {arms.better, *arms.worse} <= known:
        raise UserError(f"claim {arms.claim} speaks of an arm that the comparison does not have")
    verdicts, estimates, lacking = [], {}, []
    for worse in arms.worse:
        results = {}
        for teacher in methods.teachers:
            there = {*methods.arms(teacher), FULL, SHORT}
            absent = [arm for arm in (arms.better, worse) if arm not in there]
            found = None if absent else methods.difference(teacher, arms.better, worse, endpoint.measure)
            if found is None:
                lacking.append(f"no run of {' and '.join(absent) or worse} with the {teacher} teacher")
                continue
            estimate = found.estimate if endpoint.higher else found.estimate.scaled(-1)
            estimates[worse, teacher] = estimate
            moved = [arm for arm in (arms.better, worse) if arm in methods.arms(teacher)]
            unsettled = [arm for arm in moved if not methods.gate(teacher, arm).converged]
            lacking += [f"{arm} still moves with the {teacher} teacher" for arm in unsettled]
            rule = equivalence_verdict if arms.equal else superiority_verdict
            protocol = methods.scale.protocol
            results[teacher] = estimate, rule(estimate, protocol.margin, protocol.runs, not unsettled)
            if estimate.runs < protocol.runs:
                lacking.append(f"{estimate.runs} of {protocol.runs} runs with the {teacher} teacher")
        verdicts.append(_both(results, methods, arms.equal))
    return Judged(arms.claim, claim, arms, endpoint, _all(verdicts), estimates, "; ".join(dict.fromkeys(lacking)))


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


def interval(estimate: Estimate) -> str:
    """For print: "+3.1 [-0.2, +6.4]"."""
    if estimate.low != estimate.low:
        return f"{points(estimate.value, sign=True)} [no interval]"
    return (
        f"{points(estimate.value, sign=True)} [{points(estimate.low, sign=True)}, {points(estimate.high, sign=True)}]"
    )
