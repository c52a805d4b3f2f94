"""How often an update of each method calls its networks, in closed form. Imports no torch: a plan must answer at once.

The numbers follow from the methods beside this file; the tests run every method and count (``distill.counting``),
which is also what is done for a method that is not listed here. k is the student's steps. A roll-out to a step drawn
uniformly takes (k + 1) / 2 calls, of which the last alone has a gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from alice_repro.config import Recipe, Stage

ROLES = ("student", "average", "teacher", "fake")


@dataclass(frozen=True)
class Calls:
    """Mean calls of one network on the batch in an update; a guided call counts once here, and evaluates twice.

    Attributes:
        forward: without a gradient.
        trained: with a backward pass to the weights.
        through: with a backward pass through frozen weights, to the clip (a discriminator on the network's features).
        derivative: forward-mode derivative with its value.
        unguided: of the forward and through calls, those that ask for features and so are never guided.
    """

    forward: float = 0.0
    trained: float = 0.0
    through: float = 0.0
    derivative: float = 0.0
    unguided: float = 0.0

    def __add__(self, other: Calls) -> Calls:
        return Calls(*(a + b for a, b in zip(_values(self), _values(other), strict=True)))

    def __mul__(self, times: float) -> Calls:
        return Calls(*(times * value for value in _values(self)))

    @property
    def total(self) -> float:
        """Calls of any kind."""
        return self.forward + self.trained + self.through + self.derivative

    def evaluations(self, guided: bool) -> float:
        """Network evaluations, as training counts them (``models.velocity.Counted``)."""
        return self.total + (self.total - self.unguided if guided else 0.0)


@dataclass(frozen=True)
class Update:
    """Calls by role, a student update's (``student``) and one critic update's (``critic``)."""

    student: dict[str, Calls]
    critic: dict[str, Calls]

    def together(self, critic_updates: int) -> dict[str, Calls]:
        """A student update with the critic updates that follow it."""
        pairs = {role: (self.student.get(role, Calls()), self.critic.get(role, Calls())) for role in ROLES}
        return {role: a + b * critic_updates for role, (a, b) in pairs.items() if a.total + b.total}

    @property
    def has_critic(self) -> bool:
        """Whether a fake score is trained."""
        return bool(self.critic)


def calls_of(recipe: Recipe, stage: Stage) -> Update | None:
    """Calls in an update of a stage; None for a method that has no closed form here."""
    form = _FORMS.get(recipe.method)
    return None if form is None else form({**recipe.options, **stage.options}, stage.target_steps)


def _values(calls: Calls) -> tuple[float, ...]:
    return (calls.forward, calls.trained, calls.through, calls.derivative, calls.unguided)


def _rolled_out(steps: int) -> Calls:
    return Calls(forward=(steps - 1) / 2, trained=1)


def _without_gradient(sample: Calls) -> Calls:
    return Calls(forward=sample.forward + sample.trained)


def _sum(*parts: dict[str, Calls]) -> dict[str, Calls]:
    return {role: sum((part.get(role, Calls()) for part in parts), Calls()) for role in {r for p in parts for r in p}}


def _input(options: dict[str, Any], steps: int) -> Calls:
    return _rolled_out(steps) if options["student_input"] == "rollout" else Calls(trained=1)


def _regression(options: dict[str, Any], steps: int) -> Update:
    return Update({"student": _input(options, steps)}, {})


def _finetune(options: dict[str, Any], steps: int) -> Update:
    return Update({"student": Calls(trained=1)}, {})


def _consistency(options: dict[str, Any], steps: int) -> Update:
    if options["consistency"] * options["consistency_scale"] == 0:
        return Update({}, {})
    derivative, trained, teacher = Calls(derivative=1), Calls(trained=1), {"teacher": Calls(forward=1)}
    if options["form"] == "alice":
        return Update({"student": trained, "average": derivative, **teacher}, {})
    return Update({"student": trained + derivative, **teacher}, {})


def _matching(options: dict[str, Any], steps: int) -> Update:
    """The score term of rCM: its fake score is updated whatever the term's weight, but not in Alice's printed form."""
    sample, one = _rolled_out(steps), Calls(forward=1)
    own = options["form"] == "alice"
    student: dict[str, Calls] = {}
    if options["score"] * options["score_scale"] != 0:
        student = {"student": sample + one if own else sample, "teacher": one} | ({} if own else {"fake": one})
    return Update(student, {} if own else {"student": _without_gradient(sample), "fake": Calls(trained=1)})


def _rcm(options: dict[str, Any], steps: int) -> Update:
    consistency, matching = _consistency(options, steps), _matching(options, steps)
    return Update(_sum(consistency.student, matching.student), matching.critic)


def _scored(options: dict[str, Any], sample: Calls) -> Update:
    """DMD2's terms on ``sample``: one call of both scores, a discriminator on the features of one of them."""
    student = {"student": sample, "fake": Calls(forward=1), "teacher": Calls(forward=1)}
    critic = {"student": _without_gradient(sample), "fake": Calls(trained=1)}
    features = options["gan_features"]
    if features != "none":
        student = _sum(student, {features: Calls(through=1, unguided=1)})
        both = Calls(trained=2, unguided=2) if features == "fake" else Calls(forward=2, unguided=2)
        critic = _sum(critic, {features: both})
    return Update(student, critic)


def _dmd2(options: dict[str, Any], steps: int) -> Update:
    return _scored(options, _input(options, steps))


def _avd(options: dict[str, Any], steps: int) -> Update:
    update = _dmd2(options, steps)
    if options["regression_weight"] <= 0:
        return update
    return replace(update, student=_sum(update.student, {"student": Calls(trained=1)}))


def _dp_dmd(options: dict[str, Any], steps: int) -> Update:
    """The sample's last step is one of 1 .. k-1; the anchor takes the teacher's steps and one of the student."""
    update = _scored(options, Calls(forward=steps / 2, trained=1))
    anchor = {"student": Calls(trained=1), "teacher": Calls(forward=options["anchor_steps"])}
    return replace(update, student=_sum(update.student, anchor))


_FORMS: dict[str, Callable[[dict[str, Any], int], Update]] = {
    "regression": _regression,
    "finetune": _finetune,
    "scm": _consistency,
    "dmd": _matching,
    "rcm": _rcm,
    "dmd2": _dmd2,
    "dfd": _dmd2,
    "avd": _avd,
    "dp_dmd": _dp_dmd,
}
