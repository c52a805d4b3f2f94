"""Alice Eq. 6 and DFD Eqs. 3 to 10 and 12: gradients that match distributions, where all scores are Gaussian.

Data N(0, 1); a student G = m + s z with z ~ N(0, 1); noised by alpha and sigma, alpha^2 + sigma^2 = 1 (`LEVELS`).
Expectations are Gauss-Hermite sums, exact for the polynomials that occur. A student's spread changes by E[step z].
Of DFD the text lost the displays: what is run is what its words say.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from alice_repro.audit.findings import Reading
from alice_repro.audit.latex import UnknownForm, fraction, right_side, sign_of, terms, within_norm
from alice_repro.audit.outcome import Outcome
from alice_repro.papers import Paper

LEVELS = tuple((math.cos(angle), math.sin(angle)) for angle in (0.2, 0.5, 0.8, 1.1, 1.4))
SPREADS = (0.25, 0.5, 2.0, 4.0)
WEIGHTS = (0.25, 0.5, 1.0)
EXACT = 1e-9
_NODES, _MASSES = np.polynomial.hermite_e.hermegauss(12)
_MASSES = _MASSES / _MASSES.sum()


def mean(function: Callable[..., np.ndarray], variables: int) -> float:
    """Expectation over so many independent standard normal variables."""
    grids = np.meshgrid(*[_NODES] * variables)
    masses = np.prod(np.meshgrid(*[_MASSES] * variables), axis=0)
    return float((masses * function(*grids)).sum())


def clean(x: np.ndarray, spread: float, alpha: float, sigma: float) -> np.ndarray:
    """E[x_0 | x_t = x] for x_0 ~ N(0, spread^2)."""
    return alpha * spread**2 / (alpha**2 * spread**2 + sigma**2) * x


def score(x: np.ndarray, spread: float, alpha: float, sigma: float) -> np.ndarray:
    """Gradient of the log density of the noised N(0, spread^2)."""
    return -x / (alpha**2 * spread**2 + sigma**2)


def step_form(paper: Paper) -> tuple[int, bool]:
    """From Alice Eq. 6: the sign with which the student's prediction enters a sample's step, and whether that
    prediction carries the student's own parameters (f_theta) or those of another network.
    """
    outer = terms(within_norm(right_side(paper.equation("equation06").latex)))
    if sign_of(outer, "sg[") != -1:
        raise UnknownForm(f"target {list(outer)}")
    inside = terms(next(term for term in outer if term.startswith("sg["))[3:-1])
    step = next((term for term in inside if "\\frac" in term), "")
    predictions = terms(fraction(step)[1])
    sign_of(predictions, "f_{\\phi}")
    student = next((term for term in predictions if "f_{\\phi}" not in term), "")
    return inside[step] * predictions.get(student, 0), "f_{\\theta}" in student


def step(sign: int, spread: float, alpha: float, sigma: float, consistent: bool) -> float:
    """sign E[(f_theta - f_phi)(x_t) z]: how Alice Eq. 6 moves the spread of the student's samples.

    f_phi predicts the mean of clean data; f_theta that of the student's samples or, if `consistent`, the end of the
    path through x_t. On the teacher's paths x_t = x_0 here, so a student of that spread ends at spread x_t.
    """

    def move(z: np.ndarray, eps: np.ndarray) -> np.ndarray:
        x = alpha * spread * z + sigma * eps
        own = spread * x if consistent else clean(x, spread, alpha, sigma)
        return sign * (own - clean(x, 1.0, alpha, sigma)) * z

    return mean(move, 2)


def step_towards_teacher(paper: Paper) -> Outcome:
    """Alice Eq. 6 with f_theta the denoiser of the student's samples: the spread must move towards 1."""
    sign, _ = step_form(paper)
    right = [step(sign, s, *level, consistent=False) * (1 - s) > 0 for s in SPREADS for level in LEVELS]
    computed = f"towards the teacher's spread in {sum(right)} of {len(right)} cases"
    return Outcome(
        "direction",
        (Reading("f_θ as the denoiser of the student's own samples", computed, all(right)),),
        computed,
        f"Students from {SPREADS[0]:g} to {SPREADS[-1]:g} times as spread as the teacher, five noise levels: the "
        f"recorded step moves {computed}.",
    )


def step_rests_at_teacher(paper: Paper) -> Outcome:
    """Alice Eq. 6 at the perfect student, s = 1, which should not be moved.

    The network that Eq. 3 trains gives f_theta = s x_t against the teacher's alpha x_t: a step of (s - alpha) alpha s
    in the direction of z, on average 0 not at s = 1 but at s = E[alpha^2] / E[alpha] < 1. A denoiser of the student's
    samples gives 0 at s = 1.
    """
    sign, own = step_form(paper)
    alphas = np.array([alpha for alpha, _ in LEVELS])
    rest = float((alphas**2).mean() / alphas.mean())
    readings = []
    for name, consistent in (
        ("f_θ is the network that Eq. 3 trains", True),
        ("a denoiser of the student's samples", False),
    ):
        moved = max(abs(step(sign, 1.0, *level, consistent=consistent)) for level in LEVELS)
        computed = f"moves the perfect student by up to {moved:.2g}"
        if own or not consistent:
            readings.append(Reading(name, computed, moved < EXACT))
    return Outcome(
        "target",
        tuple(readings),
        readings[0].computed,
        "A student that equals the teacher should not be moved. "
        + (
            "The network that Eq. 3 trains predicts the end of a path, the teacher predicts a mean; their difference "
            f"is not 0 there, and samples shrink until {rest:.3f} of the teacher's spread. A network that denoises the "
            "student's own samples would leave them at rest; the text prints no such network, so a run has to show "
            "which is meant."
            if own
            else "With a network of its own that denoises the student's samples it is not."
        ),
        severity="minor",
        plain_first=True,
    )


