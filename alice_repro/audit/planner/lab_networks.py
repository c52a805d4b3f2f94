"""Plans of the recipes that make the lab's own networks: its teacher, its two experts, the frame interpolator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from alice_repro.audit.planner.disk import FLOAT
from alice_repro.audit.planner.machines import Machine, rates
from alice_repro.audit.planner.memory import MOMENTS, Part
from alice_repro.audit.planner.network import network_of
from alice_repro.audit.planner.plan import Plan, lines
from alice_repro.audit.planner.work import TRAINING, Work
from alice_repro.config import (
    Scale,
    load_interpolator_recipe,
    load_lab_experts_recipe,
    load_lab_teacher_recipe,
)
from alice_repro.errors import UserError
from alice_repro.models import flops


def plan_lab_network(name: str, scale: Scale, machine: Machine, settings: Sequence[str] = ()) -> Plan:
    """The plan of such a recipe.

    Raises:
        UserError: settings that it does not have; a scale that is not the lab's.
    """
    if scale.rung != "lab":
        raise UserError(f"recipe {name} makes a network of the lab: plan it at scale lab")
    made = MAKERS[name](scale, tuple(settings))
    found = lines(made.works, machine)
    if made.compiled:
        low, high = rates()["cpu"]["compiled"]
        found = tuple(
            replace(one, hours=_faster(one.hours, low, high), wall=_faster(one.wall, low, high)) for one in found
        )
    return Plan(f"recipe {name}", scale.name, machine, found, files=made.files, notes=made.notes)


@dataclass(frozen=True)
class Made:
    """What a recipe comes to."""

    works: tuple[Work, ...]
    files: tuple[Part, ...]
    compiled: bool = False
    notes: tuple[str, ...] = ()


def _faster(hours: tuple[float, float], low: float, high: float) -> tuple[float, float]:
    return hours[0] / high, hours[1] / low


def _teacher(scale: Scale, settings: tuple[str, ...]) -> Made:
    recipe, network = load_lab_teacher_recipe(settings), network_of(scale)
    model = replace(network.model, layers=recipe.layers, hidden=recipe.width, heads=recipe.heads, mlp=recipe.ffn_dim)
    count = flops.parameters(model, text_width=recipe.text_width, time_width=recipe.freq_dim)
    own = replace(network, model=model, parameters=count)
    work = _fitted("lab_teacher", recipe.updates, recipe.batch, own.trained)
    return Made((work,), _kept(count), recipe.compile, ("the world's clips and the codec take minutes beside",))


def _experts(scale: Scale, settings: tuple[str, ...]) -> Made:
    recipe, network = load_lab_experts_recipe(settings), network_of(scale)
    work = _fitted("lab_experts, both", 2 * recipe.updates, recipe.batch, network.trained)
    judged = 4 * recipe.judged_batches * recipe.batch  # two experts, each in both ranges
    check = Work("losses on held-out clips", "sampling", 1, judged, judged * network.forward, judged)
    return Made((work, check), 2 * _kept(network.parameters), recipe.compile)


def _interpolator(scale: Scale, settings: tuple[str, ...]) -> Made:
    recipe, (channels, _, height, width) = load_interpolator_recipe(settings), network_of(scale).latents
    fine, middle, coarse = recipe.widths
    # Cells and products of each convolution of `models.interpolator`: three by three, or two by two upwards.
    layers = [
        (1, 9 * 2 * channels * fine),
        (4, 9 * fine * middle),
        (16, 9 * middle * coarse),
        (16, 4 * coarse * middle),
    ]
    layers += [(4, 9 * 2 * middle * middle), (4, 4 * middle * fine), (1, 9 * 2 * fine * fine), (1, fine * channels)]
    forward = sum(2 * products * height * width / fewer for fewer, products in layers)
    count = sum(products for _, products in layers)  # biases and norms aside
    return Made((_fitted("interpolator", recipe.updates, recipe.batch, 3 * forward),), _kept(count))


def _fitted(name: str, updates: int, batch: int, trained: float) -> Work:
    title = f"training {name}: {updates:,} updates of {batch}"
    return Work(title, TRAINING, 1, updates * batch, updates * batch * trained, batch)


def _kept(count: int) -> list[Part]:
    return [
        Part("checkpoint: weights, average, moments", count * (2 * FLOAT + MOMENTS)),
        Part("weights", count * FLOAT),
    ]


MAKERS: dict[str, Callable[[Scale, tuple[str, ...]], Made]] = {
    "lab_teacher": _teacher,
    "lab_experts": _experts,
    "interpolator": _interpolator,
}
