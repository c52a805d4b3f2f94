"""The lab protocol: what the oracle's measurement of a clip says in a score row, and mode coverage of many.

Columns are the primary endpoint and its parts, the oracle's defect scores, the attributes as seen (one column per
value, so that its mean is the mode's frequency), and the VBench-named dimensions for which the lab's world has truth.
Only ``temporal_flickering`` is VBench's own formula; the others carry VBench's names for the same question, answered
by the oracle. Names that end in ``_world`` are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from alice_repro.errors import UserError
from alice_repro.statistics import Estimate, proportion_interval
from alice_repro.world.captions import parse_caption
from alice_repro.world.oracle import BACKGROUND_STYLES, DEFECT_MEASURES, Measurement
from alice_repro.world.scene import ATTRIBUTES, applies
from alice_repro.world.trajectory import STILL

RARE_MODE = ("hue", "rose")


# What `score_measurement` gives, in its order, and VBench's own formula.
LAB_MEASURES = (
    "endpoint", "correct", "sound", "object_class", "color", "motion", "overall_consistency_world", "dynamic_degree",
    "multiple_objects", "instance_preservation_world", "motion_smoothness_world", "saturation_error",
    *(f"style_{style}" for style in BACKGROUND_STYLES),
    *(f"{kind}_{name}" for name in DEFECT_MEASURES for kind in ("defect", "flag")),
    *(f"{attribute}_{mode}" for attribute, probabilities in ATTRIBUTES.items() for mode in probabilities),
    "temporal_flickering",
)  # fmt: skip

# The beginnings of those that are no yes or no.
LAB_CONTINUOUS = ("motion_smoothness", "saturation_error", "defect_", "temporal_flickering")


def score_measurement(seen: Measurement, caption: str) -> dict[str, float | str]:
    """The oracle's part of a score row: numbers, and reasons where the clip does not admit one."""
    wanted = parse_caption(caption)
    row: dict[str, float | str] = {}

    def put(name: str, value: float | bool | None, reason: str) -> None:
        row[name] = reason if value is None else float(value)

    row["endpoint"], row["correct"], row["sound"] = float(seen.endpoint), float(seen.correct), float(seen.sound)
    row["object_class"], row["color"] = float(seen.shape_correct), float(seen.colour_correct)
    row["motion"], row["overall_consistency_world"] = float(seen.motion_correct), float(seen.correct)
    row["dynamic_degree"] = float(seen.travel > STILL)
    collides = wanted.motion == "collide"
    put("multiple_objects", seen.multiple_objects if collides else None, "the caption names one object")
    # VBench-2.0 asks a vision-language model whether objects keep their number; here the oracle knows.
    row["instance_preservation_world"] = float("vanish" not in seen.flags and (not collides or seen.multiple_objects))
    smoothness = None if seen.roughness is None else 1.0 / (1.0 + seen.roughness)
    put("motion_smoothness_world", smoothness, "the object is not seen in three frames running")
    error = None if seen.saturation is None else abs(seen.saturation)
    put("saturation_error", error, "the object is not in its caption's colour")
    for style in BACKGROUND_STYLES:
        row[f"style_{style}"] = float(seen.style == style)
    for name in DEFECT_MEASURES:
        put(f"defect_{name}", seen.scores[name], "the motion cannot show it, or the object is not seen")
        row[f"flag_{name}"] = float(name in seen.flags)
    for attribute, probabilities in ATTRIBUTES.items():
        value = getattr(seen, attribute)
        reason = "not measurable" if applies(attribute, wanted.motion) else "the motion does not show it"
        for mode in probabilities:
            put(f"{attribute}_{mode}", None if value is None else value == mode, reason)
    return row


@dataclass(frozen=True)
class ModeCoverage:
    """How the open attributes are distributed, against their known probabilities.

    Attributes:
        distance: total-variation distance (0 = same, 1 = disjoint), mean over attributes, with its interval over
        prompts.
        per_attribute: the same for each attribute.
        floor: distance that as many clips drawn from the true probabilities would show on average.
        rare_share: observed share of the rare mode, with Wilson's interval.
        rare_recall: ``rare_share`` over its true probability, at most 1.
    """

    distance: Estimate
    per_attribute: dict[str, float]
    floor: float
    rare_share: Estimate
    rare_recall: float


def mode_counts(scores: pd.DataFrame) -> dict[str, np.ndarray]:
    """How often each mode of each open attribute is seen: attribute -> (prompts, modes), prompts sorted by name.

    Clips in which an attribute cannot be seen are left out of it.

    Raises:
        UserError: no clip shows one of the attributes.
    """
    prompt = scores["caption"] if (scores["prompt_id"].fillna("") == "").any() else scores["prompt_id"]
    prompts, member = np.unique(prompt.to_numpy(str), return_inverse=True)
    counts = {}
    for attribute, probabilities in ATTRIBUTES.items():
        columns = [f"{attribute}_{mode}" for mode in probabilities]
        table = np.zeros((len(prompts), len(columns)))
        np.add.at(table, member, np.nan_to_num(scores[columns].to_numpy(float)))
        if table.sum() > 0:
            counts[attribute] = table
    absent = [name for name in ATTRIBUTES if name not in counts and name != "spin"]  # spin needs an orbit
    if absent:
        raise UserError(f"mode coverage: no clip shows {', '.join(absent)}")
    return counts


def mode_distance(counts: dict[str, np.ndarray], weights: np.ndarray | None = None) -> np.ndarray:
    """Total-variation distance to the known probabilities, mean over attributes, under weights (..., prompts)."""
    distances = []
    for attribute, table in counts.items():
        total = table.sum(axis=0) if weights is None else weights @ table
        distances.append(_distance(total, np.array(list(ATTRIBUTES[attribute].values()))))
    return np.nanmean(distances, axis=0)


def mode_coverage(scores: pd.DataFrame, n_boot: int = 1000, seed: int = 0) -> ModeCoverage:
    """Mode coverage of a score table.

    Prompts (``prompt_id``, else the caption) are resampled whole. The percentile interval is of the plug-in distance,
    which is never below its sampling floor: read the two together.

    Raises:
        UserError: no clip shows one of the attributes.
    """
    counts = mode_counts(scores)
    truth = {name: np.array(list(ATTRIBUTES[name].values())) for name in counts}
    prompts = len(next(iter(counts.values())))
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(prompts, np.full(prompts, 1 / prompts), size=n_boot).astype(float)
    per_attribute = {name: float(_distance(table.sum(axis=0), truth[name])) for name, table in counts.items()}
    drawn = {name: rng.multinomial(int(table.sum()), truth[name], size=n_boot) for name, table in counts.items()}
    floor = [_distance(table, truth[name]).mean() for name, table in drawn.items()]
    attribute, mode = RARE_MODE
    hue = counts[attribute].sum(axis=0)
    rare = proportion_interval(int(hue[list(ATTRIBUTES[attribute]).index(mode)]), int(hue.sum()))
    low, high = np.nanquantile(mode_distance(counts, weights), [0.025, 0.975])
    return ModeCoverage(
        Estimate(float(np.mean(list(per_attribute.values()))), float(low), float(high), len(scores)),
        per_attribute, float(np.mean(floor)), rare, min(1.0, rare.value / ATTRIBUTES[attribute][mode]),
    )  # fmt: skip


def _distance(counts: np.ndarray, truth: np.ndarray) -> np.ndarray:
    total = counts.sum(axis=-1, keepdims=True)
    share = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    return np.abs(share - truth).sum(axis=-1) / 2
