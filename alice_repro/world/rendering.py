"""Drawing a trajectory: anti-aliased shapes over a background and a floor, seen by a camera, in a style."""

from __future__ import annotations

import cv2
import numpy as np

from alice_repro.world.physics import BLOCK_RADIUS, EXTENT, FLOOR, Trajectory, outline
from alice_repro.world.scene import HUES, Scene

FLOOR_COLOUR = (38.0, 38.0, 42.0)
BLOCK_COLOUR = (150.0, 150.0, 150.0)
SUPERSAMPLE = 3
_SHIFT = 4  # fractional bits of cv2's polygon corners


def render(scene: Scene, path: Trajectory, size: int) -> np.ndarray:
    """Draw a clip.

    Returns:
        uint8 array (T, size, size, 3), RGB.
    """
    views = camera_path(scene, len(path.angle))
    corners = outline(scene.caption.shape, scene.radius)
    frames = [_draw_frame(scene, path, frame, corners, views[frame], size) for frame in range(len(path.angle))]
    clip = np.stack(frames).astype(np.float32)
    if path.blur > 0:
        clip = np.stack([cv2.GaussianBlur(f, (0, 0), path.blur * size / EXTENT) for f in clip])
    clip = stylise(clip, scene.caption.style) * path.gain[:, None, None, None]
    return np.clip(clip, 0, 255).round().astype(np.uint8)


def camera_path(scene: Scene, frames: int) -> np.ndarray:
    """Affine view of each frame, (T, 2, 3): world pixels to screen pixels, both in a 64-pixel frame."""
    rng = scene.rng("camera")
    kind = scene.caption.camera
    time = np.linspace(0.0, 1.0, frames)
    sign = rng.choice([-1.0, 1.0])
    shift = np.zeros((frames, 2))
    scale, turn = np.ones(frames), np.zeros(frames)
    if kind == "pan":
        shift[:, 0] = sign * rng.uniform(8.0, 12.0) * (time - 0.5)
    elif kind == "zoom":
        scale = np.exp(sign * rng.uniform(0.2, 0.3) * (time - 0.5))
    elif kind == "roll":
        turn = sign * np.deg2rad(rng.uniform(12.0, 18.0)) * (time - 0.5)
    elif kind == "shake":
        shift = rng.normal(0.0, 1.3, (frames, 2))
    centre = np.array([EXTENT / 2, EXTENT / 2])
    views = np.empty((frames, 2, 3))
    for i in range(frames):
        cos, sin = np.cos(turn[i]) * scale[i], np.sin(turn[i]) * scale[i]
        linear = np.array([[cos, -sin], [sin, cos]])
        views[i] = np.column_stack([linear, centre + shift[i] - linear @ centre])
    return views


def _draw_frame(
    scene: Scene, path: Trajectory, frame: int, corners: np.ndarray, view: np.ndarray, size: int
) -> np.ndarray:
    side = size * SUPERSAMPLE
    canvas = np.empty((side, side, 3), np.uint8)
    canvas[:] = HUES[scene.hue]
    unit = side / EXTENT
    line = max(1, round(unit * 1.2)) if scene.caption.style == "outline" else 0

    def polygon(points: np.ndarray, colour: np.ndarray | tuple[float, ...], edge: int = 0) -> None:
        screen = (points @ view[:, :2].T + view[:, 2]) * unit * (1 << _SHIFT)
        fixed = [np.round(screen).astype(np.int32)]
        cv2.fillPoly(canvas, fixed, tuple(float(c) for c in colour), cv2.LINE_AA, _SHIFT)
        if edge:
            cv2.polylines(canvas, fixed, True, (15.0, 15.0, 15.0), edge, cv2.LINE_AA, _SHIFT)

    polygon(np.array([[-99, FLOOR], [163, FLOOR], [163, 163], [-99, 163]], float), FLOOR_COLOUR)
    if path.block is not None:
        square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * BLOCK_RADIUS
        polygon(path.block[frame] + square, BLOCK_COLOUR, line)
    if path.visible[frame]:
        cos, sin = np.cos(path.angle[frame]), np.sin(path.angle[frame])
        turn = np.array([[cos, -sin], [sin, cos]]).T
        polygon(path.position[frame] + corners @ turn, path.colour[frame], line)
        if scene.caption.motion == "roll":  # a mark, so that the turning can be seen
            radius = scene.radius
            mark = np.array([[0.15, -0.2], [0.8, -0.2], [0.8, 0.2], [0.15, 0.2]]) * radius
            polygon(path.position[frame] + mark @ turn, (30.0, 30.0, 30.0))
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)


def stylise(clip: np.ndarray, style: str) -> np.ndarray:
    """Colours (..., 3) of a drawing in a style, before clipping; "outline" changes edges only."""
    if style == "night":
        return clip * 0.55
    if style == "pastel":
        return clip * 0.6 + 80.0
    return clip
