"""VBench's motion smoothness: how well a network that interpolates guesses each second frame."""

from __future__ import annotations

import numpy as np
import torch

from alice_repro.evaluation.metric import Clip, Result, Watcher
from alice_repro.evaluation.networks import Batches, NetworkMetric, pairs_together, score
from alice_repro.evaluation.preprocess import interpolation_input, unpad

Triple = tuple[np.ndarray, np.ndarray, np.ndarray]


class MotionSmoothness(NetworkMetric):
    """(255 - m) / 255, m: mean absolute difference of frames 1, 3, 5 ... from AMT-S's guess between their neighbours.

    0..1, 1 = every guess is right; a frozen clip has nearly 1, and small or slow motion scores higher than fast motion
    that is as smooth. Guesses are cut to whole grey levels, not rounded, as the official code has it; a last frame
    without a right neighbour does not count. On a GPU with little memory the official Python interface (not its command
    line) makes frames smaller first; here, never.
    """

    name = "motion_smoothness"
    measures = ("motion_smoothness",)
    weights = ("amt-s",)
    code = ("alice_repro.models.backbones.correlation",)

    def watch(self, clip: Clip) -> Watcher:
        self.load()
        return _Watcher(self, clip)


class _Watcher:
    def __init__(self, metric: MotionSmoothness, clip: Clip) -> None:
        self.metric = metric
        self.held: list[np.ndarray] = []
        self.differences: list[float] = []
        self.batches = Batches(pairs_together(clip.height, clip.width, metric.tools.batch), self._run)

    def see(self, frame: np.ndarray) -> None:
        self.held.append(frame)
        if len(self.held) == 3:
            self.batches.add((self.held[0], self.held[1], frame))
            self.held = [frame]

    def _run(self, triples: list[Triple]) -> None:
        left, right = (torch.cat([interpolation_input(triple[i]) for triple in triples]) for i in (0, 2))
        guesses = unpad(self.metric.run("amt-s", left, right), *triples[0][1].shape[:2]) * 255.0
        for guess, (_, real, _) in zip(guesses, triples, strict=True):
            if not guess.isfinite().all():
                self.differences.append(np.nan)
                continue
            grey = guess.clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
            self.differences.append(float(np.mean(np.maximum(grey, real) - np.minimum(grey, real))))

    def result(self) -> Result:
        self.batches.flush()
        if not self.differences:
            return Result({"motion_smoothness": "needs three frames or more"})
        return Result({"motion_smoothness": score((255.0 - np.mean(self.differences)) / 255.0, "amt-s")})
