"""Where the camera goes: DFD's camera-pose measures (appendix B.3.3) by an engine of your choice.

Only ViPE's lengths may stand beside the paper's. The other engines know lengths up to a factor of each clip; theirs
are in median depths of the first frame's scene, and are named so. Angles need no unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alice_repro.errors import UserError, unknown_name
from alice_repro.evaluation.camera import measures
from alice_repro.evaluation.camera.colmap import FrameFolder, colmap_trajectory, import_pycolmap
from alice_repro.evaluation.camera.image_motion import image_motion
from alice_repro.evaluation.camera.odometry import camera_trajectory
from alice_repro.evaluation.camera.poses import NoPose, Trajectory
from alice_repro.evaluation.camera.tracks import Tracker
from alice_repro.evaluation.camera.vipe import poses_file, read_vipe
from alice_repro.evaluation.metric import Clip, Metric, Result, SetValue, Tools, VideoSet, Watcher
from alice_repro.files import sha256_file

ENGINES = ("odometry", "colmap", "vipe")
_LENGTHS = {"camera_path_length": measures.path_length, "camera_max_translation": measures.max_translation}
_ANGLES = {
    "camera_rotation_total_degrees": measures.rotation_total,
    "camera_rotation_max_degrees": measures.rotation_max,
}
_SETS = ("camera_endpoint_spread", "camera_endpoint_distance", "camera_trajectory_distance")
# Of the built-in engine only: 1 if the clip shows parallax (0: lengths are 0 by design), the share of points that
# agree with the path, and how the picture moves as a whole.
_EXTRA = (
    "camera_translates",
    "camera_rigid_share",
    "camera_image_shift",
    "camera_image_zoom",
    "camera_image_roll_degrees",
)
NORMALISED = "_normalised"


@dataclass(frozen=True)
class CameraOptions:
    """Settings of the metric.

    Attributes:
        engine: "odometry" (built in), "colmap" (needs pycolmap) or "vipe" (reads its output).
        poses: ViPE's output folder.
        focal: focal length in pixels of the clips, if it is known; 0: guessed as 0.9 of the longer side and refined.
        align: between seeds, take each path relative to its own first frame; the paper does not say.
        ddof: the standard deviation of the endpoints is divided by their number less this; the paper does not say.
        unequal: clips of a prompt with unequal lengths: "refuse", or "truncate" to the shortest.
    """

    engine: str = "odometry"
    poses: str = ""
    focal: float = 0.0
    align: bool = True
    ddof: int = 0
    unequal: str = "refuse"


class Camera(Metric):
    """Path length, farthest translation, total and largest rotation; between seeds, spread and distances of paths."""

    name = "camera"
    measures = (*(n + NORMALISED for n in _LENGTHS), *_ANGLES, *_EXTRA)
    binary = ("camera_translates",)
    Options = CameraOptions
    code = tuple(
        f"alice_repro.evaluation.camera.{module}"
        for module in (
            "adjustment", "colmap", "gates", "image_motion", "measures", "odometry", "poses", "reconstruction",
            "tracks", "vipe",
        )
    )  # fmt: skip

    def __init__(self, tools: Tools, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(tools, options)
        if self.options.engine not in ENGINES:
            raise unknown_name("camera engine", self.options.engine, ENGINES)
        if self.options.unequal not in ("refuse", "truncate"):
            raise unknown_name("way with unequal lengths", self.options.unequal, ("refuse", "truncate"))
        if self.options.ddof not in (0, 1):
            raise UserError(f"camera.ddof is 0 or 1, got {self.options.ddof}")
        if not (self.options.focal >= 0 and np.isfinite(self.options.focal)):
            raise UserError(f"camera.focal is a length in pixels, or 0 if it is not known; got {self.options.focal}")
        if self.options.engine == "vipe" and not self.options.poses:
            raise UserError("the engine 'vipe' reads ViPE's output: name its folder with camera.poses=FOLDER")
        if self.options.engine == "colmap":
            import_pycolmap()
        self.suffix = "" if self.options.engine == "vipe" else NORMALISED
        self.measures = (*(n + self.suffix for n in _LENGTHS), *_ANGLES)
        if self.options.engine == "odometry":
            self.measures += _EXTRA
        if self.suffix:
            self.surrogate = "lengths are in median scene depths of each clip, the paper's in ViPE's near-metric unit"

    def beside(self, clip: Clip) -> str:
        path = poses_file(self.options.poses, clip.video) if self.options.engine == "vipe" else None
        return sha256_file(path) if path else ""

    def watch(self, clip: Clip) -> Watcher:
        focal = self.options.focal or None
        if self.options.engine == "vipe":
            return _ViPE(self, clip)
        return _Colmap(self, focal) if self.options.engine == "colmap" else _Odometry(self, focal)

    def over_sets(self, sets: Sequence[VideoSet]) -> list[SetValue]:
        return [value for videos in sets for value in self._over(videos)]

    def describe(self, trajectory: Trajectory) -> Result:
        """A video's measures from its path."""
        values: dict[str, float | str] = {n + self.suffix: f(trajectory.poses) for n, f in _LENGTHS.items()}
        values |= {name: f(trajectory.poses) for name, f in _ANGLES.items()}
        if self.options.engine == "odometry":
            values |= {
                "camera_translates": float(trajectory.translates),
                "camera_rigid_share": float(trajectory.rigid_share),
            }
        return Result(values, {"poses": trajectory.poses})

    def missing(self, reason: str) -> Result:
        """A video without a path."""
        return Result({name: reason for name in self.measures})

    def _over(self, videos: VideoSet) -> list[SetValue]:
        paths = [arrays["poses"] for arrays in videos.arrays if "poses" in arrays]
        names = [name + self.suffix for name in _SETS]
        try:
            if len(paths) < 2:
                raise UserError(f"needs two clips or more with a camera path, has {len(paths)}")
            places = measures.positions(paths, self.options.align, self.options.unequal)
            spread = measures.endpoint_spread(places, self.options.ddof)
            values = [spread, measures.endpoint_distance(places), measures.trajectory_distance(places)]
        except UserError as error:
            values = [str(error)] * len(names)
        return [SetValue(videos.prompt, n, v, len(paths)) for n, v in zip(names, values, strict=True)]


