"""VBench's temporal flickering: needs no weights, and falls with any motion.

Official results are of prompts for static scenes, with clips that move dropped; here every clip counts.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from alice_repro.errors import UserError
from alice_repro.evaluation.metric import Clip, Metric, Result, Watcher


def temporal_flickering(frames: Iterable[np.ndarray]) -> float:
    """(255 - m) / 255, m: the mean over successive frames of their mean absolute difference; 1 = static.

    In float32, in OpenCV's order of channels, as the official code has it: equal to it in every digit.

    Args:
        frames: two or more uint8 (H, W, 3) RGB frames of one size.
    """
    watcher = _Watcher()
    for frame in frames:
        watcher.see(frame)
    value = watcher.result().values["temporal_flickering"]
    if isinstance(value, str):
        raise UserError(f"temporal flickering {value}")
    return value


class TemporalFlickering(Metric):
    """1 - mean absolute difference of successive frames / 255; 1 = static. Any motion lowers it."""

    name = "temporal_flickering"
    measures = ("temporal_flickering",)

    def watch(self, clip: Clip) -> Watcher:
        return _Watcher()


class _Watcher:
    def __init__(self) -> None:
        self.previous: np.ndarray | None = None
        self.differences: list[np.float32] = []

    def see(self, frame: np.ndarray) -> None:
        if self.previous is not None:
            change = np.maximum(frame, self.previous) - np.minimum(frame, self.previous)
            # OpenCV's channel order: the float32 sum rounds in that order, the last digits need it.
            self.differences.append(np.mean(change[..., ::-1].astype(np.float32, order="C")))
        self.previous = frame

    def result(self) -> Result:
        if not self.differences:
            return Result({"temporal_flickering": "needs two frames or more"})
        return Result({"temporal_flickering": (255.0 - np.mean(self.differences).item()) / 255.0})
