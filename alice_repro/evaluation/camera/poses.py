"""What every engine gives: a pose for each frame, or a sentence that says why there is none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from alice_repro.errors import UserError


class NoPose(UserError):
    """An engine cannot place the camera in this clip; the message says why, for a person."""


@dataclass(frozen=True)
class Trajectory:
    """A camera's path through a clip.

    Attributes:
        poses: (N, 4, 4) camera-to-world matrices, one a frame, OpenCV axes: x right, y down, z into the picture.
        engine: who made them, and how if it had a choice.
        normalised: lengths are in median scene depths of the first frame, not in the engine's (near-)metric unit.
        translates: False if nothing in the clip shows parallax: the translation is then 0 by design.
        focal: focal length in pixels of the clip; None if the engine does not say.
        rigid_share: share of the picture's tracks that agree with this path; None if the engine does not say.
    """

    poses: np.ndarray
    engine: str
    normalised: bool
    translates: bool = True
    focal: float | None = None
    rigid_share: float | None = None


def check_poses(poses: np.ndarray, name: str) -> np.ndarray:
    """Poses as float64 (N, 4, 4), if they are rigid motions.

    Args:
        name: of their source, for the message.

    Raises:
        UserError: wrong shape, not finite, a last row other than 0 0 0 1, or no rotation in the corner.
    """
    poses = np.asarray(poses)
    if poses.ndim != 3 or poses.shape[1:] != (4, 4) or not len(poses) or poses.dtype.kind not in "fiu":
        raise UserError(f"{name}: poses must be numbers of shape (N, 4, 4), got {poses.dtype} {poses.shape}")
    poses = poses.astype(np.float64)
    if not np.isfinite(poses).all():
        raise UserError(f"{name}: a pose is not finite")
    if not np.allclose(poses[:, 3], [0, 0, 0, 1], atol=1e-6):
        raise UserError(f"{name}: the last row of a pose is not 0 0 0 1; are these camera-to-world matrices?")
    rotation = poses[:, :3, :3]
    if not np.allclose(rotation @ rotation.transpose(0, 2, 1), np.eye(3), atol=1e-3):
        raise UserError(f"{name}: a pose's 3 x 3 part is not orthonormal, so no rotation")
    if (np.linalg.det(rotation) < 0).any():
        raise UserError(f"{name}: a pose's 3 x 3 part is a reflection, so no rotation")
    return poses


def middle_inverse_depth(places: np.ndarray, inverse: np.ndarray, size: tuple[int, int]) -> float:
    """One over the median depth of a picture of which only some points are known.

    Each place of the picture takes the depth of the nearest point: points crowd where there is texture, and their own
    median would be the texture's.

    Args:
        places: (P, 2) pixels from the picture's centre, x and y.
        inverse: (P,) one over their depths.
        size: height and width.
    """
    rows, columns = np.mgrid[0.5:48, 0.5:48] / 48 - 0.5
    grid = np.column_stack([columns.ravel() * size[1], rows.ravel() * size[0]])
    return float(np.median(inverse[KDTree(places).query(grid)[1]]))
