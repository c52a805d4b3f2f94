"""Finding the objects of a clip from its pixels: background, floor, the coloured object, the grey block.

Everything is estimated per clip, so that ringing of a codec, H.264 and the softness of a generator shift the estimates
together. Colours are compared in two opponent chroma channels, u = R - G and v = (R + G) / 2 - B, in 8-bit units: the
grey block and the dark floor have next to none, the six object colours have much. All lengths are pixels of a
64-pixel frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from alice_repro.world.physics import FLOOR
from alice_repro.world.rendering import BLOCK_COLOUR

_BAND = slice(44, 64)  # rows in which the floor's edge is looked for
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_OPPONENT = np.array([[1.0, -1.0, 0.0], [0.5, 0.5, -1.0]], np.float32)
_MIN_CHROMA = 42.0  # an object's chroma differs from the background's by at least this; clean ones by 88 or more
_MIN_AREA = 30.0  # pixels; the smallest clean object has 207
_CORE = 0.6  # share of a frame's strongest chroma difference that counts as the inside of the object
_EDGE_PIXELS = 40  # pixels of steepest mask from which softness is read; the smallest outline is about 60 long


@dataclass(frozen=True)
class Background:
    """What lies behind the objects.

    Attributes:
        colour, floor_colour: (3,) RGB at gain 1.
        floor: y of the floor's edge, pixels.
        softness: standard deviation of the floor edge's blur, pixels.
        gain: (T,) brightness of each frame's background relative to the clip's.
        rows: (H, 3) RGB of the background in each row at gain 1.
    """

    colour: np.ndarray
    floor_colour: np.ndarray
    floor: float
    softness: float
    gain: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class Track:
    """One object through a clip; entries of frames in which it is not visible are NaN, areas 0.

    Attributes:
        visible: (T,) bool.
        position: (T, 2) centroid x, y, sub-pixel.
        area: (T,) pixels.
        box: (T, 4) left, top, right, bottom of the mask's half-height contour.
        chroma: (T, 2) u, v of the object's inside at gain 1.
        colour: (T, 3) RGB of the object's inside at gain 1.
        softness: (T,) standard deviation of the blur that its edges show, pixels.
        mask: (T, H, W) soft mask, 0..1.
    """

    visible: np.ndarray
    position: np.ndarray
    area: np.ndarray
    box: np.ndarray
    chroma: np.ndarray
    colour: np.ndarray
    softness: np.ndarray
    mask: np.ndarray


def chroma(rgb: np.ndarray) -> np.ndarray:
    """Opponent chroma (..., 2) of RGB (..., 3)."""
    return rgb @ _OPPONENT.T


def estimate_background(frames: np.ndarray) -> Background:
    """Background of a clip (T, 64, 64, 3) float32: medians above and below the floor's edge."""
    upper = frames[:, :50:2, ::2].reshape(len(frames), -1, 3)
    colour = np.median(upper.reshape(-1, 3), axis=0)
    luma = upper @ _LUMA
    gain = np.median(luma, axis=1) / max(float(np.median(luma)), 1.0)
    lower = frames[:, 59::2, ::2].reshape(-1, 3)
    floor_colour = np.median(lower, axis=0)
    share = _floor_share(frames / np.maximum(gain, 0.05)[:, None, None, None], colour, floor_colour)
    slope = np.diff(share[_BAND], prepend=0.0).clip(0)
    edge = _BAND.stop - float(share[_BAND].sum())
    softness = 1.0 / (np.sqrt(2 * np.pi) * max(float(slope.max()), 1e-3))
    rows = colour + share[:, None] * (floor_colour - colour)
    return Background(colour, floor_colour, edge, softness, gain, rows.astype(np.float32))


def _floor_share(frames: np.ndarray, colour: np.ndarray, floor_colour: np.ndarray) -> np.ndarray:
    """How much of each row's background is floor, (H,): 0 above the edge, 1 below, read off where no object stands."""
    height = frames.shape[1]
    step = np.clip(np.arange(height) + 1 - FLOOR, 0, 1)
    axis = (floor_colour - colour).astype(np.float32)
    length = float(axis @ axis)
    if length < 100.0:  # no floor to be seen
        return np.where(step > 0, step, 0.0)
    offset = frames[:, _BAND] - colour.astype(np.float32)
    share = offset @ axis / length
    residual = np.abs(offset - share[..., None] * axis).sum(axis=-1)
    plain = (residual < 30.0) & (share > -0.25) & (share < 1.25)
    count = plain.sum(axis=(0, 2))
    mean = np.where(plain, share, 0.0).sum(axis=(0, 2)) / np.maximum(count, 1)
    full = step.copy()
    full[_BAND] = np.where(count >= 20, mean.clip(0, 1), step[_BAND])
    return full


