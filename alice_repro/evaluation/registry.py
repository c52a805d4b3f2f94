"""Metrics by name, and groups of them. A metric is imported when it is asked for: some need torch, some much more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from alice_repro.errors import UserError, unknown_name
from alice_repro.evaluation.metric import Metric, Tools

# name -> class in alice_repro.evaluation.metrics
METRICS = {
    "camera": "camera.Camera",
    "temporal_flickering": "temporal_flickering.TemporalFlickering",
}
# What the official package calls custom input, without the dimensions that need a prompt.
GROUPS = {
    "vbench-custom": ("temporal_flickering",),
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
    options = options or {}
    wanted: dict[str, None] = {}
    for name in names:
        if name not in METRICS and name not in GROUPS:
            raise unknown_name("metric", name, [*METRICS, *GROUPS])
        wanted |= dict.fromkeys(GROUPS.get(name, (name,)))
    stray = [name for name in options if name not in wanted]
    if stray:
        raise UserError(f"settings of {stray[0]}, which is not among the metrics {', '.join(wanted)}")
    return [_class(name)(tools, options.get(name)) for name in wanted]


def _class(name: str) -> type[Metric]:
    module, _, cls = METRICS[name].partition(".")
    return getattr(import_module(f"alice_repro.evaluation.metrics.{module}"), cls)
