"""Checks the claims of few-step video distillation papers: on paper, in a controlled lab, and at full scale.

After ``import alice_repro``, ``WanPipeline.from_pretrained`` finds this project's classes by the library name "alice_repro" that
a pipeline folder's ``model_index.json`` gives them. They are imported only when asked for, so that light commands stay light.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Name -> module. diffusers also looks up the base classes in the library it loads a class from.
_EXPORTS = {"LabCodec": "alice_repro.models.codec", "ModelMixin": "diffusers"}


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'alice_repro' has no attribute {name!r}")
