"""Camera poses by COLMAP (Schoenberger and Frahm 2016) through its Python package pycolmap, an optional extra.

Slow (a second and more a frame) and exact where it works. Its defaults find no model for a camera that moves forward
or hardly; then the start is relaxed (forward motion and small angles allowed) and the engine's name says so. A known
focal length is held; else COLMAP estimates it, which forward motion does not allow it to do well.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from alice_repro.errors import UserError
from alice_repro.evaluation.camera.gates import GATES
from alice_repro.evaluation.camera.measures import align_to_first, scale_translation
from alice_repro.evaluation.camera.poses import NoPose, Trajectory, check_poses, middle_inverse_depth

_RELAXED = {"init_max_forward_motion": 1.0, "init_min_tri_angle": 4.0}


def import_pycolmap() -> Any:
    """The package.

    Raises:
        UserError: it is not installed.
    """
    try:
        import pycolmap
    except ImportError as error:
        raise UserError(
            "the engine 'colmap' needs pycolmap: pip install 'alice-repro[colmap]', or take engine odometry"
        ) from error
    return pycolmap


class FrameFolder:
    """Frames on disk, as COLMAP wants them; removed with the object."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.path = Path(self._folder.name)
        self.count = 0
        self.size = (0, 0)

    def add(self, frame: np.ndarray) -> None:
        """Write the next frame, uint8 (H, W, 3) RGB, without loss."""
        Image.fromarray(frame).save(self.path / frame_name(self.count), compress_level=1)
        self.count, self.size = self.count + 1, frame.shape[:2]

    def close(self) -> None:
        """Remove the frames."""
        self._folder.cleanup()


def frame_name(index: int) -> str:
    """File name of a frame; sorts in order of time."""
    return f"{index:06d}.png"


def colmap_trajectory(frames: FrameFolder, focal: float | None = None) -> Trajectory:
    """Poses of all frames, lengths in median depths of the points that the first frame shows.

    Args:
        focal: in pixels; held if given, else COLMAP starts at 0.9 of the longer side and refines.

    Raises:
        NoPose: no model, or some frames are not in it.
        UserError: pycolmap is not installed.
    """
    pycolmap = import_pycolmap()
    height, width = frames.size
    start = GATES.focal * max(height, width) if focal is None else focal
    reader = pycolmap.ImageReaderOptions()
    reader.camera_model = "SIMPLE_PINHOLE"
    reader.camera_params = f"{start},{width / 2},{height / 2}"
    with tempfile.TemporaryDirectory() as work:
        database = Path(work) / "database.db"
        pycolmap.extract_features(
            database, frames.path, camera_mode=pycolmap.CameraMode.SINGLE, reader_options=reader,
            device=pycolmap.Device.cpu,
        )  # fmt: skip
        pycolmap.match_exhaustive(database, device=pycolmap.Device.cpu)
        for relaxed in (False, True):
            options = pycolmap.IncrementalPipelineOptions()
            options.ba_refine_focal_length = focal is None
            options.ba_refine_extra_params = False
            options.min_model_size = min(10, frames.count)
            for name, value in _RELAXED.items() if relaxed else ():
                setattr(options.mapper, name, value)
            models = pycolmap.incremental_mapping(database, frames.path, Path(work) / f"model{relaxed}", options)
            best = max(models.values(), key=lambda model: model.num_reg_images(), default=None)
            if best is not None and best.num_reg_images() == frames.count:
                return _trajectory(best, frames, "COLMAP, relaxed start" if relaxed else "COLMAP")
    placed = 0 if best is None else best.num_reg_images()
    raise NoPose(f"COLMAP placed {placed} of {frames.count} frames, with a relaxed start too; a path needs every frame")


def _trajectory(model: Any, frames: FrameFolder, engine: str) -> Trajectory:
    images = {image.name: image for image in model.images.values()}
    poses = np.tile(np.eye(4), (frames.count, 1, 1))
    for index in range(frames.count):
        poses[index, :3] = images[frame_name(index)].cam_from_world().inverse().matrix()
    poses = align_to_first(check_poses(poses, engine))
    first = images[frame_name(0)]
    seen = [p for p in first.points2D if p.has_point3D()]
    points = np.array([model.points3D[p.point3D_id].xyz for p in seen]).reshape(-1, 3)
    depth = (points @ first.cam_from_world().matrix()[:, :3].T + first.cam_from_world().matrix()[:, 3])[:, 2]
    if not (depth > 0).any():
        raise NoPose("COLMAP's model has no point of the first frame; lengths have nothing to be measured by")
    height, width = frames.size
    places = np.array([p.xy for p in seen])[depth > 0] - [width / 2, height / 2]
    unit = 1 / middle_inverse_depth(places, 1 / depth[depth > 0], frames.size)
    focal = float(next(iter(model.cameras.values())).focal_length)
    return Trajectory(scale_translation(poses, unit), engine, True, focal=focal)
