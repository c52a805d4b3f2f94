"""Built-in visual odometry: a clip's camera path from tracks of points, without weights.

First the clip is explained by turning alone (rotations and one focal length, all points at infinity). Only if a good
share of the picture's points then stays off its place does the camera translate; else the translation is 0 by design.
Then frames are placed in space (`reconstruction`), all is adjusted together (`adjustment`), and lengths are divided by
the median depth of the points that the first frame shows: one camera cannot know the scene's size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import KDTree

from alice_repro.evaluation.camera.adjustment import FocalPrior, Free, Loss, World, adjust, errors, seen_from
from alice_repro.evaluation.camera.gates import GATES
from alice_repro.evaluation.camera.measures import align_to_first
from alice_repro.evaluation.camera.poses import NoPose, Trajectory
from alice_repro.evaluation.camera.reconstruction import (
    TIGHT,
    from_pairs,
    infinitely_far,
    longest,
    of_frames,
    place_frame,
    triangulate,
    turning_only,
)
from alice_repro.evaluation.camera.tracks import Tracker, Tracks

KEY_FRAMES = 50  # adjusted together; the frames between them are placed among the points then known
POINTS_PER_FRAME = 150  # the longest tracks of a frame, for the adjustment
_ENGINE = "built-in odometry"


@dataclass(frozen=True)
class Parallax:
    """What turning alone leaves unexplained.

    Attributes:
        share: of the longer tracks, those that are off by more than the gate.
        errors: (P,) root mean square error of each of these tracks, pixels.
    """

    share: float
    errors: np.ndarray


def camera_trajectory(tracker: Tracker, focal: float | None = None) -> Trajectory:
    """The camera's path of a clip that a tracker has seen.

    Args:
        focal: focal length in pixels of the clip; if not given, 0.9 of the longer side, refined as far as the clip
            tells (its logarithm has a prior of standard deviation 0.25).

    Raises:
        NoPose: too short, a cut, too little texture, or motion that no rigid scene explains.
    """
    tracker.require_unbroken()
    tracks = tracker.tracks()
    _require_enough(tracks)
    prior = FocalPrior(GATES.focal * max(tracks.size) if focal is None else focal * tracks.shrink, GATES.focal_spread)
    scale = max(tracks.size) / GATES.reference_size
    chosen = np.unique(np.linspace(0, tracks.frames - 1, min(tracks.frames, KEY_FRAMES)).round().astype(int))
    key = longest(of_frames(tracks, chosen, min(3, len(chosen))), POINTS_PER_FRAME)
    if not len(key.frame) or np.bincount(key.frame, minlength=len(chosen)).min() < GATES.least_tracks // 2:
        raise NoPose("points leave the picture too soon to place the camera: it moves too fast")
    turned = turning_only(key, scale, prior, focal is None)
    if parallax(turned, key, scale).share < GATES.parallax_share:
        return _turning(tracks, key, chosen, turned, scale, prior)
    found = from_pairs(key, turned, scale, prior, focal is None)
    if found is None:
        raise NoPose("no pair of frames shows how the camera moves; the scene may be flat, or not rigid")
    world, held = found
    world = _refine(world, key, held, scale, prior, focal is None)
    share = float(_agreeing(world, key, scale).mean())
    if share < GATES.agree:
        raise NoPose(f"only {share:.0%} of the points agree with one rigid scene; the camera's path is not known")
    rotation, position = _between(world, tracks, chosen, scale, prior)
    depth = _first_depth(replace(world, rotation=rotation, position=position), tracks, scale)
    return _trajectory(rotation, position / depth, tracks, world.focal, True, share)


def _refine(world: World, tracks: Tracks, held: int, scale: float, prior: FocalPrior, free_focal: bool) -> World:
    """Adjust with the points that agree, so that those that move by themselves cannot bend the path; then again."""
    for _ in range(2):
        agrees = _agreeing(world, tracks, 0.25 * scale)
        kept = tracks.select(agrees[tracks.point])
        if len(kept.frame) == 0 or np.bincount(kept.frame, minlength=tracks.frames).min() < GATES.least_tracks // 2:
            kept = tracks
        world, _ = adjust(world, kept, Loss(TIGHT * scale), Free(focal=free_focal), prior, 40, held=held)
    everywhere = np.ones(tracks.frames, bool)
    return triangulate(world, tracks, everywhere)


def parallax(turned: World, tracks: Tracks, scale: float) -> Parallax:
    """How much of the picture needs a translation: judged on the longer half of the tracks."""
    points = len(turned.direction)
    count = np.bincount(tracks.point, minlength=points)
    squared = np.bincount(tracks.point, (errors(turned, tracks) ** 2).sum(axis=1), points)
    long = count >= np.median(count)
    rms = np.sqrt(squared[long] / count[long])
    return Parallax(float((rms > GATES.parallax * scale).mean()), rms / scale)


def _require_enough(tracks: Tracks) -> None:
    if tracks.frames < 3:
        raise NoPose(f"has {tracks.frames} frames; a path needs 3 or more")
    seen = np.bincount(tracks.frame, minlength=tracks.frames)
    if seen.min() < GATES.least_tracks:
        raise NoPose(
            f"frame {seen.argmin()} shows {seen.min()} points that can be followed, {GATES.least_tracks} are needed: "
            "too little texture"
        )


def _turning(
    tracks: Tracks, key: Tracks, chosen: np.ndarray, turned: World, scale: float, prior: FocalPrior
) -> Trajectory:
    share = float(_agreeing(turned, key, scale).mean())
    if share < GATES.agree:
        raise NoPose(f"only {share:.0%} of the points agree on how the camera turns; its path is not known")
    rotation, _ = _between(turned, tracks, chosen, scale, prior)
    return _trajectory(rotation, np.zeros((tracks.frames, 3)), tracks, turned.focal, False, share)


def _agreeing(world: World, tracks: Tracks, scale: float) -> np.ndarray:
    """Which points (P,) lie, in the middle of their sightings, where the world says."""
    order = np.argsort(tracks.point, kind="stable")
    size = np.linalg.norm(errors(world, tracks), axis=1)[order]
    groups = np.split(size, np.cumsum(np.bincount(tracks.point))[:-1])
    return np.array([np.median(group) for group in groups]) < GATES.inlier * scale


def _first_depth(world: World, tracks: Tracks, scale: float) -> float:
    """Median depth of the first frame: each place of the picture has the depth of the nearest point that agrees."""
    known = tracks.select(np.bincount(tracks.point)[tracks.point] >= 3).numbered()
    world = triangulate(world, known, np.ones(tracks.frames, bool))
    first = known.select((known.frame == 0) & _agreeing(world, known, scale)[known.point])
    if len(first.frame) < GATES.least_tracks // 2:
        raise NoPose("too few points of the first frame are placed to know how deep it is")
    inverse = world.inverse[first.point] / np.maximum(seen_from(world, first)[:, 2], 1e-9)
    height, width = tracks.size
    rows, columns = np.mgrid[0.5:48, 0.5:48] / 48 - 0.5
    _, nearest = KDTree(first.place).query(np.column_stack([columns.ravel() * width, rows.ravel() * height]))
    middle = float(np.median(inverse[nearest]))
    if middle <= 0:
        raise NoPose("most of the first frame is infinitely far away; lengths have nothing to be measured by")
    return 1 / middle


def _between(
    world: World, tracks: Tracks, chosen: np.ndarray, scale: float, prior: FocalPrior
) -> tuple[np.ndarray, np.ndarray]:
    """Rotations and positions of all frames, those between the key frames placed among the key frames' points."""
    if len(chosen) == tracks.frames:
        return world.rotation, world.position
    translates = bool(world.position.any())
    rotation, position = np.tile(np.eye(3), (tracks.frames, 1, 1)), np.zeros((tracks.frames, 3))
    rotation[chosen], position[chosen] = world.rotation, world.position
    posed = np.isin(np.arange(tracks.frames), chosen)
    known = tracks.select(np.bincount(tracks.point, posed[tracks.frame])[tracks.point] >= 2).numbered()
    world = replace(world, rotation=rotation, position=position)
    world = (triangulate if translates else infinitely_far)(world, known, posed)
    for frame in np.flatnonzero(~posed):
        rotation[frame], position[frame] = place_frame(
            world, known, frame, rotation[frame - 1], position[frame - 1], scale, prior, translates
        )
    return rotation, position


def _trajectory(
    rotation: np.ndarray, position: np.ndarray, tracks: Tracks, focal: float, translates: bool, share: float
) -> Trajectory:
    poses = np.tile(np.eye(4), (tracks.frames, 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = rotation, position
    return Trajectory(align_to_first(poses), _ENGINE, True, translates, focal / tracks.shrink, share)
