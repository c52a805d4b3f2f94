"""Alice Eqs. 3, 4, 5 and 9: the consistency loss, its derivative along the ODE, and the tangent of attention.

Signs, the normaliser's exponent and the terms present are read from the recorded LaTeX; what the symbols mean is not.
"""

from __future__ import annotations

import math

import numpy as np

from alice_repro.audit.findings import Reading
from alice_repro.audit.latex import UnknownForm, fraction, right_side, sign_of, terms, within_norm
from alice_repro.audit.outcome import Outcome
from alice_repro.papers import Paper

SMALL = (1e-4, 1e-2)
LARGE = (0.1, 1.0)
RATES = (1e-3, 1e-2, 1e-1)
UPDATES = 400


def consistency_form(paper: Paper) -> tuple[int, int]:
    """From Eqs. 3 and 4: direction of the target along dF/dt (+1 or -1), and the exponent of the norm below g."""
    residual = terms(within_norm(right_side(paper.equation("equation03").latex)))
    sign = sign_of(residual, "\\frac{g}") * sign_of(residual, "F_{\\theta}")
    term = next(term for term in residual if "\\frac{g}" in term)
    below = fraction(term)[2]
    if "\\|g\\|" not in below:
        raise UnknownForm(f"no norm of g in {below!r}")
    derivative = terms(right_side(paper.equation("equation04").latex))
    return -sign * sign_of(derivative, "\\frac{dF"), 2 if "^{2}" in below else 1


def distance_to_consistency(direction: int, power: int, c: float, rate: float, decay: float) -> float:
    """|theta| after `UPDATES` gradient steps on Eq. 3, over its start: 0 is the consistency function.

    Data N(0, 1) and alpha^2 + sigma^2 = 1: the ODE's velocity is 0, x_t stays x_0, the consistency function is F = x.
    Student F(x, t) = (1 + theta t) x, exact at t = 0, so dF/dt = theta x, and theta = 0 is the one consistent student.
    At x = 1 the loss is E_t |(theta - theta^-) t - d n|^2 with n = theta^- / (|theta^-|^p + c), d the direction and
    theta^- in the place of a constant; its gradient is 2 E_t[t ((theta - theta^-) t - d n)].
    """
    start = theta = average = 0.5
    for _ in range(UPDATES):
        normal = average / (abs(average) ** power + c)
        theta -= rate * 2 * ((theta - average) / 3 - direction * normal / 2)  # E[t^2] = 1/3, E[t] = 1/2
        average = decay * average + (1 - decay) * theta
    return abs(theta) / start


def loss_reaches_consistency(paper: Paper) -> Outcome:
    """Eq. 3 moves F to its target F^- + d g/(|g|^p + c), where g is the change of F along the ODE, away from the data.

    Self-consistency carries the known value at t = 0 outward: the target at t is the value a little before,
    F - dt dF/dt, so d must be -1. With d = +1 every step enlarges dF/dt. In sCM the sign is + because its F is a
    network inside f = cos(t) x - sin(t) F; this text defines F as the prediction of the clean data itself.
    """
    direction, power = consistency_form(paper)

    def best(way: int, sizes: tuple[float, ...], decay: float) -> float:
        return min(distance_to_consistency(way, power, c, rate, decay) for c in sizes for rate in RATES)

    def reading(name: str, left: float, admissible: bool = True) -> Reading:
        return Reading(name, f"{left:.3g} of the starting distance is left", left < 0.1, admissible)

    readings = (
        reading("F predicts the clean data, any c and learning rate, θ⁻ = θ", best(direction, SMALL + LARGE, 0.0)),
        reading("the same with an average over ten updates for θ⁻", best(direction, SMALL + LARGE, 0.9)),
        reading("F as the network inside f = cos(t) x - sin(t) F", best(-direction, SMALL + LARGE, 0.0), False),
    )
    moves = "along" if direction > 0 else "against"
    return Outcome(
        "converges",
        readings,
        readings[0].computed,
        f"As recorded, the target of F moves {moves} its derivative on the way to noise. Data N(0, 1), where the "
        f"consistency function is known, and a student that differs from it by one number: after {UPDATES} updates "
        f"with the best of {len(RATES)} learning rates and {len(SMALL + LARGE)} values of c, {readings[0].computed}. "
        + (
            "The loss reaches the consistency function."
            if readings[0].holds
            else "The loss drives the student away from the consistency function; a target against the derivative "
            "would be needed where F predicts the clean data."
        ),
    )


