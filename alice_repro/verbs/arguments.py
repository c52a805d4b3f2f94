"""Arguments that several verbs take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import tyro

from alice_repro.config import Scale, load_scale, split_settings
from alice_repro.errors import UserError

Settings = Annotated[
    tuple[str, ...],
    tyro.conf.UseAppendAction,
    tyro.conf.arg(
        name="set",
        metavar="KEY=VALUE",
        help="Change a setting: recipe.KEY=VALUE of the recipe, KEY=VALUE of the scale. May be given several times.",
    ),
]
RecipeSettings = Annotated[
    tuple[str, ...],
    tyro.conf.UseAppendAction,
    tyro.conf.arg(name="set", metavar="KEY=VALUE", help="Change a setting of the recipe. Repeatable."),
]
MetricSettings = Annotated[
    tuple[str, ...],
    tyro.conf.UseAppendAction,
    tyro.conf.arg(name="set", metavar="METRIC.KEY=VALUE", help="Change a setting of a metric. Repeatable."),
]
Teachers = tuple[str, ...]


def chosen_scale(name: str, settings: Sequence[str]) -> Scale:
    """The scale with its settings; those of the recipe are checked where a recipe is used."""
    return load_scale(name, split_settings(tuple(settings))[0])


def seeds_of(ranges: Sequence[str]) -> list[int]:
    """Seeds of words such as "0-4" and "7"."""
    seeds: list[int] = []
    for word in ranges:
        first, dash, last = word.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise UserError(f"seeds {word!r}: write a number or a range such as 0-4")
        seeds += range(int(first), int(last or first) + 1)
    return sorted(set(seeds))
