"""What VBench's aesthetic and imaging quality share: a score of each frame on its own, and their mean."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor

from alice_repro.evaluation.metric import Clip, Result, Watcher
from alice_repro.evaluation.networks import Batches, NetworkMetric, score


class FrameQuality(NetworkMetric):
    """Mean of a score of each frame; for a folder the mean of the videos."""

    @abstractmethod
    def prepare(self, frame: np.ndarray) -> Tensor:
        """The network's input, (1, 3, h, w)."""

    @abstractmethod
    def scores(self, images: Tensor) -> Tensor:
        """A number for each of (n, 3, h, w)."""

    def watch(self, clip: Clip) -> Watcher:
        self.load()
        return _Watcher(self)


class _Watcher:
    def __init__(self, metric: FrameQuality) -> None:
        self.metric = metric
        self.values: list[float] = []
        self.batches = Batches(metric.tools.batch, self._run)

    def see(self, frame: np.ndarray) -> None:
        self.batches.add(self.metric.prepare(frame))

    def _run(self, rows: list[Tensor]) -> None:
        self.values += self.metric.scores(torch.cat(rows)).flatten().tolist()

    def result(self) -> Result:
        self.batches.flush()
        if not self.values:
            return Result({self.metric.name: "needs a frame"})
        return Result({self.metric.name: score(np.mean(self.values), self.metric.weights[-1])})
