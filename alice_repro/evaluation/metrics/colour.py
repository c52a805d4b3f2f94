"""Saturation and colourfulness of a video: numbers that oversaturation moves, with no network.

AVD and DFD speak of oversaturation and define no measure of it. A single clip has no right value: a film about a
desert is paler than one about a market. So these are numbers of a video, and what counts is their difference from
the teacher's or from real clips of the same prompts.

They depend on the encoding (4:2:0 chroma, the matrix that a reader assumes), which is why both folders of a
comparison should be encoded alike; they hardly depend on the size of a frame, and not on the frame rate.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from alice_repro.errors import UserError
from alice_repro.evaluation.metric import Clip, Metric, Result, Watcher

MEASURES = ("chroma", "hsv_saturation", "colourfulness", "clipped_share")


@dataclass(frozen=True)
class ColourOptions:
    """Settings.

    Attributes:
        margin: a channel is clipped within so many levels of 0 or 255; video's rounding keeps it from the very end.
    """

    margin: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.margin < 128:
            raise UserError(f"margin must be 0 to 127 levels of 255, not {self.margin}")


class Colour(Metric):
    """Means over frames of four numbers of a frame.

    chroma: mean CIELAB chroma C*ab (sRGB, D65); 0 is grey, pure sRGB colours have 100 to 134. Perceptual, so the main
    one. hsv_saturation: mean S of HSV, (max - min) / max, 0 to 1; high for dark colours, however faint.
    colourfulness: M of Hasler and Suesstrunk (2003, Eq. for M^(3)), in 8-bit levels: 0 grey, 109 "extremely
    colourful". clipped_share: share of pixels with a channel at its lower or upper end, 0 to 1; letterbox bars count.
    """

    name = "colour"
    measures = MEASURES
    Options = ColourOptions

    def watch(self, clip: Clip) -> Watcher:
        return _Watcher(self.options.margin)


class _Watcher:
    def __init__(self, margin: int) -> None:
        self.margin = margin
        self.total, self.frames = np.zeros(len(MEASURES)), 0

    def see(self, frame: np.ndarray) -> None:
        self.total += (
            chroma(frame), hsv_saturation(frame), colourfulness(frame), clipped_share(frame, self.margin)
        )  # fmt: skip
        self.frames += 1

    def result(self) -> Result:
        return Result(dict(zip(MEASURES, (self.total / self.frames).tolist(), strict=True)))


def chroma(frame: np.ndarray) -> float:
    """Mean CIELAB chroma of an sRGB frame (H, W, 3) uint8."""
    _, a, b = cv2.split(cv2.cvtColor(frame.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2Lab))
    return float(np.sqrt(a * a + b * b).mean(dtype=np.float64))  # cv2.magnitude differs from run to run


def hsv_saturation(frame: np.ndarray) -> float:
    """Mean HSV saturation of a frame (H, W, 3) uint8; black counts as 0."""
    least, most = _range(frame)
    return cv2.mean(cv2.divide(cv2.subtract(most, least), cv2.max(most, 1), dtype=cv2.CV_32F))[0]


def colourfulness(frame: np.ndarray) -> float:
    """Hasler and Suesstrunk's M = sigma + 0.3 mu of a frame (H, W, 3) uint8.

    With rg = R - G and yb = (R + G) / 2 - B, sigma and mu are the lengths of (sigma_rg, sigma_yb) and (mu_rg, mu_yb).
    """
    red, green, blue = (channel.astype(np.int16) for channel in cv2.split(frame))
    (mu_rg, sigma_rg), (mu_yb2, sigma_yb2) = (
        (float(mean[0, 0]), float(deviation[0, 0]))
        for mean, deviation in map(cv2.meanStdDev, (red - green, red + green - 2 * blue))
    )
    return float(np.hypot(sigma_rg, sigma_yb2 / 2) + 0.3 * np.hypot(mu_rg, mu_yb2 / 2))


def clipped_share(frame: np.ndarray, margin: int) -> float:
    """Share of pixels of a frame (H, W, 3) uint8 with a channel within ``margin`` levels of 0 or 255."""
    least, most = _range(frame)
    return float(((least <= margin) | (most >= 255 - margin)).mean())


def _range(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest channel of each pixel, (H, W) each."""
    red, green, blue = cv2.split(frame)
    return cv2.min(cv2.min(red, green), blue), cv2.max(cv2.max(red, green), blue)
