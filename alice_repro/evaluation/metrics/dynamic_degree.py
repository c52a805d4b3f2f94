"""VBench's dynamic degree: does a video move much, yes or no."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from alice_repro.evaluation.metric import Clip, Result, Watcher
from alice_repro.evaluation.networks import Batches, NetworkMetric, pairs_together
from alice_repro.evaluation.preprocess import flow_input

FASTEST = 0.05  # share of the pixels whose flow counts
THRESHOLD = 6.0  # pixels of flow, in a frame whose short side has
THRESHOLD_SIDE = 256.0  # pixels


class DynamicDegree(NetworkMetric):
    """1 if enough pairs of frames move, else 0; for a folder the share of videos that move.

    Frames are taken at about 8 a second (every max(1, round(fps / 8))-th). A pair of them moves if the fastest 5 % of
    its pixels have, by RAFT, a mean flow over 6 pixels, scaled by short side / 256. A video of n such frames moves if
    round(n / 4) pairs or more do. It is a threshold: it says neither how much a video moves, nor whether camera or
    subject does, and jitter counts as motion.

    For n = 2, round(0.5) is 0 pairs, so that any video has 1, a static one too: the official rule, kept. With n = 1 the
    official code says 0 without having looked at motion; here the score is then missing.

    `dynamic_degree` among the arrays holds each pair's flow in pixels at a short side of 256: moving means over 6.
    """

    name = "dynamic_degree"
    measures = ("dynamic_degree",)
    binary = ("dynamic_degree",)
    weights = ("raft-things",)
    code = ("alice_repro.models.backbones.correlation",)

    def watch(self, clip: Clip) -> Watcher:
        self.load()
        return _Watcher(self, clip)

    def flow(self, frames: Tensor, features: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Flow of each successive pair (n - 1, 2, h, w) of frames (n, 3, h, w), and the last frame's features.

        Args:
            features: of the first frame, if known. A network with a method `features` computes a frame's features once
                for both of its pairs (the official code does it twice); any callable of two frames will do.
        """
        network = self.networks["raft-things"]
        if not hasattr(network, "features"):
            return self.run("raft-things", frames[:-1], frames[1:]), None
        frames = frames.to(self.tools.device)
        with torch.no_grad():
            maps = network.features(frames if features is None else frames[1:])
            maps = maps if features is None else torch.cat([features, maps])
            flow = network(frames[:-1], frames[1:], features=(maps[:-1], maps[1:]))
        return flow.float().cpu(), maps[-1:].clone()


def fastest_flow(flow: Tensor) -> Tensor:
    """Mean length of the longest 5 % of vectors in each flow (n, 2, h, w), in pixels: (n,)."""
    lengths = flow.square().sum(dim=1).sqrt().flatten(1)
    return lengths.topk(int(lengths.shape[1] * FASTEST), dim=1).values.mean(dim=1)


def moves(flows: list[float], height: int, width: int) -> bool:
    """Whether a video of len(flows) + 1 sampled frames moves, by the flow of each pair, in pixels."""
    threshold = THRESHOLD * (min(height, width) / THRESHOLD_SIDE)
    return sum(flow > threshold for flow in flows) >= round(4 * ((len(flows) + 1) / 16.0))


class _Watcher:
    def __init__(self, metric: DynamicDegree, clip: Clip) -> None:
        self.metric = metric
        self.interval = max(1, round(clip.fps / 8))
        self.count = 0
        self.size = (0, 0)
        self.flows: list[float] = []
        self.last: Tensor | None = None
        self.features: Tensor | None = None
        self.batches = Batches(pairs_together(clip.height, clip.width, metric.tools.batch), self._run)

    def see(self, frame: np.ndarray) -> None:
        if self.count % self.interval == 0:
            self.size = frame.shape[:2]
            if self.last is None:
                self.last = flow_input(frame)
            else:
                self.batches.add(frame)
        self.count += 1

    def _run(self, frames: list[np.ndarray]) -> None:
        # Padded as in the official code, whose flow covers the padding too.
        inputs = torch.cat([self.last, *map(flow_input, frames)])
        self.last = inputs[-1:].clone()
        flow, self.features = self.metric.flow(inputs, self.features)
        self.flows += fastest_flow(flow).tolist()

    def result(self) -> Result:
        self.batches.flush()
        if not self.flows:
            return Result({"dynamic_degree": f"needs {self.interval + 1} frames or more: two at 8 a second"})
        if not np.isfinite(self.flows).all():
            return Result({"dynamic_degree": "raft-things gives a flow that is no finite number: check its weights"})
        height, width = self.size
        flows = np.array(self.flows, np.float32) * (THRESHOLD_SIDE / min(height, width))
        return Result({"dynamic_degree": float(moves(self.flows, height, width))}, {"dynamic_degree": flows})
