"""Camera-pose measures of DFD, appendix B.3.3, as pure functions of camera-to-world poses (N, 4, 4).

The stored text of the paper has lost its formulas; these follow the prose. What the prose leaves open is an argument:
whether poses are taken relative to the first frame, the divisor of the standard deviation, clips of unequal length.
Lengths are in the poses' unit, angles in degrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import numpy as np

from alice_repro.errors import UserError

Unequal = Literal["refuse", "truncate"]


def align_to_first(poses: np.ndarray) -> np.ndarray:
    """Poses seen from the first camera, T_0^-1 T_i: the choice of a world frame no longer matters."""
    return np.linalg.inv(poses[0]) @ poses


def rotation_angles(rotations: np.ndarray) -> np.ndarray:
    """Angle of each rotation (..., 3, 3), degrees in [0, 180].

    Through the arctangent: the arccosine of (trace - 1) / 2 loses all digits below about 0.001 degrees.
    """
    r = np.asarray(rotations, float)
    axis = np.stack([r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]], axis=-1)
    sine = np.linalg.norm(axis, axis=-1) / 2
    cosine = (np.trace(r, axis1=-2, axis2=-1) - 1) / 2
    return np.degrees(np.arctan2(sine, cosine))


def path_length(poses: np.ndarray) -> float:
    """Distance travelled: sum of |t_i - t_(i-1)|."""
    return float(np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=-1).sum())


def max_translation(poses: np.ndarray) -> float:
    """Farthest from the start: max |t_i - t_0|."""
    return float(np.linalg.norm(poses[:, :3, 3] - poses[0, :3, 3], axis=-1).max())


def rotation_total(poses: np.ndarray) -> float:
    """Rotation accumulated from frame to frame: sum of angle(R_(i-1)^T R_i), degrees."""
    rotation = poses[:, :3, :3]
    return float(rotation_angles(rotation[:-1].transpose(0, 2, 1) @ rotation[1:]).sum())


def rotation_max(poses: np.ndarray) -> float:
    """Farthest from the first orientation: max angle(R_0^T R_i), degrees."""
    return float(rotation_angles(poses[0, :3, :3].T @ poses[:, :3, :3]).max())


def positions(trajectories: Sequence[np.ndarray], align: bool = True, unequal: Unequal = "refuse") -> np.ndarray:
    """Camera positions of several clips, (S, N, 3), one trajectory a seed.

    Args:
        align: take each relative to its own first frame.
        unequal: clips of unequal length are refused, or cut to the shortest.

    Raises:
        UserError: no trajectory, or lengths differ and are refused.
    """
    if not trajectories:
        raise UserError("no trajectory to compare")
    lengths = sorted({len(poses) for poses in trajectories})
    if len(lengths) > 1 and unequal == "refuse":
        raise UserError(f"the clips have {', '.join(map(str, lengths))} frames; paths are compared frame by frame")
    aligned = [align_to_first(poses) if align else poses for poses in trajectories]
    return np.stack([poses[: lengths[0], :3, 3] for poses in aligned])


def endpoint_spread(paths: np.ndarray, ddof: int = 0) -> float:
    """Norm of the per-axis standard deviation of the endpoints of paths (S, N, 3), S - `ddof` its divisor.

    Raises:
        UserError: fewer than two paths.
    """
    _require_pairs(paths)
    return float(np.linalg.norm(paths[:, -1].std(axis=0, ddof=ddof)))


def endpoint_distance(paths: np.ndarray) -> float:
    """Mean over all pairs of paths (S, N, 3) of the distance between their endpoints.

    Raises:
        UserError: fewer than two paths.
    """
    _require_pairs(paths)
    return float(np.mean([np.linalg.norm(a[-1] - b[-1]) for a, b in combinations(paths, 2)]))


def trajectory_distance(paths: np.ndarray) -> float:
    """Mean over all pairs of paths (S, N, 3) of their mean distance over frames.

    Raises:
        UserError: fewer than two paths.
    """
    _require_pairs(paths)
    return float(np.mean([np.linalg.norm(a - b, axis=-1).mean() for a, b in combinations(paths, 2)]))


def scale_translation(poses: np.ndarray, unit: float) -> np.ndarray:
    """The same poses with lengths divided by `unit`, such as the median depth of the scene.

    Raises:
        UserError: the unit is not a positive number.
    """
    if not (np.isfinite(unit) and unit > 0):
        raise UserError(f"a length cannot be normalised by {unit}")
    scaled = np.array(poses, float)
    scaled[:, :3, 3] /= unit
    return scaled


def _require_pairs(paths: np.ndarray) -> None:
    if len(paths) < 2:
        raise UserError(f"needs two clips or more with a camera path, has {len(paths)}")
