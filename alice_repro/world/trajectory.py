"""Reading a path: which motion it is, how far it travels, whether it jumps. Rules a person can check, no fitted model.

A path is (T, 2) pixels, y downwards, NaN where the object is not seen. The rules come from the world's own physics:
what falls goes down and stays, what bounces comes back up, what floats rises, what slides keeps its height, what
orbits turns full circle.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

STILL = 4.0  # px; a path that stays within this does not move; frozen clips travel under 2 px
MIN_SEEN = 4  # frames
_REBOUND = 0.25  # share of the fall that a bounce climbs back; clean bounces climb about 0.8, falls under 0.1
_LEVEL = 0.45  # a level path rises or falls by at most this share of its length
_ORBIT = 10.0  # px; an orbit is at least this wide and this high, clean ones 24
_TURN = 1.25 * np.pi  # an orbit turns by at least this; clean ones by 1.9 pi
_BEND = 2.5  # px; how much an orbit bends off its course with every step more
_FREE_SPEED = 9.0  # px a frame; nothing in the world falls faster


def travel(path: np.ndarray) -> float:
    """Diagonal of the box around the path, pixels; 0 if it is seen in fewer than two frames."""
    seen = path[np.isfinite(path[:, 0])]
    return float(np.hypot(*np.ptp(_smooth(seen), axis=0))) if len(seen) > 1 else 0.0


def roughness(path: np.ndarray) -> float | None:
    """Mean size of the path's second difference, pixels per frame squared; None if never seen in three running."""
    size = np.hypot(*np.diff(path, n=2, axis=0).T)
    return float(np.nanmean(size)) if np.isfinite(size).any() else None


def jump(path: np.ndarray) -> float:
    """Largest leap from the local course, pixels: sideways, or vertically beyond free-fall speed."""
    _, _, _, sideways = _leap(path)
    steps = np.abs(np.diff(path[:, 1]))
    fall = np.nanmax(steps) - _FREE_SPEED if np.isfinite(steps).any() else 0.0
    return float(max(sideways, fall))


def without_jump(path: np.ndarray) -> np.ndarray:
    """The path with its largest sideways leap taken out: what follows is moved back onto the local course."""
    size, start, length, _ = _leap(path)
    whole = path.copy()
    whole[:, 0] -= size * np.clip((np.arange(len(path)) - start) / length, 0, 1)
    return whole


def _leap(path: np.ndarray) -> tuple[float, int, int, float]:
    """Signed size in pixels, first frame, duration in steps, and strength of the largest sideways leap.

    A codec spreads a leap over up to three steps. The course is the median of two steps before and two after; the
    strength is the size less an allowance for the course's own bending over longer leaps.
    """
    steps = np.diff(path[:, 0])
    best = (0.0, 0, 1, 0.0)
    for length in (1, 2, 3):
        windows = sliding_window_view(np.pad(steps, 2, constant_values=np.nan), length + 4)
        around = windows[:, [0, 1, -2, -1]]
        excess = windows[:, 2:-2].sum(axis=1)
        known = np.isfinite(excess) & (np.isfinite(around).sum(axis=1) >= 3)
        if known.any():
            excess[known] -= length * np.nanmedian(around[known], axis=1)
            excess[~known] = 0.0
            at = int(np.argmax(np.abs(excess)))
            strength = abs(float(excess[at])) - _BEND * (length - 1)
            if strength > best[3]:
                best = (float(excess[at]), at, length, strength)
    return best


def classify_motion(path: np.ndarray, block_moved: bool) -> str | None:
    """Name the motion of a path: fall, bounce, float, slide, orbit, collide, "none" (still), or None if no rule fits.

    Args:
        block_moved: whether the grey block of a collision is there and was pushed.
    """
    seen = path[np.isfinite(path[:, 0])]
    if len(seen) < MIN_SEEN:
        return None
    if travel(path) < STILL:
        return "none"
    smooth = _smooth(seen)
    width, height = np.ptp(smooth, axis=0)
    if min(width, height) > max(_ORBIT, 0.4 * max(width, height)) and abs(turning(path)) > _TURN:
        return "orbit"
    if height <= _LEVEL * width:
        return "collide" if block_moved else "slide"
    if width > 1.2 * height:
        return None
    y = seen[:, 1]
    rise, drop = y[0] - y.min(), y.max() - y[0]
    if rise > drop:
        fallen_back = (y - np.minimum.accumulate(y)).max()
        return "float" if fallen_back < _REBOUND * height else None
    climbed = (np.maximum.accumulate(y) - y).max()
    return "bounce" if climbed > _REBOUND * height else "fall"


def turning(path: np.ndarray) -> float:
    """Angle through which the path turns about its own middle, radians; positive is clockwise on the screen."""
    seen = path[np.isfinite(path[:, 0])]
    if len(seen) < MIN_SEEN:
        return 0.0
    middle = (seen.min(axis=0) + seen.max(axis=0)) / 2
    angle = np.unwrap(np.arctan2(*(seen - middle).T[::-1]))
    return float(angle[-1] - angle[0])


def _smooth(path: np.ndarray) -> np.ndarray:
    """Means over three frames, which a codec's jitter survives less than a motion does."""
    if len(path) < 3:
        return path
    return (path[:-2] + path[1:-1] + path[2:]) / 3
