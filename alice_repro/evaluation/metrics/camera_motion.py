"""VBench-I2V's camera motion: does the camera move as the prompt asks.

CoTracker2 is not in this package: it is published as a repository only, and takes a whole video at once. Who has it, or
another tracker, names a function of his own (option `network`); who has not gets a reason in place of a score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from alice_repro.evaluation.metric import Clip, Metric, Result, Tools, Watcher
from alice_repro.evaluation.metrics.i2v import Unmeasured, absent_network, named_network

GRID = 10  # CoTracker's points a side
STILL = 0.005  # of the short side: a point that moved less stands still
CAMERA_TYPES = {
    "camera pans left": "pan_left",
    "camera pans right": "pan_right",
    "camera tilts up": "tilt_up",
    "camera tilts down": "tilt_down",
    "camera zooms in": "zoom_in",
    "camera zooms out": "zoom_out",
    "camera static": "static",
}
# How two opposite edges of the picture move -> what the camera does; pictures move against the camera.
_TOGETHER = {("left", "left"): "pan_right", ("right", "right"): "pan_left", ("static", "static"): "static"}
_TOGETHER |= {("down", "down"): "tilt_up", ("up", "up"): "tilt_down"}
_TOP_BOTTOM = _TOGETHER | {("up", "down"): "zoom_in", ("down", "up"): "zoom_out"}
_LEFT_RIGHT = _TOGETHER | {("left", "right"): "zoom_in", ("right", "left"): "zoom_out"}


@dataclass(frozen=True)
class Options:
    """Attributes: network: "module:function", where function(device)(height, width) gives a `GridTracker`."""

    network: str = ""


class GridTracker(Protocol):
    """Follows a grid of 10 x 10 points, laid over the first frame, through one video."""

    def see(self, frame: np.ndarray) -> None:
        """Take the next frame, uint8 (H, W, 3) RGB."""

    def ends(self) -> np.ndarray:
        """The points in the first and in the last frame: (2, 100, 2), row by row, (x, y) in pixels."""


class CameraMotion(Metric):
    """1 if the camera does what the prompt says, else 0, from the edges of a tracked grid of points.

    The prompt, or else the file's name, holds "camera pans left" or another of the seven that VBench-I2V knows. Four
    points at the middle of the edges decide: an edge moves if its point moved over 0.5 % of the short side from the
    first frame to the last, and what opposite edges do names the motion. Pans and tilts of the scene itself count too.
    Official scores use CoTracker2's points.
    """

    name = "camera_motion"
    measures = ("camera_motion",)
    binary = ("camera_motion",)
    reads_caption = True
    Options = Options

    def __init__(
        self,
        tools: Tools,
        options: Mapping[str, Any] | None = None,
        tracker: Callable[[int, int], GridTracker] | None = None,
    ) -> None:
        super().__init__(tools, options)
        self.tracker = tracker

    def watch(self, clip: Clip) -> Watcher:
        if self.tracker is None and self.options.network:
            self.tracker = named_network(self.options.network, self.tools.device)
        if self.tracker is None:
            return Unmeasured(self.name, absent_network("CoTracker2", self.name))
        text = clip.caption or Path(clip.video).name
        asked = next((kind for words, kind in CAMERA_TYPES.items() if words in text), None)
        if asked is None:
            return Unmeasured(self.name, f"its prompt names no camera motion: one of {', '.join(CAMERA_TYPES)}")
        return _CameraWatcher(self.tracker(clip.height, clip.width), asked, min(clip.height, clip.width))


class _CameraWatcher:
    def __init__(self, tracker: GridTracker, asked: str, side: int) -> None:
        self.tracker, self.asked, self.side = tracker, asked, side
        self.see = tracker.see

    def result(self) -> Result:
        first, last = np.trunc(self.tracker.ends()).reshape(2, GRID, GRID, 2)
        return Result({"camera_motion": float(self.asked in classify_camera(first, last, self.side))})


def classify_camera(first: np.ndarray, last: np.ndarray, side: int) -> set[str]:
    """What the camera does: one or more of the types, "static" only if all edges stand still; empty if they fit none.

    Args:
        first, last: whole pixels (x, y) of the grid, (10, 10, 2); side: the frame's short side.
    """
    middle = GRID // 2
    moved = last - first
    top, bottom, left, right = (
        _directions(moved[at], side * STILL) for at in ((0, middle), (-1, middle), (middle, 0), (middle, -1))
    )
    vertical = {_TOP_BOTTOM[pair] for pair in product(top, bottom) if pair in _TOP_BOTTOM}
    horizontal = {_LEFT_RIGHT[pair] for pair in product(left, right) if pair in _LEFT_RIGHT}
    if vertical == horizontal == {"static"}:
        return {"static"}
    return (vertical | horizontal) - {"static"}


def _directions(vector: np.ndarray, still: float) -> list[str]:
    x, y = vector
    names = [name for name, far in (("right", x), ("left", -x), ("down", y), ("up", -y)) if far > still]
    return names or ["static"]
