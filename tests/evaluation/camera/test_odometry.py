"""The built-in odometry on rendered clips, small and few: the whole validation is a command of its own."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from alice_repro.evaluation.camera import measures
from alice_repro.evaluation.camera.adjustment import FocalPrior, Free, Loss, World, adjust, errors
from alice_repro.evaluation.camera.image_motion import image_motion
from alice_repro.evaluation.camera.odometry import KEY_FRAMES, camera_trajectory
from alice_repro.evaluation.camera.poses import NoPose
from alice_repro.evaluation.camera.reconstruction import longest, of_frames, triangulate
from alice_repro.evaluation.camera.scenes import build_scene, camera_path, render_scene
from alice_repro.evaluation.camera.tracks import Tracker, Tracks
from alice_repro.evaluation.camera.validation import Case, render_case

FOCAL = 215.0


@cache
def clip(path, amount, frames=9, texture="blobs", movers=0):
    scene = build_scene(texture, 3, movers)
    return render_scene(scene, camera_path(path, frames, amount), 144, 256, FOCAL)


def watched(*clips):
    tracker = Tracker()
    for part in clips:
        for frame in part:
            tracker.see(frame)
    return tracker


def test_the_scene_moves_as_the_camera_says():
    """A pan to the right moves the picture to the left by focal x tangent of the angle, in its middle."""
    drawn = clip("pan", 8)
    motion = image_motion(watched(drawn.frames).tracks())
    assert motion.shift * 256 == pytest.approx(
        FOCAL * np.tan(np.radians(8)), rel=0.12
    )  # a pan also stretches the picture
    assert image_motion(watched(clip("roll", 10).frames).tracks()).roll == pytest.approx(-10, abs=0.3)
    assert image_motion(watched(clip("dolly", 1.0).frames).tracks()).zoom > 1.05


@pytest.mark.parametrize(("path", "amount"), [("static", 0), ("pan", 20), ("roll", 15)])
def test_turning_gives_angles_and_no_translation(path, amount):
    found = camera_trajectory(watched(clip(path, amount).frames), FOCAL)
    assert not found.translates
    assert measures.path_length(found.poses) == 0
    assert measures.rotation_total(found.poses) == pytest.approx(amount, abs=0.3)


@pytest.mark.parametrize(("path", "amount"), [("truck", 0.9), ("dolly", 1.2), ("orbit", 25)])
def test_translation_in_median_depths(path, amount):
    drawn = clip(path, amount)
    true = measures.scale_translation(drawn.poses, drawn.depth)
    found = camera_trajectory(watched(drawn.frames), FOCAL)
    assert found.translates and found.normalised
    assert measures.path_length(found.poses) == pytest.approx(measures.path_length(true), rel=0.12)
    assert measures.rotation_max(found.poses) == pytest.approx(measures.rotation_max(true), abs=0.5)
    # The direction too: OpenCV's axes, camera to world.
    end, true_end = found.poses[-1, :3, 3], true[-1, :3, 3]
    assert end @ true_end / np.linalg.norm(end) / np.linalg.norm(true_end) > 0.995


def test_an_orbit_tells_its_focal_length():
    found = camera_trajectory(watched(clip("orbit", 25).frames))
    assert found.focal == pytest.approx(FOCAL, rel=0.06)


@pytest.mark.slow
def test_an_orbit_is_not_a_turn_through_an_unlikely_lens():
    """Turning with a lens of half the length explains 62 % of this clip's points."""
    drawn = render_case(Case("orbit", -25, texture="fine", height=416, width=240))
    found = camera_trajectory(watched(drawn.frames))
    assert found.translates
    assert measures.rotation_total(found.poses) == pytest.approx(25, abs=0.5)


def test_what_moves_by_itself_is_not_the_camera():
    found = camera_trajectory(watched(clip("static", 0, movers=1).frames), FOCAL)
    assert not found.translates
    assert measures.rotation_max(found.poses) < 0.3
    assert found.rigid_share < 0.97


def test_a_cut_is_noticed_where_it_is():
    tracker = watched(clip("pan", 20).frames[:5], clip("orbit", 25, texture="shapes").frames[:5])
    assert (tracker.broken, tracker.cut) == (5, True)
    with pytest.raises(NoPose, match="frame 5 .* cut"):
        camera_trajectory(tracker)


