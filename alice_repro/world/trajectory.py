"""Reading a path: which motion it is, how far it travels, whether it jumps. Rules a person can check, no fitted model.

A path is (T, 2) pixels, y downwards, NaN where the object is not seen. The rules come from the world's own physics: what falls
goes down and stays, what bounces comes back up, what floats rises, what slides keeps its height, what orbits turns full circle.
"""

from __future__ import annotations

import numpy as np

STILL = 4.0  # px; a path that stays within this does not move. Frozen clips travel up to 4 % of a clean path, under 2 px
MIN_SEEN = 4  # frames
_REBOUND = 0.25  # share of the fall that a bounce climbs back; clean bounces climb about 0.8, falls under 0.1
_LEVEL = 0.45  # a level path rises or falls by at most this share of its length
_TURN = 1.25 * np.pi  # an orbit turns by at least this; clean ones by 1.9 pi
_FREE_SPEED = 9.0  # px a frame; nothing in the world falls faster
_JUMP = 5.0  # px off the path's local course; a step beyond this is part of a jump


def travel(path: np.ndarray) -> float:
    """Diagonal of the box around the path, pixels; 0 if it is seen in fewer than two frames."""
    seen = path[np.isfinite(path[:, 0])]
    return float(np.hypot(*np.ptp(_smooth(seen), axis=0))) if len(seen) > 1 else 0.0


def jump(path: np.ndarray) -> float:
    """Largest leap from the local course, pixels: sideways over one or two frames, or vertically beyond free-fall speed."""
    steps = _steps(path)
    if np.isfinite(steps[:, 0]).sum() < 2:
        return 0.0
    excess = steps[:, 0] - _course(steps[:, 0])
    pairs = excess[1:] + excess[:-1]
    sideways = np.nanmax(np.abs(np.concatenate([excess, pairs])))
    return float(max(sideways, np.nanmax(np.abs(steps[:, 1])) - _FREE_SPEED))


def without_jump(path: np.ndarray) -> np.ndarray:
    """The path with sideways leaps taken out: what follows a leap is moved back onto the local course."""
    steps = _steps(path)[:, 0]
    course = _course(steps)
    leap = np.where(np.abs(steps - course) > _JUMP, steps - course, 0.0)
    whole = path.copy()
    whole[1:, 0] -= np.cumsum(leap)
    return whole


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
    if min(width, height) > 0.4 * max(width, height) and abs(turning(path)) > _TURN:
        return "orbit"
    if height <= _LEVEL * width:
        return "collide" if block_moved else "slide"
    if width > 1.2 * height:
        return None
    y = seen[:, 1]
    rise, drop = y[0] - y.min(), y.max() - y[0]
    if rise > drop:
        fallen_back = y[np.argmin(y) :].max() - y.min()
        return "float" if fallen_back < _REBOUND * height else None
    climbed = y.max() - y[np.argmax(y) :].min()
    return "bounce" if climbed > _REBOUND * height else "fall"


def turning(path: np.ndarray) -> float:
    """Angle through which the path turns about its own middle, radians; positive is clockwise on the screen (y down)."""
    seen = path[np.isfinite(path[:, 0])]
    if len(seen) < MIN_SEEN:
        return 0.0
    middle = (seen.min(axis=0) + seen.max(axis=0)) / 2
    angle = np.unwrap(np.arctan2(*(seen - middle).T[::-1]))
    return float(angle[-1] - angle[0])


def _steps(path: np.ndarray) -> np.ndarray:
    return np.diff(path, axis=0)


def _course(steps: np.ndarray) -> np.ndarray:
    """Median of the up to four steps around each one, itself left out; 0 where none is known."""
    padded = np.concatenate([[np.nan, np.nan], steps, [np.nan, np.nan]])
    around = np.stack([padded[:-4], padded[1:-3], padded[3:-1], padded[4:]])
    known = np.isfinite(around)
    around[:, ~known.any(axis=0)] = 0.0
    return np.nanmedian(around, axis=0)


def _smooth(path: np.ndarray) -> np.ndarray:
    """Means over three frames, which a codec's jitter survives less than a motion does."""
    if len(path) < 3:
        return path
    return (path[:-2] + path[1:-1] + path[2:]) / 3
