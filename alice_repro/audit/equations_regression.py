"""AVD Eqs. 3, 6, 7, 8 and 9: the score, the running mean, the adaptive weight, the temporal term, their sum.

Their LaTeX was put together from a damaged text, so what does not hold here is a matter for the PDF.
"""

from __future__ import annotations

import math

from alice_repro.audit.findings import Reading
from alice_repro.audit.latex import UnknownForm, canonical, group, right_side, sign_of, terms
from alice_repro.audit.outcome import Outcome
from alice_repro.papers import Paper

NEAR_ZERO = 0.05
TELLS_APART = 0.2


def value_of(paper: Paper, quantity: str) -> float:
    """A hyperparameter as the text prints it."""
    value = paper.quantity(quantity).quantity.value
    if value is None:
        raise UnknownForm(f"{quantity} has no single value")
    return value


def score_points_to_data(paper: Paper) -> Outcome:
    """Eq. 3 for data N(0, 1): x_t has variance v = alpha^2 + sigma^2, E[eps | x_t] = sigma x_t / v, score -x_t / v."""
    found = right_side(paper.equation("equation03").latex).partition("=")[2]
    sign = sign_of(terms(found), "\\epsilon_{\\theta}", "\\frac{1}{\\sigma_{t}}")
    errors = []
    for alpha, sigma in ((0.9, 0.3), (0.5, 0.5), (0.1, 0.95)):
        variance = alpha**2 + sigma**2
        predicted = sigma * 1.7 / variance
        errors.append(abs(sign * predicted / sigma + 1.7 / variance))
    holds = max(errors) < 1e-12
    return Outcome(
        "score",
        (Reading("data N(0, 1), three noise levels", f"off by {max(errors):.1g}", holds),),
        f"off by {max(errors):.1g}",
        "For Gaussian data, where prediction and score are known, the recorded formula "
        + ("is the gradient of the log density." if holds else "is not the gradient of the log density."),
    )


def mean_remembers(paper: Paper) -> Outcome:
    """Eq. 6 after a step of the loss from 0 to 1: a mean with that decay has taken up 1 - decay^n after n updates."""
    decay = value_of(paper, "ema-decay")
    weights = {"old": 0.0, "new": 0.0}
    for term, sign in terms(right_side(paper.equation("equation06").latex)).items():
        share = 1 - decay if term.startswith("(1-\\alpha)") else decay if term.startswith("\\alpha") else None
        if share is None:
            raise UnknownForm(f"weight of {term!r}")
        weights["old" if "bar" in term else "new"] += sign * share
    mean = 0.0
    updates = round(1 / (1 - decay))
    for _ in range(updates):
        mean = weights["old"] * mean + weights["new"]
    expected = 1 - decay**updates
    holds = abs(sum(weights.values()) - 1) < 1e-9 and abs(mean - expected) < 1e-9
    return Outcome(
        "running-mean",
        (Reading(f"decay {decay:g}, {updates} updates after a step", f"{mean:.3f} of the step", holds),),
        f"{mean:.3f} of a step after {updates} updates",
        f"An average with coefficient {decay:g} has taken up {expected:.3f} of a step after {updates} updates, and its "
        f"weights make up 1; the recorded update takes up {mean:.3f}, with weights that make up "
        f"{sum(weights.values()):.3g}.",
    )


def adaptive_weight(paper: Paper, deviation: float) -> float:
    """Eq. 7 at a deviation of the loss from its mean, with the signs that are recorded."""
    outer = terms(right_side(paper.equation("equation07").latex))
    term = next((term for term in outer if term.startswith("\\sigma(")), "")
    if not term or outer.get("1", 0) not in (0, 1) or not set(outer) <= {"1", term}:
        raise UnknownForm(f"terms {list(outer)}")
    inner = group(term.removeprefix("\\sigma"))[0]
    difference = terms(group(inner[inner.index("(") :])[0])
    order = sign_of(difference, "L_{s}")
    if sign_of(difference, "bar") != -order:
        raise UnknownForm(f"terms {list(difference)}")
    sigmoid = 1 / (1 + math.exp(-value_of(paper, "slope") * order * deviation))
    return outer.get("1", 0) + outer[term] * sigmoid


def weight_falls(paper: Paper) -> Outcome:
    """Eq. 7 falls with the deviation, and is 1/2 at the mean."""
    at = {x: adaptive_weight(paper, x) for x in (-0.8, -0.3, 0.0, 0.3, 0.8)}
    listed = ", ".join(f"{weight:.3f} at {x:+g}" for x, weight in at.items())
    values = list(at.values())
    falls = all(a > b for a, b in zip(values, values[1:], strict=False))
    half = abs(at[0.0] - 0.5) < 1e-9
    return Outcome(
        "weight",
        (Reading("falls with the deviation, and is 1/2 at the mean", listed, falls and half),),
        listed,
        f"The recorded weight is {listed}: "
        + ("it falls with the deviation" if falls else "it does not fall with the deviation")
        + (" and is 1/2 at the mean." if half else " and is not 1/2 at the mean."),
    )


