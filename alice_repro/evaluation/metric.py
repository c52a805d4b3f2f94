"""What a metric is to the evaluator: it watches a video's frames as they are decoded, once for all metrics.

A metric is a class in `alice_repro.evaluation.metrics` and a line in `registry`. It keeps no frame longer than it must,
so that memory does not grow with a clip's length; what its set measures need of a video (features, poses) it hands over
as small arrays.
"""

from __future__ import annotations

import hashlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd

from alice_repro.errors import UserError
from alice_repro.evaluation.weights import MissingWeights, Weights
from alice_repro.files import sha256_file
from alice_repro.strict import from_mapping


@dataclass(frozen=True)
class Clip:
    """What is known of a video before its frames are seen.

    Attributes:
        video: its name relative to the folder, with `/`.
        path: where it lies.
        caption: its prompt; None if there is none.
        fps: frames a second, as the file announces; 0 if it does not.
        height, width: of a frame as shown (after the file's rotation), in pixels.
    """

    video: str
    path: Path
    caption: str | None
    fps: float
    height: int
    width: int


@dataclass
class Result:
    """What a metric says of a video.

    Attributes:
        values: measure -> a finite number, or a sentence that says why there is none.
        arrays: name -> array for measures over sets of videos; kept on disk, so keep them small.
    """

    values: dict[str, float | str]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


class Watcher(Protocol):
    """A metric at work on one video."""

    def see(self, frame: np.ndarray) -> None:
        """Take the next frame, uint8 (H, W, 3) RGB; it may be shared with other metrics: do not write to it."""

    def result(self) -> Result:
        """After the last frame."""


@dataclass(frozen=True)
class Tools:
    """What metrics are built with.

    Attributes:
        weights: where files of weights are looked up.
        device: a torch device, such as "cpu" or "cuda:0".
        batch: frames that go through a network together.
    """

    weights: Weights = field(default_factory=Weights)
    device: str = "cpu"
    batch: int = 16

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise UserError(f"a batch has 1 frame or more, not {self.batch}")
        kind, _, number = self.device.partition(":")
        if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
            raise UserError(f"device {self.device!r}: cpu, cuda, or cuda with a number such as cuda:0")
        if kind == "cuda":
            import torch

            if not torch.cuda.is_available():
                raise UserError("device 'cuda': torch sees no CUDA device here; use cpu")


@dataclass(frozen=True)
class NoOptions:
    """For a metric without options."""


class Metric(ABC):
    """A family of measures that share their work on a video.

    Attributes:
        name: by which it is asked for.
        measures: the columns that it fills for each video; may be empty if it measures sets only.
        weights: names in weights.toml of the files that it needs.
        code: modules beside its own whose source decides its values.
        reads_caption: a value depends on the prompt too.
        weighted_by: measure -> what weighs it in a folder's number where the official package does so: "frames", or
            "pairs" of successive ones; the plain mean otherwise.
        binary: measures that are 0 or 1 for a video, so that a folder's number is a share.
        surrogate: "" or why its values must not be set beside published ones.
        Options: its settings, a frozen dataclass with defaults; `--set NAME.KEY=VALUE`.
    """

    name: ClassVar[str]
    measures: ClassVar[tuple[str, ...]] = ()
    weights: ClassVar[tuple[str, ...]] = ()
    code: ClassVar[tuple[str, ...]] = ()
    reads_caption: ClassVar[bool] = False
    weighted_by: ClassVar[Mapping[str, str]] = {}
    binary: ClassVar[tuple[str, ...]] = ()
    surrogate: ClassVar[str] = ""
    Options: ClassVar[type] = NoOptions

    def __init__(self, tools: Tools, options: Mapping[str, Any] | None = None) -> None:
        self.tools = tools
        self.options: Any = from_mapping(self.Options, dict(options or {}), f"metric {self.name}")

    @abstractmethod
    def watch(self, clip: Clip) -> Watcher:
        """Begin with a video; networks are loaded at the first call, not before."""

    @cached_property
    def identity(self) -> str:
        """What decides a value beside the video: code, options, weights."""
        sources = [sys.modules[type(self).__module__], *(import_module(name) for name in self.code)]
        parts = [sha256_file(str(module.__file__)) for module in sources]
        parts += [repr(self.options), *(f"{name} {self._weights_sha256(name)}" for name in self.weights)]
        return f"{self.name} {hashlib.sha256(' '.join(parts).encode()).hexdigest()[:16]}"

    def beside(self, clip: Clip) -> str:
        """What else decides this video's value: the checksum of a file that lies beside it, say."""
        return ""

    @property
    def missing_weights(self) -> list[str]:
        """Which of its files of weights are not here, each with where to get it."""
        return [why for why in (self._absent(name) for name in self.weights) if why]

    def _absent(self, name: str) -> str:
        try:
            self.tools.weights.path(name)
        except MissingWeights as error:
            return str(error)
        return ""

    def _weights_sha256(self, name: str) -> str:
        return "absent" if self._absent(name) else self.tools.weights.sha256(name)

    def over_sets(self, sets: Sequence[VideoSet]) -> list[SetValue]:
        """Measures over the videos of a prompt, such as diversity; none unless a metric has some."""
        return []


@dataclass(frozen=True)
class VideoSet:
    """The videos of one prompt, sorted by seed and name: score rows and the arrays that the metric left of each.

    A video whose arrays are missing (it did not decode, say) is not in it, and counts in `missing`.
    """

    prompt: str
    rows: pd.DataFrame
    arrays: list[dict[str, np.ndarray]]
    missing: int = 0


@dataclass(frozen=True)
class SetValue:
    """A measure of a set: a finite number, or a sentence that says why there is none; `n` videos went in."""

    prompt: str
    measure: str
    value: float | str
    n: int
