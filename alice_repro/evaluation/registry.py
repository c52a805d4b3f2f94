"""Metrics by name, and groups of them. A metric is imported when it is asked for: some need torch, some much more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from alice_repro.errors import UserError, unknown_name
from alice_repro.evaluation.metric import Metric, Tools
from alice_repro.strict import toml_value

# name -> class in alice_repro.evaluation.metrics
METRICS = {
    "lab": "lab.Lab",
    "subject_consistency": "subject_consistency.SubjectConsistency",
    "background_consistency": "background_consistency.BackgroundConsistency",
    "temporal_flickering": "temporal_flickering.TemporalFlickering",
    "motion_smoothness": "motion_smoothness.MotionSmoothness",
    "dynamic_degree": "dynamic_degree.DynamicDegree",
    "aesthetic_quality": "aesthetic_quality.AestheticQuality",
    "imaging_quality": "imaging_quality.ImagingQuality",
    "i2v_subject": "i2v.I2VSubject",
    "i2v_background": "i2v.I2VBackground",
    "camera_motion": "camera_motion.CameraMotion",
    "diversity_clip": "diversity.ClipDiversity",
    "diversity_dino": "diversity.DinoDiversity",
    "surrogate_diversity_mobilenet": "diversity.MobileNetDiversity",
    "surrogate_diversity_efficientnet": "diversity.EfficientNetDiversity",
    "colour": "colour.Colour",
    "motion": "motion.Motion",
    "camera": "camera.Camera",
}
# vbench-custom: what the official package calls custom input, without the dimensions that need a prompt.
# vbench-i2v: what the image-to-video total needs; it has no temporal flickering.
_SEVEN = (
    "subject_consistency",
    "background_consistency",
    "temporal_flickering",
    "motion_smoothness",
    "dynamic_degree",
    "aesthetic_quality",
    "imaging_quality",
)
_I2V = ("i2v_subject", "i2v_background", "camera_motion")
GROUPS = {
    # DFD B.3.1
    "diversity": ("diversity_clip", "diversity_dino"),
    "surrogate-diversity": ("surrogate_diversity_mobilenet", "surrogate_diversity_efficientnet"),
    "vbench-custom": _SEVEN,
    "vbench-i2v": (*_I2V, *(name for name in _SEVEN if name != "temporal_flickering")),
}


def build_metrics(
    names: Sequence[str], tools: Tools, options: Mapping[str, Mapping[str, Any]] | None = None
) -> list[Metric]:
    """Metrics by their names or groups, each once, in order.

    Args:
        options: metric -> its settings.

    Raises:
        UserError: an unknown metric, group or option, or options of a metric that is not asked for.
    """
    if isinstance(names, str) or not names:
        raise UserError(f"metrics must be a list of names, not {names!r}: {', '.join([*METRICS, *GROUPS])}")
    options, wanted = options or {}, members(names)
    stray = [name for name in options if name not in wanted]
    if stray:
        raise UserError(f"settings of {stray[0]}, which is not among the metrics {', '.join(wanted)}")
    return [_class(name)(tools, options.get(name)) for name in wanted]


def needed_weights(names: Sequence[str]) -> list[str]:
    """Files of weights that metrics need, by the names of the metrics or groups, each once."""
    return list(dict.fromkeys(weights for name in members(names) for weights in _class(name).weights))


def parse_settings(settings: Sequence[str]) -> dict[str, dict[str, Any]]:
    """{metric: {key: value}} from words such as "camera.ddof=1".

    Raises:
        UserError: a word of another form, or an unknown metric.
    """
    found: dict[str, dict[str, Any]] = {}
    for word in settings:
        path, equals, text = word.partition("=")
        name, dot, key = path.partition(".")
        if not (equals and dot and key):
            raise UserError(f"setting {word!r}: write METRIC.KEY=VALUE, such as camera.ddof=1")
        if name not in METRICS:
            raise unknown_name("metric", name, METRICS)
        found.setdefault(name, {})[key] = toml_value(text)
    return found


def describe() -> str:
    """All metrics with the first line of their description and what they need; then the groups."""
    lines = []
    for name in METRICS:
        cls = _class(name)
        needs = f" Needs {', '.join(cls.weights)}." if cls.weights else ""
        lines.append(f"{name:<34}{(cls.__doc__ or '').strip().splitlines()[0]}{needs}")
    return "\n".join(lines + [f"{name:<34}{', '.join(members)}" for name, members in GROUPS.items()])


def members(names: Sequence[str]) -> list[str]:
    """Names of metrics in place of those of groups, each once, in order.

    Raises:
        UserError: an unknown metric or group.
    """
    wanted: dict[str, None] = {}
    for name in names:
        if name not in METRICS and name not in GROUPS:
            raise unknown_name("metric", name, [*METRICS, *GROUPS])
        wanted |= dict.fromkeys(GROUPS.get(name, (name,)))
    return list(wanted)


def _class(name: str) -> type[Metric]:
    module, _, cls = METRICS[name].partition(".")
    return getattr(import_module(f"alice_repro.evaluation.metrics.{module}"), cls)
