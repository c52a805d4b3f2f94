"""From tracks of points to a first guess at a camera's path: turning alone, or a pair of frames and outward from it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from alice_repro.evaluation.camera.adjustment import FocalPrior, Free, Loss, World, adjust, seen_from, sum_by
from alice_repro.evaluation.camera.tracks import Tracks, shared_places

_FEWEST_SHARED = 15
_PAIRS = 3
# Pixels at which an error begins to count less. A looser loss lets what moves by itself bend the path.
TIGHT = 0.4
_PARALLAX_ENOUGH = 30.0  # pixels: more does not make a pair of frames better


def of_frames(tracks: Tracks, frames: np.ndarray, sightings: int) -> Tracks:
    """Tracks as seen in some frames only, renumbered 0, 1, 2 ...; points with fewer sightings there are left out."""
    index = np.full(tracks.frames, -1)
    index[frames] = np.arange(len(frames))
    kept = tracks.select(index[tracks.frame] >= 0)
    kept = replace(kept, frame=index[kept.frame], frames=len(frames))
    often = np.bincount(kept.point, minlength=1)[kept.point] >= sightings
    return kept.select(often).numbered()


def longest(tracks: Tracks, per_frame: int) -> Tracks:
    """Only the points that are among the `per_frame` most seen of one of their frames or more."""
    length = np.bincount(tracks.point)[tracks.point]
    order = np.lexsort((tracks.point, -length, tracks.frame))
    start = np.searchsorted(tracks.frame[order], np.arange(tracks.frames))
    rank = np.empty(len(order), int)
    rank[order] = np.arange(len(order)) - start[tracks.frame[order]]
    chosen = np.unique(tracks.point[rank < per_frame])
    return tracks.select(np.isin(tracks.point, chosen)).numbered()


def turning_only(tracks: Tracks, scale: float, prior: FocalPrior, free_focal: bool) -> World:
    """The best explanation by rotations and one focal length: all points at infinity."""
    rotation = [np.eye(3)]
    for frame in range(1, tracks.frames):
        a, b = shared_places(tracks, frame - 1, frame)
        rotation.append(rotation[-1] @ _turn_between(a, b, prior.focal, scale))
    rotation = np.stack(rotation)
    nowhere = World(rotation, np.zeros((tracks.frames, 3)), np.empty((0, 3)), np.empty(0), prior.focal)
    world = infinitely_far(nowhere, tracks, np.ones(tracks.frames, bool))
    world, _ = adjust(world, tracks, Loss(3 * scale, bounded=False), Free(translation=False, focal=False), prior, 20)
    return adjust(world, tracks, Loss(scale), Free(translation=False, focal=free_focal), prior)[0]


def from_pairs(
    tracks: Tracks, turned: World, scale: float, prior: FocalPrior, free_focal: bool
) -> tuple[World, int] | None:
    """A path through space that starts from the best of a few pairs of frames.

    Each pair gives a first motion (essential matrix) and points; the other frames are placed one after the other
    among the points, new points are added, and all is adjusted briefly. The lowest cost wins.

    Args:
        turned: what `turning_only` found; it says how far points move beyond turning, and starts each frame off.

    Returns:
        the world and the frame that holds its axes; None if no pair gives a motion.
    """
    best: tuple[float, World, int] | None = None
    for first, second in _good_pairs(tracks, turned):
        world = _start(tracks, turned, first, second, prior.focal, scale)
        if world is None:
            continue
        world = _spread(tracks, world, turned, first, second, scale, prior)
        world, cost = adjust(world, tracks, Loss(TIGHT * scale), Free(focal=free_focal), prior, 12, held=first)
        if best is None or cost < best[0]:
            best = cost, world, first
    return None if best is None else best[1:]


def triangulate(world: World, tracks: Tracks, posed: np.ndarray) -> World:
    """Points by linear least squares from the frames that are `posed` (N,); those that come out behind are put
    infinitely far away."""
    use, points = posed[tracks.frame], tracks.point.max() + 1
    frame, point, place = tracks.frame[use], tracks.point[use], tracks.place[use] / world.focal
    axes = world.rotation[frame].transpose(0, 2, 1)
    camera = np.concatenate([axes, -np.einsum("mij,mj->mi", axes, world.position[frame])[:, :, None]], axis=2)
    rows = place[:, :, None] * camera[:, 2:3] - camera[:, :2]
    normal = sum_by(point, rows.transpose(0, 2, 1) @ rows, points)
    normal[:, [0, 1, 2], [0, 1, 2]] += 1e-12  # a point that no posed frame shows still gets a direction
    solution = np.linalg.eigh(normal)[1][:, :, 0]
    length = np.maximum(np.linalg.norm(solution[:, :3], axis=1), 1e-9)
    guess = replace(world, direction=solution[:, :3] / length[:, None], inverse=solution[:, 3] / length)
    front = np.sign(seen_from(guess, tracks.select(use))[:, 2])
    sign = np.where(np.bincount(point, front, len(length)) < 0, -1.0, 1.0)
    return replace(guess, direction=guess.direction * sign[:, None], inverse=np.maximum(guess.inverse * sign, 0.0))


def infinitely_far(world: World, tracks: Tracks, posed: np.ndarray) -> World:
    """All points at infinity, each in the mean direction in which the frames that are `posed` (N,) see it."""
    use, points = posed[tracks.frame], tracks.point.max() + 1
    rays = np.column_stack([tracks.place[use] / world.focal, np.ones(use.sum())])
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    rays = (world.rotation[tracks.frame[use]] @ rays[:, :, None])[..., 0]
    direction = sum_by(tracks.point[use], rays, points)
    length = np.linalg.norm(direction, axis=1, keepdims=True)
    direction = np.where(length > 0, direction / np.maximum(length, 1e-9), [0.0, 0.0, 1.0])
    return replace(world, direction=direction, inverse=np.zeros(len(direction)))


def place_frame(
    world: World, tracks: Tracks, frame: int, rotation: np.ndarray, position: np.ndarray, scale: float,
    prior: FocalPrior, translation: bool = True,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Pose of one frame among fixed points, from a first guess: rotation (3, 3) and position (3,)."""
    here = tracks.select(tracks.frame == frame)
    here = replace(here, frame=np.zeros(len(here.frame), int), frames=1)
    one = replace(world, rotation=rotation[None], position=position[None])
    for loss in (Loss(6 * scale, bounded=False), Loss(scale)):
        one, _ = adjust(one, here, loss, Free(translation, points=False, focal=False), prior, 12, held=None)
    return one.rotation[0], one.position[0]


