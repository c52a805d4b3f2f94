"""Clips of the world with their truth: web clips (with defects), clean clips, one named defect, or a stated scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alice_repro.world.captions import COLOURS, Caption
from alice_repro.world.defects import apply_defect, draw_defect
from alice_repro.world.physics import Trajectory, simulate
from alice_repro.world.rendering import render
from alice_repro.world.scene import Scene, draw_attributes, scene_entropy

FRAMES = 17
SIZE = 64
FPS = 8


@dataclass(frozen=True)
class Clip:
    """Frames (T, H, W, 3) uint8, the scene that made them, and the object's path as drawn."""

    frames: np.ndarray
    scene: Scene
    path: Trajectory


def draw_scene(caption: Caption, seed: int, index: int, defect: str | None = "web") -> Scene:
    """Scene ``index`` of a caption.

    Args:
        defect: "web" draws one at the rate of the caption's category; None gives a clean clip; a name gives that
            defect.
    """
    entropy = scene_entropy(caption, seed, index)
    rng = np.random.default_rng(entropy)
    attributes = draw_attributes(rng)
    if defect == "web":
        defect = draw_defect(caption.motion, caption.defect_rate, rng)
    return Scene(caption, **attributes, defect=defect, entropy=entropy)


def make_clip(scene: Scene, frames: int = FRAMES, size: int = SIZE) -> Clip:
    """Simulate, damage and draw a scene."""
    position, angle, block = simulate(scene, frames)
    colour = np.tile(np.array(COLOURS[scene.caption.colour], float), (frames, 1))
    path = Trajectory(position, angle, np.ones(frames, bool), colour, block, np.ones(frames))
    apply_defect(scene, path)
    return Clip(render(scene, path, size), scene, path)
