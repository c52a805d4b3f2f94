"""DFD's measures against closed forms: circles, lines, pure rotations, and paths seen from another world frame."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from alice_repro.errors import UserError
from alice_repro.evaluation.camera import measures


def poses_of(positions, rotations=None):
    poses = np.tile(np.eye(4), (len(positions), 1, 1))
    poses[:, :3, 3] = positions
    if rotations is not None:
        poses[:, :3, :3] = rotations
    return poses


def arc(degrees, frames=37, radius=2.0):
    """A camera on a circle in the x-z plane that looks at its centre."""
    angle = np.radians(np.linspace(0, degrees, frames))
    positions = radius * np.stack([-np.sin(angle), 0 * angle, 1 - np.cos(angle)], axis=1)
    return poses_of(positions, Rotation.from_euler("y", angle[:, None]).as_matrix())


def test_circle_arc():
    poses = arc(90, frames=37, radius=2.0)
    chord = 2 * 2.0 * np.sin(np.radians(90 / 36) / 2)
    assert measures.path_length(poses) == pytest.approx(36 * chord, rel=1e-12)
    assert measures.max_translation(poses) == pytest.approx(2 * np.sqrt(2), rel=1e-12)
    assert measures.rotation_total(poses) == pytest.approx(90, abs=1e-9)
    assert measures.rotation_max(poses) == pytest.approx(90, abs=1e-9)


def test_there_and_back_counts_twice_in_totals_and_once_in_maxima():
    poses = np.concatenate([arc(30), arc(30)[::-1][1:]])
    assert measures.rotation_total(poses) == pytest.approx(60, abs=1e-9)
    assert measures.rotation_max(poses) == pytest.approx(30, abs=1e-9)
    assert measures.path_length(poses) == pytest.approx(2 * measures.path_length(arc(30)), rel=1e-12)


def test_straight_line_and_static():
    line = poses_of(np.linspace([0, 0, 0], [3, 0, 4], 11))
    assert measures.path_length(line) == pytest.approx(5)
    assert measures.max_translation(line) == pytest.approx(5)
    assert measures.rotation_total(line) == 0
    still = poses_of(np.zeros((5, 3)))
    assert measures.path_length(still) == measures.max_translation(still) == measures.rotation_max(still) == 0


@pytest.mark.parametrize("degrees", [1e-6, 0.01, 45, 179.999, 180])
def test_angle_is_exact_near_zero_and_near_180(degrees):
    rotation = Rotation.from_rotvec(np.radians(degrees) * np.array([0.6, 0, 0.8])).as_matrix()
    assert measures.rotation_angles(rotation) == pytest.approx(degrees, rel=1e-9, abs=1e-9)


def test_a_trajectory_does_not_depend_on_the_world_frame_when_aligned():
    world = np.eye(4)
    world[:3, :3] = Rotation.from_euler("xyz", [20, -50, 130], degrees=True).as_matrix()
    world[:3, 3] = [5, -3, 2]
    paths = [arc(40), poses_of(np.linspace([0, 0, 0], [1, 1, 0], 37)), arc(-20)]
    moved = [paths[0], world @ paths[1], np.linalg.inv(world) @ paths[2]]
    for function in (measures.endpoint_spread, measures.endpoint_distance, measures.trajectory_distance):
        value = function(measures.positions(paths))
        assert function(measures.positions(moved)) == pytest.approx(value, rel=1e-9)
        assert function(measures.positions(moved, align=False)) != pytest.approx(value, rel=0.1)
    for function in (measures.path_length, measures.max_translation, measures.rotation_total, measures.rotation_max):
        assert function(world @ paths[0]) == pytest.approx(function(paths[0]), rel=1e-9)


def test_between_seeds_closed_forms():
    # Three cameras that truck by 0, 1 and 3 units: endpoints on a line.
    paths = measures.positions([poses_of(np.linspace([0, 0, 0], [d, 0, 0], 5)) for d in (0, 1, 3)])
    assert measures.endpoint_distance(paths) == pytest.approx((1 + 3 + 2) / 3)
    assert measures.trajectory_distance(paths) == pytest.approx(((1 + 3 + 2) / 3) / 2)  # mean of a line is its half
    assert measures.endpoint_spread(paths) == pytest.approx(np.std([0, 1, 3]))
    assert measures.endpoint_spread(paths, ddof=1) == pytest.approx(np.std([0, 1, 3], ddof=1))


def test_spread_is_the_norm_over_axes():
    paths = measures.positions([poses_of(np.linspace([0, 0, 0], end, 2)) for end in ([1, 2, 0], [-1, -2, 0])])
    assert measures.endpoint_spread(paths) == pytest.approx(np.sqrt(1 + 4))


def test_unequal_lengths_are_refused_or_cut():
    paths = [arc(40, frames=20), arc(40, frames=12)]
    with pytest.raises(UserError, match="12, 20 frames"):
        measures.positions(paths)
    assert measures.positions(paths, unequal="truncate").shape == (2, 12, 3)


def test_one_path_has_no_distance():
    with pytest.raises(UserError, match="two clips"):
        measures.endpoint_distance(measures.positions([arc(10)]))


def test_normalising_scales_lengths_and_leaves_angles():
    scaled = measures.scale_translation(arc(40), 4.0)
    assert measures.path_length(scaled) == pytest.approx(measures.path_length(arc(40)) / 4)
    assert measures.rotation_total(scaled) == pytest.approx(40)
    with pytest.raises(UserError, match="normalised"):
        measures.scale_translation(arc(40), 0.0)
