"""Bundle adjustment: the poses, points and focal length that explain where points were seen, under a robust loss.

A point is a direction d from the first camera (a unit vector) and an inverse distance rho along it, so that points
at infinity, and clips without any parallax, are ordinary cases. In camera i, at position t_i with axes R_i, it lies
along R_i^T (d - rho t_i). Levenberg-Marquardt on the normal equations, points eliminated first (the Schur
complement, Triggs et al. 2000, section 6); the loss is robust, by reweighting.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import coo_array
from scipy.spatial.transform import Rotation

from alice_repro.evaluation.camera.tracks import Tracks

LEAST_DEPTH = 1e-3  # of a unit direction: nearer to the camera's plane, or behind it, a point is not seen
_UNSEEN = 1e3  # pixels of error of an observation that lies behind the camera


@dataclass(frozen=True)
class World:
    """A guess at everything.

    Attributes:
        rotation: (N, 3, 3) camera-to-world.
        position: (N, 3).
        direction: (P, 3) unit vectors.
        inverse: (P,) inverse distances.
        focal: pixels.
    """

    rotation: np.ndarray
    position: np.ndarray
    direction: np.ndarray
    inverse: np.ndarray
    focal: float


@dataclass(frozen=True)
class Free:
    """What may change: positions and inverse distances only together with `translation`."""

    translation: bool = True
    points: bool = True
    focal: bool = True


@dataclass(frozen=True)
class Loss:
    """How much an error counts.

    Attributes:
        scale: pixels at which it begins to count less.
        bounded: Geman and McClure's loss, to which what moves by itself is lost at any distance; else Cauchy's, which
            still pulls from afar: for a start that is far off.
    """

    scale: float
    bounded: bool = True

    def cost(self, squared: np.ndarray) -> np.ndarray:
        """Of squared errors, pixels."""
        s = squared / self.scale**2
        return s / (1 + s) if self.bounded else np.log1p(s)

    def root_weight(self, squared: np.ndarray) -> np.ndarray:
        """Square root of an observation's weight: half the slope of the cost in the squared error."""
        s = squared / self.scale**2
        return (1 / (1 + s) if self.bounded else 1 / np.sqrt(1 + s)) / self.scale


@dataclass(frozen=True)
class FocalPrior:
    """The logarithm of the focal length is normal about that of `focal`, with standard deviation `spread`."""

    focal: float
    spread: float


def seen_from(world: World, tracks: Tracks) -> np.ndarray:
    """Each observation's point in its camera's axes, (M, 3), up to a positive factor."""
    offset = world.direction[tracks.point] - world.inverse[tracks.point, None] * world.position[tracks.frame]
    return (offset[:, None] @ world.rotation[tracks.frame])[:, 0]


def errors(world: World, tracks: Tracks) -> np.ndarray:
    """Reprojection errors (M, 2), pixels; a constant, large one where a point lies behind its camera."""
    y = seen_from(world, tracks)
    behind = y[:, 2] < LEAST_DEPTH
    depth = np.where(behind, 1.0, y[:, 2])
    result = world.focal * y[:, :2] / depth[:, None] - tracks.place
    result[behind] = _UNSEEN
    return result


def adjust(
    world: World,
    tracks: Tracks,
    loss: Loss,
    free: Free,
    prior: FocalPrior,
    steps: int = 30,
    held: int | None = 0,
) -> tuple[World, float]:
    """Minimise the robust reprojection error.

    Args:
        held: index of the camera that stays where it is; None if none does.

    Returns:
        the better world, and its cost.
    """
    damping, cost = 1e-3, _cost(world, tracks, loss, prior)
    for _ in range(steps):
        system = _linearise(world, tracks, loss, free, prior, held)
        for _ in range(6):
            trial = _solve(world, system, damping)
            trial_cost = np.inf if trial is None else _cost(trial, tracks, loss, prior)
            if trial_cost < cost:
                break
            damping *= 8
        else:
            break
        gain, world, cost = (cost - trial_cost) / cost, trial, trial_cost
        damping = max(damping / 6, 1e-9)
        if gain < 1e-5:
            break
    return world, cost


