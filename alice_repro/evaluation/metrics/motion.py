"""How much moves in a video: optical flow, likeness of adjacent frames, frozen frames, variance in time. No network.

Measures of collapse to stillness and of its opposite. They say how much moves, not whether it should: a camera shake,
a cut and a flicker move pixels too. VBench's dynamic degree (RAFT, one threshold, yes or no) is another measure.

Frames are first reduced to ``short_side`` pixels (area average, never enlarged), so that one film at two sizes gives
the same numbers; flow is then given in shares of the short side a second, and also, as papers print it, in pixels of
the original frame per frame. What depends on the frame rate: everything per frame and per pair (twice the rate halves
the flow per frame and makes adjacent frames more alike). What does not: the ``_rate`` measures and ``pixel_variance``.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from alice_repro.errors import UserError
from alice_repro.evaluation.metric import Clip, Metric, Result, Watcher

SMALLEST = 32  # pixels of the short side: DIS needs a few patches of 8 at half the size
TOP = 0.05  # share of the fastest pixels, as VBench's dynamic degree takes it
_FLOW = ("flow_mean", "flow_top", "flow_mean_rate", "flow_top_rate")
_PAIRS = ("adjacent_similarity", "frozen_share")


@dataclass(frozen=True)
class MotionOptions:
    """Settings.

    Attributes:
        short_side: pixels of the short side at which everything is computed.
        still: a pair of frames is nearly frozen if the mean change of the 5 % of pixels that change most is below
            this, in levels of 255. Set on clips of the lab's world after an mp4 file: of 60 clips each, 1 % of the
            pairs of clean ones and 88 % of those of frozen ones (some of which creep) are below it.
    """

    short_side: int = 256
    still: float = 2.5

    def __post_init__(self) -> None:
        if self.short_side < SMALLEST:
            raise UserError(f"short_side must be at least {SMALLEST} pixels, not {self.short_side}")


class Motion(Metric):
    """Means over pairs of adjacent frames, and one number of all frames.

    flow_mean, flow_top: length of the optical flow (OpenCV's DIS, medium preset), mean over pixels and over the
    fastest 5 %; pixels of the original frame per frame. flow_mean_rate, flow_top_rate: the same in shares of the short
    side a second. adjacent_similarity: Pearson's correlation of the luma of adjacent frames; 1 = same up to contrast.
    frozen_share: share of pairs that are nearly frozen. pixel_variance: mean over pixels and channels of the variance
    along time, of intensities from 0 to 1.
    """

    name = "motion"
    measures = (*_FLOW, *_PAIRS, "pixel_variance")
    Options = MotionOptions

    def watch(self, clip: Clip) -> Watcher:
        return _Watcher(clip.fps, self.options)


class _Watcher:
    def __init__(self, fps: float, options: MotionOptions) -> None:
        self.fps, self.options = fps, options
        self.flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.previous: np.ndarray | None = None
        self.scale, self.side = 1.0, 0
        self.speeds: list[tuple[float, float]] = []
        self.likeness: list[float] = []
        self.frozen: list[bool] = []
        self.variance = RunningVariance()

    def see(self, frame: np.ndarray) -> None:
        self.side = min(frame.shape[:2])
        self.scale = min(1.0, self.options.short_side / self.side)
        small = resize(frame, self.scale)
        self.variance.add(small)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        if self.previous is not None:
            self._pair(self.previous, grey)
        self.previous = grey

    def _pair(self, before: np.ndarray, after: np.ndarray) -> None:
        if min(after.shape) >= SMALLEST:
            self.speeds.append(flow_lengths(self.flow.calc(before, after, None)))
        likeness = correlation(before, after)
        if likeness is not None:
            self.likeness.append(likeness)
        self.frozen.append(top_mean(cv2.absdiff(before, after)) < self.options.still)

    def result(self) -> Result:
        if not self.frozen:
            return Result(dict.fromkeys(Motion.measures, "needs two frames or more"))
        values: dict[str, float | str] = {}
        if self.speeds:
            mean, top = (float(v) / self.scale for v in np.mean(self.speeds, axis=0))
            values |= {"flow_mean": mean, "flow_top": top}
            for name, pixels in (("flow_mean_rate", mean), ("flow_top_rate", top)):
                values[name] = pixels / self.side * self.fps if self.fps > 0 else "the file does not say its frame rate"
        else:
            values |= dict.fromkeys(_FLOW, f"optical flow needs frames of {SMALLEST} pixels or more on each side")
        values["adjacent_similarity"] = (
            float(np.mean(self.likeness)) if self.likeness else "every frame is of one colour, so none has a pattern"
        )
        values["frozen_share"] = float(np.mean(self.frozen))
        values["pixel_variance"] = self.variance.mean()
        return Result(values)


class RunningVariance:
    """Variance along time of each pixel, frame by frame (Welford 1962), in the memory of two small frames."""

    def __init__(self) -> None:
        self.count, self.centre, self.spread = 0, 0.0, 0.0

    def add(self, frame: np.ndarray) -> None:
        """Take a frame of intensities 0 to 255."""
        values = frame.astype(np.float64) / 255.0
        self.count += 1
        away = values - self.centre
        self.centre = self.centre + away / self.count
        self.spread = self.spread + away * (values - self.centre)

    def mean(self) -> float:
        """Mean over pixels of the population variance."""
        return float(np.mean(self.spread) / self.count)


def resize(frame: np.ndarray, scale: float) -> np.ndarray:
    """A frame reduced by ``scale`` <= 1, averaged over areas."""
    if scale >= 1.0:
        return np.ascontiguousarray(frame)
    height, width = (max(1, round(side * scale)) for side in frame.shape[:2])
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)


def flow_lengths(flow: np.ndarray) -> tuple[float, float]:
    """Length of a flow (H, W, 2): mean over pixels, and mean over the fastest 5 %."""
    lengths = np.sqrt(np.square(flow).sum(axis=-1))  # cv2.magnitude differs from run to run
    return float(lengths.mean(dtype=np.float64)), top_mean(lengths)


def top_mean(values: np.ndarray) -> float:
    """Mean of the largest 5 % of an array's values, at least one of them."""
    flat = values.ravel()
    count = max(1, int(TOP * flat.size))
    return float(np.partition(flat, flat.size - count)[-count:].mean(dtype=np.float64))


def correlation(before: np.ndarray, after: np.ndarray) -> float | None:
    """Pearson's correlation of two frames; None if one of them is of a single value."""
    a, b = (frame.astype(np.float64) - frame.mean() for frame in (before, after))
    length = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / length) if length > 0 else None