def _turn_between(a: np.ndarray, b: np.ndarray, focal: float, scale: float) -> np.ndarray:
    """Rotation of the camera from one frame to the next: of most points, by ever stricter reweighting."""
    if len(a) < 8:
        return np.eye(3)
    rays_a, rays_b = (np.column_stack([places / focal, np.ones(len(places))]) for places in (a, b))
    rays_a, rays_b = (rays / np.linalg.norm(rays, axis=1, keepdims=True) for rays in (rays_a, rays_b))
    cv2.setRNGSeed(0)
    homography, inliers = cv2.findHomography(a, b, cv2.RANSAC, scale, maxIters=500)
    weight = np.ones(len(a)) if homography is None else inliers.ravel().astype(float)
    for _ in range(10):
        turn = Rotation.align_vectors(rays_a, rays_b, weight)[0].as_matrix()
        error = focal * np.linalg.norm(rays_a - rays_b @ turn.T, axis=1)
        width = max(0.5 * scale, 1.5 * float(np.median(error)))
        weight = 1 / (1 + (error / width) ** 2) ** 2
    return turn


def _good_pairs(tracks: Tracks, turned: World) -> list[tuple[int, int]]:
    """Pairs of frames that share many points which moved much beyond turning, unlike each other, best first."""
    last = tracks.frames - 1
    marks = sorted({round(last * part) for part in (0, 0.25, 0.5, 0.75, 1)})
    scored = []
    for a in marks:
        for b in sorted({*marks, min(last, a + 2), min(last, a + 5)}):
            if b <= a:
                continue
            here, there = shared_places(tracks, a, b)
            if len(here) < _FEWEST_SHARED:
                continue
            rays = np.column_stack([here / turned.focal, np.ones(len(here))]) @ turned.rotation[a].T
            seen = rays @ turned.rotation[b]
            moved = np.linalg.norm(turned.focal * seen[:, :2] / seen[:, 2:] - there, axis=1)
            scored.append((min(float(np.median(moved)), _PARALLAX_ENOUGH) * min(len(here), 200), a, b))
    chosen: list[tuple[int, int]] = []
    for _, a, b in sorted(scored, reverse=True):
        if all(abs(a - c) + abs(b - d) >= max(1, last // 4) for c, d in chosen):
            chosen.append((a, b))
    return chosen[:_PAIRS]


def _start(tracks: Tracks, turned: World, a: int, b: int, focal: float, scale: float) -> World | None:
    """Two frames placed by their essential matrix, one unit apart."""
    here, there = shared_places(tracks, a, b)
    k = np.diag([focal, focal, 1.0])
    cv2.setRNGSeed(0)
    essential, inliers = cv2.findEssentialMat(here, there, k, cv2.RANSAC, 0.999, scale)
    if essential is None or essential.shape != (3, 3):
        return None
    count, turn, shift, _ = cv2.recoverPose(essential, here, there, k, mask=inliers)
    if count < _FEWEST_SHARED // 2:
        return None
    rotation, position = turned.rotation.copy(), np.zeros((tracks.frames, 3))
    rotation[a], rotation[b], position[b] = np.eye(3), turn.T, (-turn.T @ shift).ravel()
    return World(rotation, position, turned.direction, turned.inverse, focal)


def _spread(
    tracks: Tracks, world: World, turned: World, first: int, second: int, scale: float, prior: FocalPrior
) -> World:
    """Place the other frames, nearest to those placed first, and triangulate as more frames see a point."""
    rotation, position = world.rotation.copy(), world.position.copy()
    posed = np.zeros(tracks.frames, bool)
    posed[[first, second]] = True
    while not posed.all():
        gap = np.abs(np.subtract.outer(np.flatnonzero(~posed), np.flatnonzero(posed)))
        row, column = np.unravel_index(gap.argmin(), gap.shape)
        frame, near = np.flatnonzero(~posed)[row], np.flatnonzero(posed)[column]
        world = triangulate(replace(world, rotation=rotation, position=position), tracks, posed)
        seen_twice = np.bincount(tracks.point[posed[tracks.frame]], minlength=len(world.direction)) >= 2
        known = tracks.select(seen_twice[tracks.point])
        turn = rotation[near] @ turned.rotation[near].T @ turned.rotation[frame]
        rotation[frame], position[frame] = place_frame(world, known, frame, turn, position[near], scale, prior)
        posed[frame] = True
    return triangulate(replace(world, rotation=rotation, position=position), tracks, posed)
