"""Equations of the papers, run in small closed cases and compared with what the text says of them.

The argument. Where data are Gaussian, or a network is a single number, everything that a formula names is known
exactly: scores, consistency functions, resting points. If the text says that a loss reaches something, or that a
gradient vanishes somewhere, it must do so there. Each check is a pure function whose docstring is the derivation.

A check runs while the record says what it tests (`words` in what the text says, or in a claim's quote), reads signs,
exponents and terms from the recorded LaTeX, and gives way to "not testable here" where it cannot read it. Not read are
the meanings of symbols, and all of DFD, whose displays the text lost: there the words are run. Where the record marks
a formula as damaged, nothing above "check the PDF" comes out. These are the only rules that name a paper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from alice_repro.audit import equations_consistency as consistency
from alice_repro.audit import equations_distribution as distribution
from alice_repro.audit import equations_regression as regression
from alice_repro.audit.findings import CHECK_PDF, INCONSISTENT, NOT_TESTABLE, Finding, Reading, Record, graded, judge
from alice_repro.audit.latex import UnknownForm
from alice_repro.audit.outcome import Outcome
from alice_repro.errors import UserError
from alice_repro.papers import Equation, Paper


@dataclass(frozen=True)
class Check:
    """What is run when a document's equation, or claim, says these words."""

    document: str
    subject: str
    words: str
    run: Callable[[Paper], Outcome]


CHECKS = (
    Check("alice", "equation03", "self-consistency", consistency.loss_reaches_consistency),
    Check("alice", "equation03", "numerical stability", consistency.normaliser_is_stable),
    Check("alice", "equation05", "chain rule", consistency.derivative_is_total),
    Check("alice", "equation06", "moves generated samples", distribution.step_towards_teacher),
    Check("alice", "equation06", "more teacher-like", distribution.step_rests_at_teacher),
    Check("alice", "equation09", "the tangent of the attention output, H = P ⊙ t_S", consistency.tangent_is_derivative),
    Check("alice", "equation09", "no materialization", consistency.tangent_streams),
    Check("avd", "equation03", "toward high-density", regression.score_points_to_data),
    Check("avd", "equation06", "exponential moving average", regression.mean_remembers),
    Check("avd", "equation07", "lower weights for larger deviations", regression.weight_falls),
    Check("avd", "equation07", "still discriminates", regression.slope_is_a_compromise),
    Check("avd", "equation07", "0.5 where the loss is near its mean", regression.small_losses_are_not_weighted),
    Check("avd", "equation08", "a larger variance gives a lower loss", regression.temporal_loss_falls),
    Check("avd", "equation08", "truncated", regression.truncation_exceeds_teacher),
    Check("avd", "equation09", "w_reg", regression.weight_is_normalised),
    Check("dfd", "equation03", "the fake score minus the teacher's score", distribution.gradient_is_of_reverse_kl),
    Check("dfd", "equation03", "no signal where the student drops a mode", distribution.no_signal_for_a_dropped_mode),
    Check("dfd", "equation05", "zero in expectation", distribution.discrepancy_vanishes),
    Check("dfd", "equation06", "proportional to the gap", distribution.discrepancy_follows_gap),
    Check("dfd", "equation07", "bounded", distribution.condition_bounds_variance),
    Check("dfd", "equation08", "cancels the teacher's score", distribution.regulariser_cancels),
    Check("dfd", "equation10", "in expectation", distribution.choice_matches_mixture),
    Check("dfd", "equation12", "zero in expectation", distribution.discrepancy_vanishes),
    Check("dfd", "unbiased-at-optimum", "does not bias convergence", distribution.mixture_rests_at_data),
)


def check(record: Record) -> Iterator[Finding]:
    """Every check of the record's equations and claims, then the damaged equations that nothing was run on."""
    for document in record.documents:
        run = set()
        for one in (one for one in CHECKS if one.document == document.id):
            subject = _subject(document, one.subject)
            if subject is not None and one.words in subject.said:
                run.add(one.subject)
                yield _run(document, one, subject)
        yield from (_damaged(document, e) for e in document.equations if e.damaged and e.id not in run)


@dataclass(frozen=True)
class Subject:
    """What is checked. said: what the text says of it; shown: the formula or the sentence."""

    place: str
    said: str
    shown: str
    quote: str
    damaged: str


def _subject(document: Paper, name: str) -> Subject | None:
    """The equation or the claim of that id; None where the record has none."""
    for e in document.equations:
        if e.id == name:
            return Subject(e.place, e.says, e.latex or e.says, e.latex, e.damaged)
    for claim in document.claims:
        if claim.id == name:
            return Subject(claim.place, claim.quote, claim.quote, claim.quote, "")
    return None


def _run(document: Paper, one: Check, subject: Subject) -> Finding:
    try:
        outcome = one.run(document)
        verdict = judge(outcome.readings, INCONSISTENT, subject.damaged, outcome.plain_first)
    except (UnknownForm, UserError) as error:
        name = one.run.__name__.replace("_", "-")
        outcome = Outcome(name, (), "not computed", f"The check cannot read the record: {error}.")
        verdict = NOT_TESTABLE
    damaged = f" The text is damaged here: {subject.damaged}." if subject.damaged and verdict == CHECK_PDF else ""
    thing = outcome.thing if outcome.thing == one.subject else f"{one.subject}.{outcome.thing}"
    return Finding(
        id=f"{document.id}.equations.{thing}",
        paper=document.id,
        place=subject.place,
        quote=subject.quote,
        rule="equations.closed-form",
        printed=subject.shown if subject.shown == subject.said else f"{subject.shown} (said of it: {subject.said})",
        computed=outcome.computed,
        readings=outcome.readings,
        verdict=verdict,
        severity=graded(verdict, outcome.severity),
        explanation=f"Tested: {one.words}. {outcome.explanation}{damaged}",
    )


def _damaged(document: Paper, equation: Equation) -> Finding:
    return Finding(
        id=f"{document.id}.equations.{equation.id}.damaged",
        paper=document.id,
        place=equation.place,
        quote=equation.latex,
        rule="equations.damaged",
        printed=equation.latex or equation.says,
        computed="not computed",
        readings=(Reading("as printed", "not computed", False),),
        verdict=CHECK_PDF,
        severity="note",
        explanation=f"Nothing was run on this equation: {equation.damaged}.",
    )
