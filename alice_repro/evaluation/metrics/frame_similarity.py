"""What VBench's subject and background consistency share: how similar frames are to the one before and to the first."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from alice_repro.evaluation.metric import Clip, Result, Watcher
from alice_repro.evaluation.networks import Batches, NetworkMetric, score


class FrameSimilarity(NetworkMetric):
    """Mean over frames t >= 1 of (max(0, cos(t-1, t)) + max(0, cos(0, t))) / 2, of a network's features.

    0..1, 1 = no frame differs. For a folder VBench takes the mean over all frames of all videos but the first of each,
    so that long videos count more: weight "pairs", frames less one. (With several GPUs the official package takes the
    mean of the videos for the subject, a different number.)
    """

    features: ClassVar[str]

    @abstractmethod
    def prepare(self, frame: np.ndarray) -> Tensor:
        """The network's input, (1, 3, h, w)."""

    def watch(self, clip: Clip) -> Watcher:
        self.load()
        return _Watcher(self)


class Similarities:
    """Cosines of features that come in batches: of each frame with the one before, never below 0, and with `first`.

    Attributes:
        previous: (frames - 1) numbers.
        reference: a number for each frame that came after `first` was known.
    """

    def __init__(self, first: Tensor | None = None) -> None:
        self.first = None if first is None else F.normalize(first, dim=-1)
        self.last: Tensor | None = None
        self.previous: list[float] = []
        self.reference: list[float] = []

    def add(self, features: Tensor) -> None:
        """Take features (n, d) of the next n frames."""
        features = F.normalize(features, dim=-1)
        if self.last is not None:
            before = torch.cat([self.last, features[:-1]])
            self.previous += _cosines(before, features)
        else:
            self.previous += _cosines(features[:-1], features[1:])
        rest = features
        if self.first is None:
            self.first, rest = features[:1].clone(), features[1:]
        self.reference += _cosines(self.first.expand_as(rest), rest)
        self.last = features[-1:].clone()


def _cosines(one: Tensor, other: Tensor) -> list[float]:
    # No clamp(min=0): what is no number must stay so.
    cosines = F.cosine_similarity(one, other, dim=-1)
    return torch.where(cosines < 0, 0.0, cosines).tolist()


class _Watcher:
    def __init__(self, metric: FrameSimilarity) -> None:
        self.metric, self.seen = metric, Similarities()
        self.batches = Batches(metric.tools.batch, self._run)

    def see(self, frame: np.ndarray) -> None:
        self.batches.add(self.metric.prepare(frame))

    def _run(self, rows: list[Tensor]) -> None:
        self.seen.add(self.metric.run(self.metric.features, torch.cat(rows)))

    def result(self) -> Result:
        self.batches.flush()
        name = self.metric.name
        if not self.seen.previous:
            return Result({name: "needs two frames or more"})
        value = (np.mean(self.seen.previous) + np.mean(self.seen.reference)) / 2
        return Result({name: score(value, self.metric.features)})
