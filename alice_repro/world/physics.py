"""Rigid-body motion of a scene (pymunk): positions in pixels of a 64-pixel frame, y downwards, one state a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pymunk

from alice_repro.world.scene import Scene

EXTENT = 64.0
FLOOR = 54.0  # y of the floor's surface
SUBSTEPS = 12  # physics steps a frame
BLOCK_RADIUS = 7.0  # the grey block that a colliding object hits
_WALL = 2.0


@dataclass
class Trajectory:
    """States of a clip's objects.

    Attributes:
        position: (T, 2) centre of the object, pixels.
        angle: (T,) rotation, radians.
        visible: (T,) whether the object is drawn.
        colour: (T, 3) object colour, 0..255.
        block: (T, 2) centre of the grey block, or None.
        gain: (T,) brightness factor of the whole frame.
        blur: standard deviation of the blur over the whole clip, pixels.
    """

    position: np.ndarray
    angle: np.ndarray
    visible: np.ndarray
    colour: np.ndarray
    block: np.ndarray | None
    gain: np.ndarray
    blur: float = 0.0


def outline(shape: str, radius: float) -> np.ndarray:
    """Corners (N, 2) of a shape centred at the origin, lowest point at y = +radius; a ball has 32 corners."""
    if shape == "ball":
        angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
        corners = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    elif shape == "box":
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [0.95, 1.0]
    elif shape == "triangle":
        corners = np.array([[0, -1], [1.15, 1], [-1.15, 1]])
    else:  # cross
        a = 0.38
        corners = np.array(
            [[-a, -1], [a, -1], [a, -a], [1, -a], [1, a], [a, a], [a, 1], [-a, 1], [-a, a], [-1, a], [-1, -a], [-a, -a]]
        )
    return corners * radius


def simulate(scene: Scene, frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Simulate a clean scene.

    Returns:
        position (T, 2), angle (T,) and the block's position (T, 2) or None.
    """
    if scene.caption.motion == "orbit":
        return _orbit(scene, frames)
    space = pymunk.Space()
    floor = pymunk.Segment(space.static_body, (-200, FLOOR + 20), (EXTENT + 200, FLOOR + 20), 20)
    space.add(floor)
    body, shape = _object(scene)
    space.add(body, shape)
    block = _set_up(scene, space, floor, body, shape)
    position, angle, block_position = [], [], []
    for _ in range(frames):
        position.append(tuple(body.position))
        angle.append(body.angle)
        block_position.append(tuple(block.position) if block else (np.nan, np.nan))
        for _ in range(SUBSTEPS):
            space.step(1.0 / SUBSTEPS)
    return np.array(position), np.array(angle), np.array(block_position) if block else None


def _object(scene: Scene) -> tuple[pymunk.Body, pymunk.Shape]:
    rolls = scene.caption.motion == "roll"
    radius = scene.radius
    moment = pymunk.moment_for_circle(1.0, 0, radius) if rolls else float("inf")
    body = pymunk.Body(1.0, moment)
    if scene.caption.shape == "ball" or rolls:  # whatever rolls, rolls on its circumscribed circle
        shape: pymunk.Shape = pymunk.Circle(body, radius)
    else:
        corners = outline(scene.caption.shape, radius)
        shape = pymunk.Poly(body, [tuple(c) for c in corners])  # a cross collides as its convex hull
    return body, shape


def _set_up(
    scene: Scene, space: pymunk.Space, floor: pymunk.Shape, body: pymunk.Body, shape: pymunk.Shape
) -> pymunk.Body | None:
    """Place the object and choose gravity, friction and speed for the motion; returns the block of a collision."""
    rng = scene.rng("physics")
    radius, motion = scene.radius, scene.caption.motion
    inward = 1.0 if scene.side == "left" else -1.0
    x_start = rng.uniform(16.0, 21.0)
    x_start = x_start if scene.side == "left" else EXTENT - x_start
    rest = FLOOR - radius
    floor.friction = shape.friction = 0.0
    floor.elasticity = shape.elasticity = 0.0
    if motion in ("fall", "bounce"):
        body.position = (x_start, radius + rng.uniform(1.0, 3.0))
        body.velocity = (inward * rng.uniform(0.4, 0.7), 0.0)
        if motion == "fall":
            space.gravity = (0.0, rng.uniform(0.55, 0.7))
        else:
            space.gravity = (0.0, rng.uniform(1.3, 1.5))
            floor.elasticity = shape.elasticity = 0.92
    elif motion == "float":
        body.position = (x_start + inward * 6, rest - rng.uniform(0.0, 2.0))
        body.velocity = (inward * rng.uniform(0.1, 0.4), -rng.uniform(1.75, 2.05) * (rest - radius) / 32.0)
    else:
        body.position = (x_start - inward * 4, rest - 0.01)
        space.gravity = (0.0, 1.0)
        if motion == "slide":
            body.velocity = (inward * rng.uniform(3.4, 3.8), 0.0)
            floor.friction, shape.friction = 1.0, 0.2
        elif motion == "roll":
            body.velocity = (inward * rng.uniform(2.2, 2.6), 0.0)
            body.angular_velocity = body.velocity.x / radius
            floor.friction = shape.friction = 1.0
        else:  # collide
            body.velocity = (inward * rng.uniform(3.0, 3.4), 0.0)
            shape.elasticity = 1.0
            block = pymunk.Body(0.8, float("inf"))
            side = BLOCK_RADIUS
            block_shape = pymunk.Poly(block, [(-side, -side), (side, -side), (side, side), (-side, side)])
            block_shape.elasticity, block_shape.friction = 0.55, 0.15
            floor.friction = 1.0
            centre = EXTENT / 2 + inward * rng.uniform(4.0, 6.0)
            block.position = (centre, FLOOR - side - 0.01)
            space.add(block, block_shape)
            return block
    return None


def _orbit(scene: Scene, frames: int) -> tuple[np.ndarray, np.ndarray, None]:
    """Motion on a circle: what a central force gives at constant speed, written in closed form."""
    rng = scene.rng("physics")
    start = np.pi if scene.side == "left" else 0.0
    sign = 1.0 if scene.spin == "clockwise" else -1.0  # y points down
    phase = start + rng.uniform(-0.25, 0.25) + sign * 2 * np.pi * np.arange(frames) / rng.uniform(15.0, 17.0)
    centre = np.array([EXTENT / 2, (FLOOR + _WALL) / 2 - 1.0])
    position = centre + rng.uniform(13.0, 14.0) * np.stack([np.cos(phase), np.sin(phase)], axis=1)
    return position, np.zeros(frames), None
