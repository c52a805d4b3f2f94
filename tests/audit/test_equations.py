"""Each check of an equation with the record as shipped, corrected, and at fault; the closed forms by hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from alice_repro.audit import equations_distribution as distribution
from alice_repro.audit.equations import check
from alice_repro.audit.equations_consistency import distance_to_consistency
from alice_repro.audit.findings import CHECK_PDF, CONSISTENT, INCONSISTENT, NEEDS_A_RUN, NOT_TESTABLE, Finding, Record
from alice_repro.audit.latex import UnknownForm, canonical, fraction, right_side, sign_of, terms, within_norm
from alice_repro.papers import Equation, Paper, load_paper


def entries(paper: Paper) -> dict[str, Finding]:
    return {entry.id.partition(".equations.")[2]: entry for entry in check(Record((paper,)))}


def edited(paper: str, equation: str, edit: Callable[[Equation], Equation]) -> dict[str, Finding]:
    document = load_paper(paper)
    equations = tuple(edit(e) if e.id == equation else e for e in document.equations)
    assert equations != document.equations
    return entries(replace(document, equations=equations))


def with_latex(paper: str, equation: str, old: str, new: str) -> dict[str, Finding]:
    return edited(paper, equation, lambda e: replace(e, latex=e.latex.replace(old, new)))


def test_latex_features():
    assert canonical(r"\mathbf{P}\,\mathbf{t}_{V}+\underbrace{\left(a\right)b}_{\text{x}}") == "Pt_{V}+(a)b"
    assert right_side(r"a = b + f(c, d),\quad g = h") == "b+f(c,d)"
    assert terms("-a+(b-c)d-\\frac{e-f}{g}") == {"a": -1, "(b-c)d": 1, "\\frac{e-f}{g}": -1}
    assert within_norm(r"w\|a-\frac{g}{\|g\|+c}\|_{2}") == r"a-\frac{g}{\|g\|+c}"
    assert fraction(r"k\frac{a}{b}") == ("k", "a", "b")
    with pytest.raises(UnknownForm, match="2 terms"):
        sign_of({"ab": 1, "ac": -1}, "a")
    with pytest.raises(UnknownForm, match="no norm"):
        within_norm("a+b")


def test_consistency_loss_as_printed_leaves_the_consistency_function():
    found = entries(load_paper("alice"))["equation03.converges"]
    assert (found.verdict, found.severity) == (INCONSISTENT, "major")
    assert [reading.holds for reading in found.readings] == [False, False, True]


@pytest.mark.parametrize(
    ("equation", "old", "new"),
    [("equation03", r"-\frac{\mathbf{g}}", r"+\frac{\mathbf{g}}"), ("equation04", r"\mathbf{g}=w", r"\mathbf{g}=-w")],
)
def test_consistency_loss_with_its_sign_corrected_holds(equation, old, new):
    assert with_latex("alice", equation, old, new)["equation03.converges"].verdict == CONSISTENT


def test_normaliser_follows_the_recorded_exponent():
    assert entries(load_paper("alice"))["equation03.normaliser"].verdict == NEEDS_A_RUN
    corrected = with_latex("alice", "equation03", r"\|\mathbf{g}\|_{2}^{2}+c", r"\|\mathbf{g}\|_{2}+c")
    assert corrected["equation03.normaliser"].verdict == CONSISTENT
    assert corrected["equation03.converges"].verdict == INCONSISTENT  # the sign is another matter


@pytest.mark.parametrize("power", [1, 2])
def test_distance_to_consistency_by_hand(power):
    # one update with theta^- = theta: theta + d rate theta / (theta^p + c), theta = 1/2
    one = 0.5 - 0.01 * 0.5 / (0.5**power + 1)
    ratio = distance_to_consistency(-1, power, 1.0, 0.01, 0.0)
    assert ratio < (one / 0.5) ** 100  # 400 updates, each at least as strong
    assert distance_to_consistency(+1, power, 1.0, 0.01, 0.0) > 1


def test_chain_rule_needs_both_terms_and_their_signs():
    assert entries(load_paper("alice"))["equation05.chain-rule"].verdict == CONSISTENT
    wrong = with_latex("alice", "equation05", r"+\underbrace{\partial_{t}", r"-\underbrace{\partial_{t}")
    assert wrong["equation05.chain-rule"].verdict == INCONSISTENT


def test_tangent_of_attention_needs_every_term_and_sign():
    assert entries(load_paper("alice"))["equation09.tangent"].verdict == CONSISTENT
    for old, new in (("-\\operatorname{diag}", "+\\operatorname{diag}"), (r"\mathbf{P}\mathbf{t}_{V}+", "")):
        assert with_latex("alice", "equation09", old, new)["equation09.tangent"].verdict == INCONSISTENT


def test_score_distillation_points_to_the_teacher_unless_a_sign_is_flipped():
    found = entries(load_paper("alice"))
    assert found["equation06.direction"].verdict == CONSISTENT
    assert (found["equation06.target"].verdict, found["equation06.target"].severity) == (NEEDS_A_RUN, "minor")
    flipped = with_latex("alice", "equation06", r"\mathbf{x}_{0}-\eta", r"\mathbf{x}_{0}+\eta")
    assert flipped["equation06.direction"].verdict == INCONSISTENT
    swapped = edited(
        "alice",
        "equation06",
        lambda e: replace(
            e,
            latex=e.latex.replace(r"\frac{\mathbf{f}_{\theta}", r"\frac{\mathbf{f}_{?}", 1)
            .replace(r"-\mathbf{f}_{\phi}(\mathbf{x}_{t},t)}{", r"-\mathbf{f}_{\theta}(\mathbf{x}_{t},t)}{", 1)
            .replace("?", r"\phi"),
        ),
    )
    assert swapped["equation06.direction"].verdict == INCONSISTENT


def test_score_distillation_with_a_network_of_its_own_rests_at_the_teacher():
    own = with_latex("alice", "equation06", r"\frac{\mathbf{f}_{\theta}", r"\frac{\mathbf{f}_{\psi}")
    assert own["equation06.target"].verdict == CONSISTENT
    assert own["equation06.direction"].verdict == CONSISTENT


def test_step_by_hand():
    alpha, sigma = 0.6, 0.8
    assert distribution.step(1, 2.0, alpha, sigma, consistent=True) == pytest.approx((2 - alpha) * alpha * 2)
    mean = alpha * 4 / (alpha**2 * 4 + sigma**2)
    assert distribution.step(-1, 2.0, alpha, sigma, consistent=False) == pytest.approx(-(mean - alpha) * alpha * 2)


def test_form_that_cannot_be_read_is_not_judged():
    found = edited("alice", "equation03", lambda e: replace(e, latex=r"\mathcal{L}=\int f"))
    verdicts = {name: entry.verdict for name, entry in found.items() if name.startswith("equation03")}
    assert set(verdicts.values()) == {NOT_TESTABLE}
    assert len(verdicts) == 2


def test_finding_goes_when_the_text_no_longer_says_it():
    assert "equation03.converges" not in edited("alice", "equation03", lambda e: replace(e, says="a loss"))
    document = load_paper("dfd")
    without = replace(document, claims=tuple(c for c in document.claims if c.id != "unbiased-at-optimum"))
    assert "unbiased-at-optimum" in entries(document)
    assert "unbiased-at-optimum" not in entries(without)


def test_avd_holds_as_recorded_and_faults_in_damaged_text_are_for_the_pdf():
    found = entries(load_paper("avd"))
    assert {entry.verdict for name, entry in found.items() if not name.endswith("damaged")} == {CONSISTENT}
    planted = {
        "equation03.score": ("equation03", "=-\\frac", "=\\frac"),
        "equation06.running-mean": ("equation06", r"=\alpha\bar", r"=(1-\alpha)\bar"),
        "equation07.weight": ("equation07", r"=1-\sigma", r"=\sigma"),
        "equation08.temporal": ("equation08", r"=-\log", r"=\log"),
    }
    for name, (equation, old, new) in planted.items():
        entry = with_latex("avd", equation, old, new)[name]
        assert (entry.verdict, entry.severity) == (CHECK_PDF, "note"), name


def test_the_same_fault_in_undamaged_text_is_an_inconsistency():
    def fault(e: Equation) -> Equation:
        return replace(e, damaged="", latex=e.latex.replace(r"=1-\sigma", r"=\sigma"))

    assert edited("avd", "equation07", fault)["equation07.weight"].verdict == INCONSISTENT


def test_slope_and_factor_follow_the_printed_numbers():
    document = load_paper("avd")

    def printed(name: str, value: float) -> dict[str, Finding]:
        quantities = tuple(
            replace(q, quantity=replace(q.quantity, value=value)) if q.id == name else q for q in document.quantities
        )
        return entries(replace(document, quantities=quantities))

    assert printed("slope", 30.0)["equation07.slope"].verdict == CHECK_PDF  # 1e-8 at 0.6
    assert printed("slope", 0.1)["equation07.slope"].verdict == CHECK_PDF  # hardly falls
    assert printed("regression-weight", 1.0)["equation09.normalised"].verdict == CHECK_PDF


def test_dfd_words_hold_but_for_the_bias():
    found = entries(load_paper("dfd"))
    run = {name: entry for name, entry in found.items() if not name.endswith("damaged")}
    assert {name for name, entry in run.items() if entry.verdict != CONSISTENT} == {"unbiased-at-optimum"}
    assert (run["unbiased-at-optimum"].verdict, run["unbiased-at-optimum"].severity) == (INCONSISTENT, "major")
    assert all(entry.verdict == CHECK_PDF for name, entry in found.items() if name.endswith("damaged"))


@pytest.mark.parametrize("level", distribution.LEVELS)
@pytest.mark.parametrize("weight", [0.25, 0.5])
def test_resting_spreads_are_zeros_of_the_mixed_gradients(weight, level):
    alpha, sigma = level
    wide, narrow = distribution.resting_spreads(weight, alpha, sigma)
    matching, forced = distribution.gradients(wide, alpha, sigma)
    assert (1 - weight) * matching + weight * forced == pytest.approx(0, abs=1e-12)
    own = distribution.mean(lambda z, e: distribution.clean(alpha * narrow * z + sigma * e, narrow, *level) * z, 2)
    teacher = distribution.mean(lambda z, e: distribution.clean(alpha * narrow * z + sigma * e, 1.0, *level) * z, 2)
    assert own - (1 - weight) * teacher == pytest.approx(0, abs=1e-12)
    assert narrow < 1 < wide
    assert distribution.resting_spreads(0.0, alpha, sigma) == pytest.approx((1, 1))  # DMD alone rests at the data


def test_gaussian_sums_are_exact():
    assert distribution.mean(lambda x: x**4, 1) == pytest.approx(3)
    assert distribution.mean(lambda x, y: (x + y) ** 2, 2) == pytest.approx(2)
    x = np.linspace(-2, 2, 9)
    slope = np.gradient(-(x**2) / (2 * (0.36 * 4 + 0.64)), x)[1:-1]
    assert distribution.score(x, 2.0, 0.6, 0.8)[1:-1] == pytest.approx(slope)


def test_all_equations_in_half_a_second():
    records = [Record((load_paper(paper),)) for paper in ("alice", "avd", "dfd")]
    start = time.process_time()
    assert all(list(check(record)) for record in records)
    assert time.process_time() - start < 0.5