@dataclass(frozen=True)
class _System:
    """Normal equations: of cameras and focal length (C = 6 N + 1), of points (P of k unknowns), and their coupling."""

    cameras: np.ndarray
    camera_side: np.ndarray
    fixed: np.ndarray
    coupling: np.ndarray | None = None
    points: np.ndarray | None = None
    point_side: np.ndarray | None = None
    tangent: np.ndarray | None = None


def _cost(world: World, tracks: Tracks, loss: Loss, prior: FocalPrior) -> float:
    squared = (errors(world, tracks) ** 2).sum(axis=1)
    return float(loss.cost(squared).sum() + _prior_weight(tracks) * _prior_error(world, prior) ** 2)


def _prior_error(world: World, prior: FocalPrior) -> float:
    return float(np.log(world.focal / prior.focal) / prior.spread)


def _prior_weight(tracks: Tracks) -> float:
    """Errors along a track drift together, so a track counts as one or two observations and not as its length."""
    return len(tracks.frame) / max(1, tracks.point.max(initial=0) + 1) / 2


def _linearise(world: World, tracks: Tracks, loss: Loss, free: Free, prior: FocalPrior, held: int | None) -> _System:
    frames = len(world.rotation)
    y, error = seen_from(world, tracks), errors(world, tracks)
    seen = y[:, 2] >= LEAST_DEPTH
    root = np.where(seen, loss.root_weight((error**2).sum(axis=1)), 0.0)
    depth = np.where(seen, y[:, 2], 1.0)
    x = y[:, :2] / depth[:, None]
    project = np.zeros((len(y), 2, 3))  # d (pixels) / d y, weighted
    project[:, 0, 0] = project[:, 1, 1] = root * world.focal / depth
    project[:, :, 2] = -(root * world.focal / depth)[:, None] * x
    error = error * root[:, None]
    to_camera = project @ world.rotation[tracks.frame].transpose(0, 2, 1)  # d (pixels) / d (world offset)
    camera = np.zeros((len(y), 2, 7))
    camera[:, :, :3] = project @ _cross_matrix(y)
    if free.translation:
        camera[:, :, 3:6] = -world.inverse[tracks.point][:, None, None] * to_camera
    camera[:, :, 6] = (root * world.focal)[:, None] * x
    side = error[:, :, None]

    blocks = sum_by(tracks.frame, camera.transpose(0, 2, 1) @ camera, frames)
    sides = -sum_by(tracks.frame, camera.transpose(0, 2, 1) @ side, frames)[..., 0]
    size = 6 * frames + 1
    cameras, camera_side = np.zeros((size, size)), np.append(sides[:, :6].ravel(), sides[:, 6].sum())
    for i in range(frames):
        at = slice(6 * i, 6 * i + 6)
        cameras[at, at], cameras[at, -1], cameras[-1, at] = blocks[i, :6, :6], blocks[i, :6, 6], blocks[i, 6, :6]
    pull = _prior_weight(tracks) / prior.spread
    cameras[-1, -1] = blocks[:, 6, 6].sum() + pull / prior.spread
    camera_side[-1] -= pull * _prior_error(world, prior)
    fixed = np.zeros(size, bool)
    if held is not None:
        fixed[6 * held : 6 * held + 6] = True
    fixed[-1] = not free.focal
    if not free.translation:
        fixed[:-1].reshape(frames, 6)[:, 3:] = True
    if not free.points:
        return _System(cameras, camera_side, fixed)

    points, unknowns = len(world.direction), 3 if free.translation else 2
    tangent = _tangents(world.direction)
    point = np.empty((len(y), 2, unknowns))
    point[:, :, :2] = to_camera @ tangent[tracks.point]
    if free.translation:
        point[:, :, 2] = -(to_camera @ world.position[tracks.frame][:, :, None])[..., 0]
    mixed = camera.transpose(0, 2, 1) @ point
    coupling = np.zeros((frames, 6, points, unknowns))
    coupling[tracks.frame, :, tracks.point] = mixed[:, :6]  # a point is seen once in a frame
    focal_coupling = sum_by(tracks.point, mixed[:, 6], points)
    return _System(
        cameras,
        camera_side,
        fixed,
        np.concatenate([coupling.reshape(size - 1, points * unknowns), focal_coupling.reshape(1, -1)]),
        sum_by(tracks.point, point.transpose(0, 2, 1) @ point, points),
        -sum_by(tracks.point, point.transpose(0, 2, 1) @ side, points)[..., 0],
        tangent,
    )


