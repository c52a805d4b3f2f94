"""Count a method's calls by running it, on fields of one weight and clips of a few numbers.

The steps of a roll-out that a method draws are not sampled but gone through: one update for each residue of the
batch's shared generator (modulo k and k - 1, which are what is drawn from), and as many counts of earlier updates (rCM
cycles by them). So the mean is exact as long as the first thing that is drawn from it is the step.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import fields, replace
from functools import cache

import torch

from alice_repro.config import Recipe, Stage
from alice_repro.distill.calls import Calls, Update
from alice_repro.distill.method import Batch, Networks, Progress
from alice_repro.distill.registry import build_method

MOST = 240  # updates that are run; a student of more steps than these divide is counted by that many draws
SHAPE = (2, 1, 2, 2, 2)


class Field:
    """v = w x + t with one weight: asks for nothing, and tells what every call of it was for."""

    evaluations = 1

    def __init__(self, trained: bool) -> None:
        self.weight = torch.ones((), requires_grad=trained)
        self.counts: dict[str, float] = defaultdict(float)

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, caption: torch.Tensor) -> torch.Tensor:
        weight = 1.0 * self.weight  # of this call alone, so that its gradient tells that the pass reached it
        out = weight * x_t + t.view(-1, 1, 1, 1, 1)
        if _has_tangent(x_t):
            self.counts["derivative"] += 1
            return out
        self.counts["forward"] += 1
        if out.requires_grad:
            reached = {"out": False, "weight": False}
            out.register_hook(lambda gradient: self._came_back(reached, "out"))
            if weight.requires_grad:
                weight.register_hook(lambda gradient: self._came_back(reached, "weight"))
        return out

    def _came_back(self, reached: dict[str, bool], where: str) -> None:
        """A gradient is here: the call was no mere forward pass; once it is at the weight, it trained."""
        if reached[where]:
            return
        reached[where] = True
        if where == "out":
            self.counts["forward"] -= 1
            self.counts["through"] += 1
        else:
            self.counts["through"] -= 1
            self.counts["trained"] += 1


class Features:
    """A discriminator on a field's features, which are never guided."""

    evaluations = 1

    def __init__(self, field: Field) -> None:
        self.field, self.head = field, torch.ones((), requires_grad=True)

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, caption: torch.Tensor) -> torch.Tensor:
        self.field.counts["unguided"] += 1
        return self.head * self.field(x_t, t, caption).flatten(1).mean(1)


def count(recipe: Recipe, stage: Stage, student_shift: float = 5.0) -> Update:
    """Mean calls of each network in an update of a stage, counted.

    Raises:
        UserError: an unknown method, or options that it does not take.
    """
    method, steps = build_method(recipe, student_shift), stage.target_steps
    runs = math.lcm(steps, max(1, steps - 1))
    runs = runs if runs <= MOST else MOST
    student: dict[str, Calls] = {}
    critic: dict[str, Calls] = {}
    for number, seed in enumerate(_seeds(runs)):
        for phase, totals in (("student", student), ("critic", critic)):
            if phase == "critic" and not method.has_critic:
                continue
            networks, roles = _networks(method.has_critic, method.discriminator_features)
            batch, done = _batch(seed), Progress(number, number)
            if phase == "student":
                for weight, term in method.terms(networks, batch, stage, done).values():
                    (weight * term()[0]).backward()
            else:
                method.critic_loss(networks, batch, stage, done)[0].backward()
            for role, field in roles.items():
                calls = Calls(**{f.name: field.counts[f.name] for f in fields(Calls)})
                totals[role] = totals.get(role, Calls()) + calls * (1 / runs)
    return Update(*({r: _rounded(c) for r, c in part.items() if c.total} for part in (student, critic)))


def _networks(has_critic: bool, features: str | None) -> tuple[Networks, dict[str, Field]]:
    roles = {"student": Field(True), "average": Field(False), "teacher": Field(False)}
    if has_critic:
        roles["fake"] = Field(True)
    return Networks(**{"fake": None, **roles}, discriminator=Features(roles[features]) if features else None), roles


def _batch(seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    x0 = torch.randn(SHAPE, generator=generator)
    return Batch(x0, torch.zeros(len(x0), dtype=torch.int64), generator, torch.Generator().manual_seed(seed))


@cache
def _seeds(count: int) -> tuple[int, ...]:
    """Seeds whose generators' first draws are all residues modulo ``count``, each once."""
    found: dict[int, int] = {}
    seed = 0
    while len(found) < count:
        found.setdefault(int(torch.randint(count, (1,), generator=torch.Generator().manual_seed(seed))), seed)
        seed += 1
    return tuple(found[residue] for residue in range(count))


def _has_tangent(x: torch.Tensor) -> bool:
    """Whether ``torch.func.jvp`` or ``forward_ad`` carries a tangent in ``x``."""
    return torch.autograd.forward_ad.unpack_dual(x).tangent is not None


def _rounded(calls: Calls) -> Calls:
    return replace(calls, **{f.name: round(getattr(calls, f.name), 9) for f in fields(Calls)})