def normaliser_is_stable(paper: Paper) -> Outcome:
    """Largest step of the target: sup over g of |g| / (|g|^p + c) is below 1 for p = 1 and 1/(2 sqrt c) for p = 2.

    For p = 2 it is taken at |g| = sqrt c, and large tangents give steps of 1/|g|: smallest where F is most wrong.
    """
    _, power = consistency_form(paper)
    sizes = (*reversed(SMALL), *LARGE)
    steps = {c: 1.0 if power == 1 else 1 / (2 * math.sqrt(c)) for c in sizes}
    readings = tuple(
        Reading(f"c = {c:g}" + ("" if c in SMALL else ", not small"), f"step up to {steps[c]:.3g}", steps[c] <= 1)
        for c in sizes
    )
    return Outcome(
        "normaliser",
        readings,
        f"with c = {SMALL[1]:g} up to {steps[SMALL[1]]:.3g} for data of unit size",
        f"The target lies at most {'1' if power == 1 else '1/(2√c)'} from F⁻, in units of data of unit variance. "
        + (
            "That stays bounded as c becomes small."
            if power == 1
            else "The smaller c, the larger the step, just where the derivative is about to vanish; a c that bounds it "
            "by 1 is not small. The text prints no value of c, so a run has to show which."
        ),
        severity="minor",
        plain_first=True,
    )


def derivative_is_total(paper: Paper) -> Outcome:
    """Eq. 5 on F = sin(x) exp(-t) + t x^2 along dx/dt = -t x, whose path is x = x0 exp(-t^2/2)."""
    found = terms(right_side(paper.equation("equation05").latex))
    space, time = sign_of(found, "\\nabla", "v_{\\phi}"), sign_of(found, "\\partial_{t}")

    def value(t: float) -> float:
        x = 0.8 * math.exp(-t * t / 2)
        return math.sin(x) * math.exp(-t) + t * x * x

    t, h = 0.7, 1e-5
    x = 0.8 * math.exp(-t * t / 2)
    spatial = (math.cos(x) * math.exp(-t) + 2 * t * x) * (-t * x)
    explicit = -math.sin(x) * math.exp(-t) + x * x
    exact = (value(t + h) - value(t - h)) / (2 * h)
    error = abs(space * spatial + time * explicit - exact)
    holds = error < 1e-8 and len(found) == 2
    return Outcome(
        "chain-rule",
        (Reading("against a difference quotient along an exact path", f"off by {error:.1g}", holds),),
        f"off by {error:.1g}",
        "The recorded terms, on a function and a path that are known in closed form, "
        + ("give its derivative along the path." if holds else "do not give its derivative along the path."),
    )


def _attention() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Q, K, V of 7 tokens and width 4, and their tangents."""
    draws = np.random.default_rng(0).standard_normal((6, 7, 4))
    return list(draws[:3]), list(draws[3:])


def _scores(values: list[np.ndarray], tangents: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    (q, k, _), (tq, tk, _) = values, tangents
    scale = 1 / math.sqrt(q.shape[1])
    return q @ k.T * scale, (tq @ k.T + q @ tk.T) * scale


def tangent_is_derivative(paper: Paper) -> Outcome:
    """Eq. 9 with H = P * t_S against a central difference of softmax(Q K'/sqrt d) V."""
    found = terms(right_side(paper.equation("equation09").latex))
    values, tangents = _attention()
    scores, ts = _scores(values, tangents)
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    h = p * ts
    known = {
        "Pt_{V}": p @ tangents[2],
        "HV": h @ values[2],
        "diag(rowsum(H))O": h.sum(1, keepdims=True) * (p @ values[2]),
    }
    if not set(found) <= set(known):
        raise UnknownForm(f"terms {sorted(set(found) - set(known))}")
    tangent = sum(sign * known[term] for term, sign in found.items())

    def output(step: float) -> np.ndarray:
        q, k, v = (x + step * t for x, t in zip(values, tangents, strict=True))
        weights = np.exp(q @ k.T / math.sqrt(q.shape[1]))
        return weights / weights.sum(1, keepdims=True) @ v

    exact = (output(1e-5) - output(-1e-5)) / 2e-5
    error = float(np.abs(tangent - exact).max())
    holds = error < 1e-8
    return Outcome(
        "tangent",
        (Reading("against a difference quotient", f"off by {error:.1g}", holds),),
        f"off by {error:.1g}",
        "On random queries, keys, values and tangents, the recorded formula "
        + ("is" if holds else "is not")
        + " the derivative of softmax attention.",
    )


def tangent_streams(paper: Paper) -> Outcome:
    """Eq. 9 from blocks of three keys: only row sums of P V, P tV, H V and H are kept, as in an online softmax."""
    values, tangents = _attention()
    scores, ts = _scores(values, tangents)
    v, tv = values[2], tangents[2]
    total = rows = np.zeros((len(v), 1))
    output = tangent = np.zeros_like(v)
    for start in range(0, len(v), 3):
        block = slice(start, start + 3)
        weights = np.exp(scores[:, block])
        h = weights * ts[:, block]
        total, rows = total + weights.sum(1, keepdims=True), rows + h.sum(1, keepdims=True)
        output, tangent = output + weights @ v[block], tangent + weights @ tv[block] + h @ v[block]
    streamed = tangent / total - rows / total * (output / total)
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    whole = p @ tv + (p * ts) @ v - (p * ts).sum(1, keepdims=True) * (p @ v)
    error = float(np.abs(streamed - whole).max())
    return Outcome(
        "streaming",
        (Reading("blocks of three keys against whole matrices", f"off by {error:.1g}", error < 1e-10),),
        f"off by {error:.1g}",
        "Every term of the formula is a sum over keys, so it can be had block by block, without a whole matrix.",
    )
