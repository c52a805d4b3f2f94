"""Textured 3-D scenes of flat cards, drawn by casting a ray through each pixel, with the camera's path known.

For validation only: the truth of every clip is exact. World axes are OpenCV's (x right, y down, z forward), the
camera starts at the origin looking along z.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from alice_repro.errors import unknown_name

PATHS = ("static", "pan", "tilt", "roll", "truck", "dolly", "orbit", "pan_truck", "handheld")
TEXTURES = ("blobs", "shapes", "fine", "plain")
_TEXTURE_SIZE = 512


@dataclass(frozen=True)
class Card:
    """A textured rectangle: points centre + a u + b v with a, b in [-1, 1]; `velocity` a frame if it moves."""

    centre: np.ndarray
    u: np.ndarray
    v: np.ndarray
    texture: np.ndarray
    velocity: np.ndarray


@dataclass(frozen=True)
class Scene:
    """Cards, and the depth of the middle of the scene, about which an orbit turns."""

    cards: tuple[Card, ...]
    middle: float


@dataclass(frozen=True)
class Rendered:
    """A clip with its truth.

    Attributes:
        frames: (N, H, W, 3) uint8.
        poses: (N, 4, 4) camera-to-world.
        depth: median depth over the pixels of the first frame.
        focal: in pixels.
    """

    frames: np.ndarray
    poses: np.ndarray
    depth: float
    focal: float


def build_scene(texture: str = "blobs", seed: int = 0, movers: int = 0, scale: float = 1.0) -> Scene:
    """A room: a back wall, a floor, seven cards at depths of 3.2 to 6.5 units, and `movers` cards that move.

    Args:
        texture: one of `TEXTURES`; "plain" has next to none.
        scale: multiplies all lengths.
    """
    if texture not in TEXTURES:
        raise unknown_name("texture", texture, TEXTURES)
    rng = np.random.default_rng(seed)
    still = np.zeros(3)
    cards = [
        _card((0, -1.0, 7.5), (14, 0, 3.5), (0, 7, 0), still, _texture(texture, rng, 4)),
        _card((0, 1.6, 4.0), (14, 0, 0), (0, 0, 4.0), still, _texture(texture, rng, 4)),
    ]
    for depth, x in zip(np.linspace(3.2, 6.5, 7), rng.permutation(np.linspace(-2.8, 2.8, 7)), strict=True):
        turn = Rotation.from_euler("y", rng.uniform(-30, 30), degrees=True).as_matrix()
        size = rng.uniform(0.35, 0.6, 2)
        centre = np.array([x, rng.uniform(-0.9, 0.9), depth])
        cards.append(_card(centre, turn @ (size[0], 0, 0), turn @ (0, size[1], 0), still, _texture(texture, rng, 1)))
    for k in range(movers):
        start = np.array([-0.9 + 0.5 * k, 0.5 - 0.6 * k, 2.6 + 0.4 * k])
        velocity = np.array([0.022, -0.006 + 0.01 * k, 0.0]) * (1 if k % 2 == 0 else -1)
        cards.append(_card(start, (0.32, 0, 0), (0, 0.4, 0), velocity, _texture(texture, rng, 1)))
    scaled = [
        replace(c, centre=c.centre * scale, u=c.u * scale, v=c.v * scale, velocity=c.velocity * scale) for c in cards
    ]
    return Scene(tuple(scaled), 5.0 * scale)


def camera_path(kind: str, frames: int, amount: float, middle: float = 5.0, seed: int = 0) -> np.ndarray:
    """Camera-to-world poses (N, 4, 4) of a named path, starting at the identity.

    Args:
        amount: degrees for pan, tilt, roll and orbit; units for truck and dolly; for pan_truck units, with 8 degrees
            a unit; for handheld the sway in units, with 10 degrees a unit.
        middle: depth of the centre of an orbit.
    """
    if kind not in PATHS:
        raise unknown_name("path", kind, PATHS)
    time = np.linspace(0, 1, frames)
    angles, where = np.zeros((frames, 3)), np.zeros((frames, 3))  # yaw, pitch, roll in degrees
    if kind in ("pan", "tilt", "roll"):
        angles[:, ("pan", "tilt", "roll").index(kind)] = amount * time
    elif kind == "truck":
        where[:, 0] = amount * time
    elif kind == "dolly":
        where[:, 2] = amount * time
    elif kind == "orbit":
        turn = np.radians(amount * time)
        where = np.stack([-np.sin(turn), 0 * turn, 1 - np.cos(turn)], axis=1) * middle
        angles[:, 0] = amount * time
    elif kind == "pan_truck":
        where[:, 0], angles[:, 0] = amount * time, -8 * amount * time
    elif kind == "handheld":
        rng = np.random.default_rng(seed)
        waves = np.sin(2 * np.pi * (rng.uniform(0.5, 1.8, 6) * time[:, None] + rng.random(6)))
        waves = (waves - waves[0]) * amount / 2
        where, angles = waves[:, :3], 10 * waves[:, 3:]
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, :3, :3] = Rotation.from_euler("YXZ", angles, degrees=True).as_matrix()
    poses[:, :3, 3] = where
    return poses


def render_scene(
    scene: Scene, poses: np.ndarray, height: int, width: int, focal: float, noise: float = 2.0, seed: int = 0
) -> Rendered:
    """Draw a scene from each pose.

    Args:
        focal: in pixels.
        noise: standard deviation of the noise of each value, in grey levels.
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    rays = np.stack([(columns - (width - 1) / 2) / focal, (rows - (height - 1) / 2) / focal, np.ones_like(rows)], -1)
    frames, first_depth = [], None
    for index, pose in enumerate(poses):
        image, depth = _draw(scene, pose, rays, index)
        first_depth = np.median(depth[np.isfinite(depth)]) if first_depth is None else first_depth
        image = image + rng.normal(0, noise, (height, width, 3)).astype(np.float32)
        frames.append(np.clip(image, 0, 255).round().astype(np.uint8))
    return Rendered(np.stack(frames), poses, float(first_depth), focal)