def gradient_is_of_reverse_kl(paper: Paper) -> Outcome:
    """DFD Eq. 3: E[(s_fake - s_real)(G) dG] against d/dm and d/ds of KL = (s^2 + m^2 - 1)/2 - log s: m and s - 1/s."""
    errors = []
    for m, s in ((0.7, 0.5), (-1.0, 2.0)):

        def gap(z: np.ndarray, m: float = m, s: float = s) -> np.ndarray:
            return -z / s + m + s * z

        errors += [abs(mean(gap, 1) - m), abs(mean(lambda z, f=gap: f(z) * z, 1) - (s - 1 / s))]
    return _exact("reverse-kl", "two Gaussian students", max(errors), "the gradient of the reverse KL divergence")


def no_signal_for_a_dropped_mode(paper: Paper) -> Outcome:
    """DFD Eq. 3: data half N(-4, 1/4), half N(4, 1/4); a student N(-4, 1/4) has no gradient in its mean."""
    x = -4 + 0.5 * _NODES
    other = 1 / (1 + np.exp(((x - 4) ** 2 - (x + 4) ** 2) / 0.5))
    real = -((1 - other) * (x + 4) + other * (x - 4)) / 0.25
    signal = abs(float((_MASSES * (-(x + 4) / 0.25 - real)).sum()))
    return Outcome(
        "dropped-mode",
        (Reading("two modes eight apart, the student on one", f"gradient {signal:.1g}", signal < 1e-6),),
        f"gradient {signal:.1g}",
        f"Half of the data lie where the student has no samples; the gradient of its mean is {signal:.1g}.",
    )


def discrepancy(spread: float, alpha: float, sigma: float) -> float:
    """E[Delta] of DFD Eq. 5 for a student of that spread."""

    def gap(x: np.ndarray, z: np.ndarray, e: np.ndarray) -> np.ndarray:
        real, student = alpha * x + sigma * e, alpha * spread * z + sigma * e
        return score(real, 1, alpha, sigma) - score(student, 1, alpha, sigma)

    return mean(gap, 3)


def discrepancy_vanishes(paper: Paper) -> Outcome:
    """DFD Eqs. 5 and 12: E[s_real(x_t) - s_real(G_t)] at the perfect student, x and G drawn independently."""
    error = max(abs(discrepancy(1.0, *level)) for level in LEVELS)
    return _exact("zero-mean", "independent draws, five noise levels", error, "0 on average at the perfect student")


def discrepancy_follows_gap(paper: Paper) -> Outcome:
    """DFD Eq. 6 on data half N(-1, 1/4), half N(1, 1/4): discrepancy over gap settles as the gap shrinks."""

    def mixture(x: float) -> float:
        upper = 1 / (1 + math.exp(-8 * x))
        return -((1 - upper) * (x + 1) + upper * (x - 1)) / 0.25

    quotients = [(mixture(0.3 + gap) - mixture(0.3)) / gap for gap in (1e-3, 1e-4, 1e-5)]
    error = abs(quotients[2] - quotients[1]) / abs(quotients[2])
    return _exact("first-order", "gaps of 0.001 to 0.00001", error, "proportional to the gap, to leading order", 1e-2)


def condition_bounds_variance(paper: Paper) -> Outcome:
    """DFD Eq. 7: E|Delta|^2 is at most alpha^2 L^2 E|x - G|^2; a Gaussian's score is linear, here with L = 1."""
    excess = []
    for a, s in LEVELS:
        squared = mean(
            lambda x, z, e, a=a, s=s: (score(a * x + s * e, 1, a, s) - score(a * z + s * e, 1, a, s)) ** 2, 3
        )
        excess.append(squared - a**2 * mean(lambda x, z: (x - z) ** 2, 2))
    return _exact("bound", "independent draws, five noise levels", max(0.0, *excess), "within the bound by the gap")


def regulariser_cancels(paper: Paper) -> Outcome:
    """DFD Eqs. 4 and 8: the DMD gradient less the discrepancy leaves the fake score at G less the real score at x."""
    errors = []
    for a, s in LEVELS:
        for spread in SPREADS:

            def both(x: np.ndarray, z: np.ndarray, e: np.ndarray, a=a, s=s, spread=spread) -> np.ndarray:
                g, r = a * spread * z + s * e, a * x + s * e
                matching = score(g, spread, a, s) - score(g, 1, a, s)
                discrepancy = score(r, 1, a, s) - score(g, 1, a, s)
                return (matching - discrepancy - (score(g, spread, a, s) - score(r, 1, a, s))) * z

            errors.append(abs(mean(both, 3)))
    return _exact("cancels", "four students, five noise levels", max(errors), "what is left after the cancellation")