class _Odometry:
    def __init__(self, metric: Camera, focal: float | None) -> None:
        self.metric, self.focal, self.tracker = metric, focal, Tracker()

    def see(self, frame: np.ndarray) -> None:
        self.tracker.see(frame)

    def result(self) -> Result:
        try:
            result = self.metric.describe(camera_trajectory(self.tracker, self.focal))
        except NoPose as reason:
            result = self.metric.missing(str(reason))
        try:
            self.tracker.require_unbroken()
            seen = image_motion(self.tracker.tracks())
            motion: tuple[float | str, ...] = (seen.shift, seen.zoom, seen.roll)
        except NoPose as reason:
            motion = (str(reason),) * 3
        result.values |= dict(zip(_EXTRA[2:], motion, strict=True))
        return result


class _Colmap:
    def __init__(self, metric: Camera, focal: float | None) -> None:
        self.metric, self.focal, self.frames, self.tracker = metric, focal, FrameFolder(), Tracker()

    def see(self, frame: np.ndarray) -> None:
        self.frames.add(frame)
        self.tracker.see(frame)

    def result(self) -> Result:
        try:
            self.tracker.require_unbroken()
            return self.metric.describe(colmap_trajectory(self.frames, self.focal))
        except NoPose as reason:
            return self.metric.missing(str(reason))
        finally:
            self.frames.close()


class _ViPE:
    def __init__(self, metric: Camera, clip: Clip) -> None:
        self.metric, self.clip, self.frames = metric, clip, 0

    def see(self, frame: np.ndarray) -> None:
        self.frames += 1

    def result(self) -> Result:
        try:
            return self.metric.describe(read_vipe(self.metric.options.poses, self.clip.video, self.frames))
        except UserError as reason:
            return self.metric.missing(str(reason))