def _draw(scene: Scene, pose: np.ndarray, rays: np.ndarray, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Colours (H, W, 3) and depths (H, W) along rays (H, W, 3) given in the camera's axes."""
    depth = np.full(rays.shape[:2], np.inf, np.float32)
    colour = np.full(rays.shape, 90, np.float32)
    for card in scene.cards:
        centre = card.centre + frame * card.velocity
        box = _seen_box(card, centre, pose, rays)
        # In the camera's axes, so that the ray's length parameter is the depth.
        offset, u, v = (pose[:3, :3].T @ x for x in (centre - pose[:3, 3], card.u, card.v))
        normal = np.cross(u, v)
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.float32(offset @ normal) / (rays[box] @ normal.astype(np.float32))
            point = rays[box] * distance[..., None] - offset.astype(np.float32)
            a, b = (point @ (axis / (axis @ axis)).astype(np.float32) for axis in (u, v))
        hit = (distance > 1e-3) & (distance < depth[box]) & (np.abs(a) <= 1) & (np.abs(b) <= 1)
        if not hit.any():
            continue
        size = np.array(card.texture.shape[1::-1], np.float32) - 1
        x, y = ((np.where(hit, w, 0) + 1) / 2 * s for w, s in ((a, size[0]), (b, size[1])))
        paint = cv2.remap(card.texture, x, y, cv2.INTER_LINEAR)
        colour[box] = np.where(hit[..., None], paint, colour[box])
        depth[box] = np.where(hit, distance, depth[box])
    return colour, depth


def _seen_box(card: Card, centre: np.ndarray, pose: np.ndarray, rays: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns that a card can cover: all of them if a part of it lies behind the camera."""
    corners = np.array([centre + a * card.u + b * card.v for a in (-1, 1) for b in (-1, 1)])
    x, y, z = ((corners - pose[:3, 3]) @ pose[:3, :3]).T
    if z.min() < 1e-2:
        return slice(None), slice(None)
    columns = np.searchsorted(rays[0, :, 0], [(x / z).min(), (x / z).max()])
    rows = np.searchsorted(rays[:, 0, 1], [(y / z).min(), (y / z).max()])
    return slice(max(0, rows[0] - 1), rows[1] + 1), slice(max(0, columns[0] - 1), columns[1] + 1)


def _card(centre, u, v, velocity: np.ndarray, texture: np.ndarray) -> Card:
    return Card(*(np.asarray(x, float) for x in (centre, u, v)), texture, velocity)


def _texture(kind: str, rng: np.random.Generator, repeats: int) -> np.ndarray:
    """A float32 texture, larger for a large card so that its grain looks alike on all."""
    side = _TEXTURE_SIZE * repeats
    base = rng.uniform(70, 180, 3)
    image = np.empty((side, side, 3), np.float32)
    image[:] = base
    if kind == "plain":
        return image + rng.normal(0, 0.3, image.shape).astype(np.float32)
    if kind == "shapes":
        for _ in range(90 * repeats * repeats):
            x, y = (int(v) for v in rng.integers(0, side, 2))
            size, tone = int(rng.integers(8, 60)), tuple(float(v) for v in rng.uniform(20, 235, 3))
            if rng.random() < 0.5:
                cv2.circle(image, (x, y), size, tone, -1, cv2.LINE_AA)
            else:
                cv2.rectangle(image, (x, y), (x + size, y + int(rng.integers(8, 60))), tone, -1)
        return cv2.GaussianBlur(image, (0, 0), 1.2)
    for grain in (4, 9, 24, 64) if kind == "blobs" else (2.5, 5, 11):
        coarse = round(side / (1.5 * grain))
        layer = rng.normal(0, 1, (coarse, coarse, 3)).astype(np.float32)
        layer = cv2.resize(layer, (side, side), interpolation=cv2.INTER_CUBIC)
        image += layer / layer.std() * (22 if kind == "blobs" else 16)
    return np.clip(image, 5, 250)