def choice_matches_mixture(paper: Paper) -> Outcome:
    """DFD Eqs. 9 and 10: one of two gradients with chance w has the expectation of their mixture with weight w."""
    pairs = [gradients(s, *level) for s in SPREADS for level in LEVELS]
    error = max(abs(sum(p * g for p, g in ((1 - w, d), (w, f))) - (d + w * (f - d))) for d, f in pairs for w in WEIGHTS)
    return _exact(
        "expectation", "four students, five noise levels, three weights", error, "the mixture, in expectation"
    )


def gradients(spread: float, alpha: float, sigma: float) -> tuple[float, float]:
    """DMD's and DFD's gradient of the spread, in scores, real clips drawn independently of z."""

    def matching(x: np.ndarray, z: np.ndarray, e: np.ndarray, forced: bool = False) -> np.ndarray:
        g = alpha * spread * z + sigma * e
        teacher = alpha * x + sigma * e if forced else g
        return (score(g, spread, alpha, sigma) - score(teacher, 1, alpha, sigma)) * z

    return mean(matching, 3), mean(lambda x, z, e: matching(x, z, e, forced=True), 3)


def resting_spreads(weight: float, alpha: float, sigma: float) -> tuple[float, float]:
    """Where the mixture of both gradients leaves the spread: in scores, and in differences of clean predictions.

    The teacher's term at a real clip is independent of z and adds nothing to E[. z]. In scores: s/(a^2 s^2 + b^2) =
    (1 - w) s/(a^2 + b^2), so s^2 = ((a^2 + b^2)/(1 - w) - b^2)/a^2, without end for w = 1. In clean predictions:
    s^2/(a^2 s^2 + b^2) = (1 - w)/(a^2 + b^2), so s^2 = (1 - w) b^2/(a^2 + b^2 - (1 - w) a^2).
    """
    a, b, keep = alpha**2, sigma**2, 1 - weight
    wide = math.sqrt(((a + b) / keep - b) / a) if keep else math.inf
    return wide, math.sqrt(keep * b / (a + b - keep * a))


def mixture_rests_at_data(paper: Paper) -> Outcome:
    """DFD Appendix A.1: a zero mean of Delta is not a zero gradient, since Delta meets dG, and both depend on z.

    At the perfect student E[Delta dG/ds] = -alpha E[s_real(G_t) z] is not 0, while E[Delta] is 0 for every spread, not
    only for the right one. The update that mixes DMD and DFD rests where `resting_spreads` says, never at 1.
    """
    alpha, sigma = LEVELS[2]
    matching, forced = gradients(1.0, alpha, sigma)
    wide, narrow = resting_spreads(0.5, alpha, sigma)
    all_spreads = [resting_spreads(w, *level) for w in WEIGHTS for level in LEVELS]
    at_rest = abs(matching) < EXACT and abs(forced) < EXACT
    elsewhere = min(abs(discrepancy(s, *level)) for s in SPREADS for level in LEVELS)
    readings = (
        Reading("gradient of the spread at the perfect student", f"DMD {abs(matching):.1g}, DFD {forced:.3f}", at_rest),
        Reading(
            "resting point in scores, as the words say",
            f"{wide:.3f} times the spread of the data at equal weights",
            all(abs(w - 1) < EXACT for w, _ in all_spreads),
        ),
        Reading(
            "resting point in differences of clean predictions",
            f"{narrow:.3f} times the spread of the data at equal weights",
            all(abs(n - 1) < EXACT for _, n in all_spreads),
        ),
        Reading("vanishing precisely at the right student", f"{elsewhere:.1g} at a wrong one", elsewhere > EXACT),
        Reading("the student's mean alone, at any spread", "at rest at the data's mean", True, admissible=False),
        Reading("real clips that equal the student's; the proof draws them independently", "at rest", True, False),
    )
    return Outcome(
        "unbiased-at-optimum",
        readings,
        f"at rest at {wide:.3f} or {narrow:.3f} of the data's spread, not at 1",
        "The proof shows that the discrepancy is 0 on average; the regulariser's gradient is the average of the "
        "discrepancy times the generator's Jacobian, and both depend on the same noise z. For Gaussian data and a "
        f"perfect student it is {forced:.3f} for the spread, not 0, and equal weights of both gradients rest at "
        f"{wide:.3f} times the data's spread (in scores) or {narrow:.3f} times (in clean predictions); no weight or "
        "noise level rests at 1. Nor does the discrepancy vanish precisely at the right student: it is 0 on average "
        "for a student of any spread.",
    )


def _exact(thing: str, name: str, error: float, what: str, tolerance: float = EXACT) -> Outcome:
    holds = error < tolerance
    computed = f"off by {error:.1g}"
    text = f"Where all is known exactly ({name}), it {'is' if holds else 'is not'} {what} ({computed})."
    return Outcome(thing, (Reading(name, computed, holds),), computed, text)
