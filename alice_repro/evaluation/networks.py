"""Networks behind metrics: loaded once however many metrics use them, fed in batches, replaced by others in tests."""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from alice_repro.evaluation.metric import Metric, Tools

BACKBONES = "alice_repro.models.backbones"
PREPROCESSING = "alice_repro.evaluation.preprocess"
# name in weights.toml -> module of BACKBONES, its loading function
LOADERS = {
    "dino-vitb16": ("dino", "load_dino"),
    "clip-vitb32": ("clip", "load_clip"),
    "clip-vitl14": ("clip", "load_clip"),
    "laion-aesthetic": ("aesthetic", "load_aesthetic"),
    "musiq-spaq": ("musiq", "load_musiq"),
    "amt-s": ("amt", "load_amt"),
    "raft-things": ("raft", "load_raft"),
    "dinov2-vitl14": ("dinov2", "load_dinov2"),
    "mobilenet-v2": ("mobilenet", "load_mobilenet"),
    "efficientnet-lite0": ("efficientnet", "load_efficientnet"),
}
# Memory that correlations of all pairs of pixels may take when several pairs of frames go through a network together.
CORRELATION_BYTES = 256 * 2**20

T = TypeVar("T")


def load_network(name: str, tools: Tools) -> Callable[..., Tensor]:
    """The network of a file of weights, in eval mode on the tools' device; loaded once in a process.

    Raises:
        MissingWeights, UserError: as `Weights.path` and the loading functions do.
    """
    return read_network(name, tools.weights.path(name), tools.device)


@cache
def read_network(name: str, path: Path, device: str = "cpu") -> Callable[..., Tensor]:
    """The network of that name with the weights of a file, whatever its checksum."""
    module, function = LOADERS[name]
    return getattr(import_module(f"{BACKBONES}.{module}"), function)(path).to(device).eval()


class NetworkMetric(Metric):
    """A metric that runs networks: those of its `weights`, or callables given in their place.

    Args:
        networks: name in `weights` -> a callable that takes and gives what the network of that name does.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Extend `code` by the modules of its bases, of what prepares frames, and of its networks."""
        super().__init_subclass__(**kwargs)
        bases = [base.__module__ for base in cls.__mro__[1:] if issubclass(base, NetworkMetric)]
        networks = [f"{BACKBONES}.{LOADERS[name][0]}" for name in cls.weights]
        cls.code = tuple(dict.fromkeys([*getattr(cls, "code", ()), *bases, PREPROCESSING, *networks]))

    def __init__(
        self,
        tools: Tools,
        options: Mapping[str, Any] | None = None,
        networks: Mapping[str, Callable[..., Tensor]] | None = None,
    ) -> None:
        super().__init__(tools, options)
        self.networks = dict(networks or {})

    def load(self) -> None:
        """Load the networks that are not there yet; watchers begin with it.

        Raises:
            MissingWeights, UserError: as `load_network` does.
        """
        for name in self.weights:
            if name not in self.networks:
                self.networks[name] = load_network(name, self.tools)

    def run(self, name: str, *inputs: Tensor) -> Tensor:
        """What a network gives for a batch; inputs come from the CPU, the result goes there, float32."""
        with torch.no_grad():
            return self.networks[name](*(value.to(self.tools.device) for value in inputs)).float().cpu()


class Batches(Generic[T]):
    """Gathers items and hands them on `size` together, so that no more than that many frames are held."""

    def __init__(self, size: int, run: Callable[[list[T]], None]) -> None:
        self.size, self.run = size, run
        self.items: list[T] = []

    def add(self, item: T) -> None:
        self.items.append(item)
        if len(self.items) >= self.size:
            self.flush()

    def flush(self) -> None:
        """Run what is left."""
        if self.items:
            items, self.items = self.items, []
            self.run(items)
            give_back()


def give_back() -> None:
    """Hand freed memory back to the system: glibc keeps what a network has freed, beside what the next one takes."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim:
        trim(0)


def pairs_together(height: int, width: int, most: int) -> int:
    """Pairs of frames that a flow network may take at once: its correlations grow with the square of the pixels."""
    cells = math.ceil(height / 8) * math.ceil(width / 8)
    return max(1, min(most, CORRELATION_BYTES // (cells * cells * 4 * 4 // 3)))


def score(value: float, what: str) -> float | str:
    """A score, or why there is none: networks with damaged weights give what is no number."""
    return float(value) if math.isfinite(value) else f"{what} gives a value that is no finite number: check its weights"
