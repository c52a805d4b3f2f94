"""Built-in visual odometry: a clip's camera path from tracks of points, without weights.

First the clip is explained by turning alone (rotations and one focal length, all points at infinity). Only if a good
share of the picture's points then stays off its place does the camera translate; else the translation is 0 by design.
Then frames are placed in space (`reconstruction`), all is adjusted together (`adjustment`), and lengths are divided by
the median depth of the first frame: one camera cannot know the scene's size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from alice_repro.evaluation.camera.adjustment import FocalPrior, Free, Loss, World, adjust, errors, seen_from
from alice_repro.evaluation.camera.gates import GATES
from alice_repro.evaluation.camera.measures import align_to_first
from alice_repro.evaluation.camera.poses import NoPose, Trajectory, middle_inverse_depth
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
from alice_repro.evaluation.camera.tracks import Tracker, Tracks, pixel_scale

KEY_FRAMES = 50  # adjusted together; the frames between them are placed among the points then known
POINTS_PER_FRAME = 150  # the longest tracks of a frame, for the adjustment
_ENGINE = "built-in odometry"


@dataclass(frozen=True)
class Parallax:
    """What turning alone leaves unexplained.

    Attributes:
        share: of the longer tracks, those that are off by more than the gate.
        errors: root mean square error of each of these tracks, pixels of a picture of the reference size.
    """

    share: float
    errors: np.ndarray


@dataclass(frozen=True)
class _Problem:
    """A clip as the solver sees it: all tracks, those in key frames, pixels per reference pixel, the focal length."""

    tracks: Tracks
    key: Tracks
    key_frames: np.ndarray
    scale: float
    prior: FocalPrior
    free_focal: bool


def camera_trajectory(tracker: Tracker, focal: float | None = None) -> Trajectory:
    """The camera's path of a clip that a tracker has seen.

    Args:
        focal: focal length in pixels of the clip; if not given, 0.9 of the longer side, refined as far as the clip
            tells (its logarithm has a prior of standard deviation 0.25).

    Raises:
        NoPose: too short, a cut, too little texture, or motion that no rigid scene explains.
    """
    problem = _problem(tracker, focal)
    turned, seen = _turn(problem)
    translates = seen.share >= GATES.parallax_share
    if translates:
        found = from_pairs(problem.key, turned, problem.scale, problem.prior, problem.free_focal)
        if found is None:
            raise NoPose("no pair of frames shows how the camera moves; the scene may be flat, or not rigid")
        world = _refine(problem, *found)
    else:
        world = turned
    share = float(_agreeing(world, problem.key, GATES.inlier * problem.scale).mean())
    if share < GATES.agree:
        raise NoPose(f"only {share:.0%} of the points agree with one rigid scene; the camera's path is not known")
    world = _all_frames(problem, world, translates)
    depth = _first_depth(problem, world) if translates else 1.0
    poses = np.tile(np.eye(4), (problem.tracks.frames, 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = world.rotation, world.position / depth
    focal_found = world.focal / problem.tracks.shrink
    return Trajectory(align_to_first(poses), _ENGINE, True, translates, focal_found, share)


def turning_parallax(tracker: Tracker, focal: float | None = None) -> Parallax:
    """The statistic that decides whether a clip's camera translates. Raises `NoPose` as `camera_trajectory` does."""
    return _turn(_problem(tracker, focal))[1]


def _problem(tracker: Tracker, focal: float | None) -> _Problem:
    tracker.require_unbroken()
    tracks = tracker.tracks()
    if tracks.frames < 3:
        raise NoPose(f"has {tracks.frames} frames; a path needs 3 or more")
    seen = np.bincount(tracks.frame, minlength=tracks.frames)
    if seen.min() < GATES.least_tracks:
        raise NoPose(
            f"frame {seen.argmin()} shows {seen.min()} points that can be followed, {GATES.least_tracks} are needed: "
            "too little texture"
        )
    prior = FocalPrior(GATES.focal * max(tracks.size) if focal is None else focal * tracks.shrink, GATES.focal_spread)
    chosen = np.unique(np.linspace(0, tracks.frames - 1, min(tracks.frames, KEY_FRAMES)).round().astype(int))
    key = of_frames(tracks, chosen, 3)
    if np.bincount(key.frame, minlength=len(chosen)).min() < GATES.least_tracks // 2:
        raise NoPose("points leave the picture too soon to place the camera: it moves too fast")
    scale = pixel_scale(tracks.size)
    return _Problem(tracks, longest(key, POINTS_PER_FRAME), chosen, scale, prior, focal is None)


