"""Checks the claims of few-step video distillation papers: on paper, in a controlled lab, and at full scale.

After ``import alice_repro``, ``WanPipeline.from_pretrained`` loads the pipeline folders that this package writes: in
their ``model_index.json`` the classes that are not diffusers' own are named as this package's.
"""

from __future__ import annotations

from importlib import import_module

__version__ = "0.1.0"
# What diffusers asks this module for: the classes by name, and the bases by which it tells how they are loaded. It
# imports no module for a folder's sake, so this one must be there already, and imports them when it is asked.
_PIPELINE_CLASSES = {
    "LabCodec": "alice_repro.models.codec",
    "FewStepScheduler": "alice_repro.sampling.scheduler",
    "ModelMixin": "diffusers",
    "SchedulerMixin": "diffusers",
}


def __getattr__(name: str) -> type:
    if name not in _PIPELINE_CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PIPELINE_CLASSES[name]), name)