def slope_is_a_compromise(paper: Paper) -> Outcome:
    """Eq. 7 with the printed slope: at the printed deviations of early training not near 0 (`NEAR_ZERO`), over those of
    late training still spread (`TELLS_APART`).
    """
    low, high, late = (value_of(paper, f"deviation-{name}") for name in ("low", "high", "late"))
    far = [adaptive_weight(paper, x) for x in (low, high)]
    spread = abs(adaptive_weight(paper, -late) - adaptive_weight(paper, late))
    computed = f"{far[0]:.3f} to {far[1]:.3f} for {low:g} to {high:g}; a spread of {spread:.3f} within ±{late:g}"
    return Outcome(
        "slope",
        (Reading("early and late in training", computed, min(far) > NEAR_ZERO and spread > TELLS_APART),),
        computed,
        f"With the printed slope {value_of(paper, 'slope'):g} the weight is {computed}; below {NEAR_ZERO:g} would be "
        f"close to 0, and a spread below {TELLS_APART:g} would hardly tell samples apart.",
        severity="minor",
    )


def small_losses_are_not_weighted(paper: Paper) -> Outcome:
    """Eq. 7 where losses are below the printed size: deviations are no larger, and slopes of 1 to 10 give about 1/2."""
    size = value_of(paper, "low-noise-loss")
    half = value_of(paper, "sigmoid-middle")
    off = max(abs(1 / (1 + math.exp(-slope * size)) - half) for slope in (1.0, 3.0, 10.0))
    return Outcome(
        "low-noise",
        (Reading(f"losses up to {size:g}, slopes 1 to 10", f"within {off:.3f} of {half:g}", off < NEAR_ZERO),),
        f"within {off:.3f} of {half:g}",
        f"Where losses are below {size:g}, so are their deviations, and the weight stays within {off:.3f} of {half:g} "
        "for any slope from 1 to 10.",
        severity="minor",
    )


def weight_is_normalised(paper: Paper) -> Outcome:
    """Eq. 9: the printed factor times the weight at the mean of Eq. 7 is 1."""
    factor = value_of(paper, "regression-weight")
    product = factor * adaptive_weight(paper, 0.0)
    return Outcome(
        "normalised",
        (Reading("w_reg times the weight at the mean", f"{product:.3g}", abs(product - 1) < 0.05),),
        f"{product:.3g}",
        f"A loss at its mean gets the weight {adaptive_weight(paper, 0.0):.3g}, times w_reg = {factor:g} that is "
        f"{product:.3g} (the text: approximately 1.0).",
        severity="minor",
    )


def temporal_loss_falls(paper: Paper) -> Outcome:
    """Eq. 8 over variances from 0.01 to 100: falls all the way, if the exponent (where there is one) is in the log."""
    text = right_side(paper.equation("equation08").latex)
    sign = -1 if text.startswith("-") else 1
    squared = text.endswith("^{2}")
    if "\\log" not in canonical(text):
        raise UnknownForm(f"no logarithm in {text!r}")
    variances = [10 ** (k / 4) for k in range(-8, 9)]
    forms = {"exponent inside of the logarithm" if squared else "as recorded": [math.log(v) for v in variances]}
    if squared:
        forms["no exponent: a mark of the damaged text"] = [math.log(v) for v in variances]
        forms["exponent on the logarithm"] = [math.log(v) ** 2 for v in variances]
    readings = []
    for name, logs in forms.items():
        falls = all(sign * a > sign * b for a, b in zip(logs, logs[1:], strict=False))
        readings.append(Reading(name, "falls with the variance" if falls else "does not always fall", falls))
    return Outcome(
        "temporal",
        tuple(readings),
        readings[0].computed,
        "Variances from 0.01 to 100: " + "; ".join(f"{r.name}: {r.computed}" for r in readings) + ".",
    )


def truncation_exceeds_teacher(paper: Paper) -> Outcome:
    """Eq. 8 as -log V: cut there, the student's variance is exp(teacher's loss - cut) times the teacher's."""
    teacher, cut = value_of(paper, "teacher-temporal-loss"), value_of(paper, "truncation")
    factor = math.exp(teacher - cut)
    return Outcome(
        "truncation",
        (Reading("cut below the teacher's value", f"{factor:.3g} times the teacher's variance", cut < teacher),),
        f"{factor:.3g} times the teacher's variance",
        f"The loss falls without end as the variance grows, so it has to be cut. Cut at {cut:g}, with {teacher:g} for "
        f"the teacher, it asks for {factor:.3g} times the teacher's variance over time: more motion than it has.",
        severity="minor",
    )