def sum_by(index: np.ndarray, values: np.ndarray, groups: int) -> np.ndarray:
    """Sums of values (M, ...) whose index (M,) is equal: (groups, ...)."""
    members = coo_array((np.ones(len(index)), (index, np.arange(len(index)))), (groups, len(index))).tocsr()
    return (members @ values.reshape(len(index), -1)).reshape(groups, *values.shape[1:])


def _solve(world: World, system: _System, damping: float) -> World | None:
    """One damped step; None if the equations have no solution."""
    live = ~system.fixed
    full = np.zeros(len(live))
    cameras = system.cameras[np.ix_(live, live)]
    cameras = cameras + np.diag(damping * np.diag(cameras) + 1e-12)
    side = system.camera_side[live]
    try:
        if system.points is None:
            full[live] = cho_solve(cho_factor(cameras), side)
            return _moved(world, full, None, None)
        coupling, unknowns = system.coupling[live], system.points.shape[-1]
        eye = np.eye(unknowns)
        diagonal = np.einsum("pii->pi", system.points)[:, :, None] * eye
        inverse = np.linalg.inv(system.points + damping * diagonal + 1e-9 * eye)
        shaped = coupling.reshape(len(side), -1, unknowns).transpose(1, 0, 2)
        eliminated = np.ascontiguousarray((shaped @ inverse).transpose(1, 0, 2)).reshape(len(side), -1)
        full[live] = cho_solve(
            cho_factor(cameras - eliminated @ coupling.T), side - eliminated @ system.point_side.ravel()
        )
    except (np.linalg.LinAlgError, ValueError):
        return None
    rest = system.point_side - (coupling.T @ full[live]).reshape(-1, unknowns)
    return _moved(world, full, (inverse @ rest[:, :, None])[..., 0], system.tangent)


def _moved(world: World, cameras: np.ndarray, points: np.ndarray | None, tangent: np.ndarray | None) -> World:
    steps = cameras[:-1].reshape(-1, 6)
    world = replace(
        world,
        rotation=world.rotation @ Rotation.from_rotvec(steps[:, :3]).as_matrix(),
        position=world.position + steps[:, 3:],
        focal=float(world.focal * np.exp(np.clip(cameras[-1], -0.2, 0.2))),
    )
    if points is None:
        return world
    direction = world.direction + (tangent @ points[:, :2, None])[..., 0]
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    inverse = world.inverse + points[:, 2] if points.shape[1] == 3 else world.inverse
    return replace(world, direction=direction, inverse=np.maximum(inverse, 0.0))


def _tangents(direction: np.ndarray) -> np.ndarray:
    """Two unit vectors across each direction, (P, 3, 2)."""
    helper = np.where(np.abs(direction[:, :1]) < 0.7, [[1.0, 0, 0]], [[0, 1.0, 0]])
    a = np.cross(direction, helper)
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    return np.stack([a, np.cross(direction, a)], axis=-1)


def _cross_matrix(v: np.ndarray) -> np.ndarray:
    """(M, 3, 3) matrices with [v] w = v x w."""
    zero = np.zeros(len(v))
    x, y, z = v.T
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(-1, 3, 3)