def _turn(problem: _Problem) -> tuple[World, Parallax]:
    """The best explanation by turning alone, and what it leaves.

    A lens of any length can turn much of an orbit's background into a turn. If the clip asks for an unlikely lens and
    is not explained by it either, the lens stays at the guess.
    """
    turned = turning_only(problem.key, problem.scale, problem.prior, problem.free_focal)
    seen = _parallax(turned, problem)
    unlikely = abs(np.log(turned.focal / problem.prior.focal)) > 2 * problem.prior.spread
    if problem.free_focal and unlikely and seen.share > GATES.unlikely_lens:
        turned = turning_only(problem.key, problem.scale, problem.prior, False)
        seen = _parallax(turned, problem)
    return turned, seen


def _parallax(turned: World, problem: _Problem) -> Parallax:
    """How much of the picture needs a translation: judged on the longer half of the tracks."""
    point, points = problem.key.point, len(turned.direction)
    count = np.bincount(point, minlength=points)
    squared = np.bincount(point, (errors(turned, problem.key) ** 2).sum(axis=1), points)
    long = count >= np.median(count)
    rms = np.sqrt(squared[long] / count[long]) / problem.scale
    return Parallax(float((rms > GATES.parallax).mean()), rms)


def _refine(problem: _Problem, world: World, held: int) -> World:
    """Adjust with the points that agree, so that those that move by themselves cannot bend the path; then again."""
    tracks, scale = problem.key, problem.scale
    for _ in range(2):
        agrees = _agreeing(world, tracks, GATES.refine * scale)
        kept = tracks.select(agrees[tracks.point])
        if np.bincount(kept.frame, minlength=tracks.frames).min() < GATES.least_tracks // 2:
            kept = tracks
        world, _ = adjust(world, kept, Loss(TIGHT * scale), Free(focal=problem.free_focal), problem.prior, 40, held)
    return triangulate(world, tracks, np.ones(tracks.frames, bool))


def _agreeing(world: World, tracks: Tracks, within: float) -> np.ndarray:
    """Which points (P,) lie, in the middle of their sightings, where the world says, to some pixels."""
    order = np.argsort(tracks.point, kind="stable")
    size = np.linalg.norm(errors(world, tracks), axis=1)[order]
    groups = np.split(size, np.cumsum(np.bincount(tracks.point))[:-1])
    return np.array([np.median(group) for group in groups]) < within


def _all_frames(problem: _Problem, world: World, translates: bool) -> World:
    """The world with all frames: those between key frames are placed among the points that key frames show."""
    tracks, chosen = problem.tracks, problem.key_frames
    if len(chosen) == tracks.frames:
        return world
    rotation, position = np.tile(np.eye(3), (tracks.frames, 1, 1)), np.zeros((tracks.frames, 3))
    rotation[chosen], position[chosen] = world.rotation, world.position
    posed = np.isin(np.arange(tracks.frames), chosen)
    known = tracks.select(np.bincount(tracks.point, posed[tracks.frame])[tracks.point] >= 2).numbered()
    world = replace(world, rotation=rotation, position=position)
    world = (triangulate if translates else infinitely_far)(world, known, posed)
    for frame in np.flatnonzero(~posed):
        start = rotation[frame - 1], position[frame - 1]
        placed = place_frame(world, known, frame, *start, problem.scale, problem.prior, translates)
        rotation[frame], position[frame] = placed
    return replace(world, rotation=rotation, position=position)


def _first_depth(problem: _Problem, world: World) -> float:
    """Median depth of the first frame: each place of the picture has the depth of the nearest point that agrees."""
    tracks = problem.tracks
    known = tracks.select(np.bincount(tracks.point)[tracks.point] >= 3).numbered()
    world = triangulate(world, known, np.ones(tracks.frames, bool))
    agrees = _agreeing(world, known, GATES.inlier * problem.scale)
    first = known.select((known.frame == 0) & agrees[known.point])
    if len(first.frame) < GATES.least_tracks // 2:
        raise NoPose("too few points of the first frame are placed to know how deep it is")
    inverse = world.inverse[first.point] / np.maximum(seen_from(world, first)[:, 2], 1e-9)
    middle = middle_inverse_depth(first.place, inverse, tracks.size)
    if middle <= 0:
        raise NoPose("most of the first frame is infinitely far away; lengths have nothing to be measured by")
    return 1 / middle