def track_object(frames: np.ndarray, background: Background) -> Track:
    """Follow the coloured object: in each frame the largest region whose chroma differs from the background's.

    Args:
        frames: (T, 64, 64, 3) float32.
    """
    level = frames / np.maximum(background.gain, 0.05).astype(np.float32)[:, None, None, None]
    offset = chroma(level) - chroma(background.rows)[None, :, None]
    strength = np.sqrt((offset**2).sum(axis=-1))
    peak = np.partition(strength.reshape(len(frames), -1), -80, axis=1)[:, -80]
    cores = strength > np.maximum(_CORE * peak, _MIN_CHROMA)[:, None, None]
    track = _empty(frames.shape[:3])
    for t in np.flatnonzero(peak >= _MIN_CHROMA):
        core, size = _largest(cores[t])
        if size < _MIN_AREA / 2:
            continue
        direction = offset[t][core].mean(axis=0)
        share = (offset[t] @ direction / (direction @ direction)).clip(0, 1)
        region, size = _largest(share > 0.5)
        if size < _MIN_AREA:
            continue
        mask = np.where(cv2.dilate(region.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0, share, 0.0)
        _record(track, t, mask, region, level[t][core].mean(axis=0))
    return track


def track_block(frames: np.ndarray, background: Background) -> Track:
    """Follow the grey block of a collision: a bright region without chroma that stands on the floor."""
    level = frames / np.maximum(background.gain, 0.05).astype(np.float32)[:, None, None, None]
    ground = background.rows @ _LUMA
    contrast = (level @ _LUMA - ground[:, None]) / (_LUMA @ np.array(BLOCK_COLOUR) - ground)[:, None]
    grey = (1.5 - np.abs(chroma(level)).sum(axis=-1) / 40.0).clip(0, 1)
    share = contrast.clip(0, 1) * grey
    share[:, :32] = 0.0
    track = _empty(frames.shape[:3])
    for t in range(len(frames)):
        region, size = _largest(share[t] > 0.5)
        if size >= _MIN_AREA:
            _record(track, t, np.where(region, share[t], 0.0), region, level[t][region].mean(axis=0))
    return track


def _empty(shape: tuple[int, int, int]) -> Track:
    frames = shape[0]

    def missing(*width: int) -> np.ndarray:
        return np.full((frames, *width), np.nan)

    return Track(
        np.zeros(frames, bool), missing(2), np.zeros(frames), missing(4), missing(2), missing(3), missing(),
        np.zeros(shape, np.float32),
    )  # fmt: skip


def _record(track: Track, t: int, mask: np.ndarray, region: np.ndarray, colour: np.ndarray) -> None:
    across, down = mask.sum(axis=0), mask.sum(axis=1)
    area = down.sum()
    centres = np.arange(mask.shape[0]) + 0.5
    slope = np.hypot(mask[1:-1, 2:] - mask[1:-1, :-2], mask[2:, 1:-1] - mask[:-2, 1:-1]) / 2
    steepest = np.partition(slope, -_EDGE_PIXELS, axis=None)[-_EDGE_PIXELS:].mean()
    track.visible[t] = True
    track.position[t] = across @ centres / area, down @ centres / area
    track.area[t] = area
    columns, rows = np.flatnonzero(region.any(axis=0)), np.flatnonzero(region.any(axis=1))
    track.box[t] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    track.colour[t] = colour
    track.chroma[t] = chroma(colour)
    track.softness[t] = 1.0 / (np.sqrt(2 * np.pi) * max(float(steepest), 1e-3))
    track.mask[t] = mask


def _largest(region: np.ndarray) -> tuple[np.ndarray, int]:
    """The largest connected part of a boolean image, and its number of pixels."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=4)
    if count == 1:
        return region, 0
    best = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return labels == best, int(stats[best, cv2.CC_STAT_AREA])
