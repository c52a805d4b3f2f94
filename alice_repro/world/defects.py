"""Defects of web clips: what the caption does not mention and Newton does not allow.

Each defect is a function of a clean trajectory. Their shares among defective clips are fixed here; about 15 % of all
web clips are frozen or nearly so, so that collapse to stillness and recovery from it can both show.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from alice_repro.world.captions import COLOURS
from alice_repro.world.physics import FLOOR, Trajectory
from alice_repro.world.scene import Scene

FROZEN_SHARE = 0.36  # of defective clips: 0.36 x mean rate 0.417 = 15 % of web clips
FREE_MOTIONS = ("fall", "bounce", "float")  # gravity or buoyancy alone moves the object
FLOOR_MOTIONS = ("fall", "bounce", "slide", "roll", "collide")  # the object touches the floor


def _gravity_reversed(scene: Scene, path: Trajectory, rng: np.random.Generator) -> None:
    """The path mirrored between floor and ceiling: things fall up, and what floats sinks."""
    path.position[:, 1] = FLOOR - path.position[:, 1]


def _teleport(scene: Scene, path: Trajectory, rng: np.random.Generator) -> None:
    """From one frame to the next the object stands elsewhere, at least 18 pixels away in x."""
    frame = int(rng.integers(5, len(path.angle) - 4))
    x = path.position[frame, 0]
    target = rng.uniform(12.0, x - 18.0) if x > 32 else rng.uniform(x + 18.0, 52.0)
    path.position[frame:, 0] = np.clip(path.position[frame:, 0] + target - x, 6.0, 58.0)


def _vanish(scene: Scene, path: Trajectory, rng: np.random.Generator) -> None:
    """The object is gone for at least six frames, or until the end."""
    frame = int(rng.integers(4, len(path.angle) - 6))
    stop = frame + 6 if rng.random() < 0.3 else len(path.angle)
    path.visible[frame:stop] = False


def _interpenetration(scene: Scene, path: Trajectory, rng: np.random.Generator) -> None:
    """The object sinks into the solid floor, by 0.8 to 1.1 of its half height at the lowest point of its path."""
    depth = scene.radius * rng.uniform(0.8, 1.1)
    y = path.position[:, 1]
    low, high = y.min(), FLOOR - scene.radius
    if high - low < 2.0:  # it moves along the floor: sink over the first third
        y += depth * np.clip(np.arange(len(y)) / (len(y) / 3), 0, 1)
    else:  # stretch the fall so that it ends inside the floor
        path.position[:, 1] = low + (y - low) * (high + depth - low) / (high - low)


def _flicker(scene: Scene, path: Trajectory, rng: np.random.Generator) -> None:
    """Brightness jumps by 22 to 30 % every second frame."""
    sign = np.where((np.arange(len(path.angle)) // 2 + rng.integers(2)) % 2, 1.0, -1.0)
    path.gain[:] = 1.0 + sign * rng.uniform(0.11, 0.15)


def _colour_drift(scene: Scene, path: Trajectory, rng: np.random.Generator) -> None:
    """The object ends in another colour of the palette."""
    others = [np.array(rgb, float) for name, rgb in COLOURS.items() if name != scene.caption.colour]
    target = others[rng.integers(len(others))]
    weight = np.clip((np.arange(len(path.angle)) - 2) / (len(path.angle) - 6), 0, 1)[:, None]
    path.colour[:] = path.colour * (1 - weight) + target * weight


def _blur(scene: Scene, path: Trajectory, rng: np.random.Generator) -> None:
    """The whole clip out of focus."""
    path.blur = rng.uniform(3.2, 4.0)


def _frozen(scene: Scene, path: Trajectory, rng: np.random.Generator) -> None:
    """Nothing moves, or only 4 % as far as it should."""
    frame = int(rng.integers(0, 4))
    share = rng.choice([0.0, 0.04])
    for array in filter(lambda a: a is not None, (path.position, path.block)):
        array[:] = array[frame] + share * (array - array[frame])
    path.angle[:] = path.angle[frame]


DEFECTS: dict[str, Callable[[Scene, Trajectory, np.random.Generator], None]] = {
    "gravity_reversed": _gravity_reversed,
    "teleport": _teleport,
    "vanish": _vanish,
    "interpenetration": _interpenetration,
    "flicker": _flicker,
    "colour_drift": _colour_drift,
    "blur": _blur,
    "frozen": _frozen,
}


def applicable_defects(motion: str) -> list[str]:
    """Defects that a motion can show: gravity needs free motion, interpenetration needs contact."""
    skipped = set()
    if motion not in FREE_MOTIONS:
        skipped.add("gravity_reversed")
    if motion not in FLOOR_MOTIONS:
        skipped.add("interpenetration")
    return [name for name in DEFECTS if name not in skipped]


def draw_defect(motion: str, rate: float, rng: np.random.Generator) -> str | None:
    """Draw a web clip's defect, or None: probability ``rate``, of which :data:`FROZEN_SHARE` frozen, the rest equal."""
    if rng.random() >= rate:
        return None
    if rng.random() < FROZEN_SHARE:
        return "frozen"
    return str(rng.choice([name for name in applicable_defects(motion) if name != "frozen"]))


def apply_defect(scene: Scene, path: Trajectory) -> None:
    """Put the scene's defect into a clean trajectory, in place."""
    if scene.defect is not None:
        DEFECTS[scene.defect](scene, path, scene.rng("defect"))