def test_little_texture_is_a_reason():
    with pytest.raises(NoPose, match="too little texture"):
        camera_trajectory(watched(clip("orbit", 25, texture="plain").frames))


@pytest.mark.parametrize("frames", [1, 2])
def test_too_short_is_a_reason(frames):
    with pytest.raises(NoPose, match="3 or more"):
        camera_trajectory(watched(clip("pan", 20).frames[:frames]))


def test_no_frame_is_a_reason():
    with pytest.raises(NoPose, match="no frame"):
        camera_trajectory(Tracker())


def test_noise_without_a_scene_is_a_reason():
    rng = np.random.default_rng(0)
    with pytest.raises(NoPose):
        camera_trajectory(watched(rng.integers(0, 255, (8, 96, 128, 3), dtype=np.uint8)))


def test_more_frames_than_key_frames():
    """Frames between key frames are placed too: a slow pan, each frame about once the true angle."""
    drawn = clip("pan", 12, frames=KEY_FRAMES + 11)
    found = camera_trajectory(watched(drawn.frames), FOCAL)
    assert len(found.poses) == KEY_FRAMES + 11
    angle = measures.rotation_angles(found.poses[0, :3, :3].T @ found.poses[:, :3, :3])
    assert angle == pytest.approx(np.linspace(0, 12, len(angle)), abs=0.2)


def world_with_tracks(noise, frames=6, points=80, outliers=0):
    rng = np.random.default_rng(1)
    places = rng.uniform([-2, -1.5, 4], [2, 1.5, 9], (points, 3))
    poses = camera_path("orbit", frames, 15.0)
    length = np.linalg.norm(places, axis=1)
    world = World(poses[:, :3, :3], poses[:, :3, 3], places / length[:, None], 1 / length, 300.0)
    frame, point = (a.ravel() for a in np.mgrid[:frames, :points])
    tracks = Tracks(frame, point, np.zeros((len(frame), 2)), frames, (300, 400), 1.0)
    seen = errors(world, tracks) + rng.normal(0, noise, (len(frame), 2))
    seen[point < outliers] += 8 * frame[point < outliers, None]
    return world, Tracks(frame, point, seen, frames, (300, 400), 1.0)


def test_adjustment_finds_a_disturbed_world_again():
    world, tracks = world_with_tracks(noise=0.0)
    rng = np.random.default_rng(2)
    shaken = World(
        world.rotation, world.position + rng.normal(0, 0.05, (6, 3)) * (np.arange(6) > 0)[:, None],
        world.direction, world.inverse * rng.uniform(0.9, 1.1, 80), 320.0,
    )  # fmt: skip
    found, _ = adjust(shaken, tracks, Loss(1.0, bounded=False), Free(), FocalPrior(300.0, 0.3), 60)
    assert np.abs(errors(found, tracks)).max() < 0.05
    assert found.focal == pytest.approx(300, rel=0.01)
    scale = np.linalg.norm(world.position[-1]) / np.linalg.norm(found.position[-1])
    assert found.position * scale == pytest.approx(world.position, abs=0.01)


def test_adjustment_ignores_points_that_move_by_themselves():
    world, tracks = world_with_tracks(noise=0.1, outliers=16)
    found, _ = adjust(world, tracks, Loss(0.4), Free(focal=False), FocalPrior(300.0, 0.3), 60)
    angle = measures.rotation_angles(world.rotation[-1].T @ found.rotation[-1])
    assert angle < 0.2


def test_triangulation_is_exact_without_noise():
    world, tracks = world_with_tracks(noise=0.0)
    found = triangulate(world, tracks, np.arange(6) < 4)
    assert found.direction == pytest.approx(world.direction, abs=1e-9)
    assert found.inverse == pytest.approx(world.inverse, abs=1e-9)


def test_selection_of_tracks():
    frame = np.array([0, 0, 1, 1, 2, 2, 2])
    point = np.array([0, 1, 0, 1, 0, 1, 2])
    tracks = Tracks(frame, point, np.arange(14.0).reshape(7, 2), 3, (10, 10), 1.0)
    some = of_frames(tracks, np.array([0, 2]), 2)
    assert (some.frames, some.frame.tolist(), some.point.tolist()) == (2, [0, 0, 1, 1], [0, 1, 0, 1])
    assert longest(tracks, 1).point.tolist() == [0, 0, 0]
