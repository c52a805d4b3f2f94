"""Camera poses that ViPE has estimated elsewhere: reads `pose/STEM.npz` of its output folder, and nothing else of it.

ViPE (Huang et al. 2025) needs a CUDA device and a handful of networks; run it with
`vipe infer VIDEO -o OUT` (artefacts saved) and point the engine to OUT. Its lengths are near-metric.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from alice_repro.errors import UserError
from alice_repro.evaluation.camera.poses import NoPose, Trajectory, check_poses


def poses_file(folder: str | Path, video: str) -> Path | None:
    """Where ViPE's poses of a video are: `pose/a/x.npz` for `a/x.mp4`, or `pose/x.npz`; None if it left none.

    Raises:
        UserError: no such folder.
    """
    pose_folder = Path(folder) / "pose"
    if not pose_folder.is_dir():
        raise UserError(f"{folder}: no ViPE output, it has no folder 'pose'; run `vipe infer VIDEO -o {folder}`")
    name = Path(video).with_suffix(".npz")
    return next((p for p in (pose_folder / name, pose_folder / name.name) if p.is_file()), None)


def read_vipe(folder: str | Path, video: str, frames: int) -> Trajectory:
    """The poses of one video.

    Args:
        folder: ViPE's output folder.
        video: the video's name relative to its folder. ViPE keeps only the stem, so one output folder for each folder
            of videos is best; see `poses_file`.
        frames: how many the video has.

    Raises:
        NoPose: no file for this video, or it left frames out.
        UserError: no such folder, or the file does not hold poses.
    """
    path = poses_file(folder, video)
    if path is None:
        raise NoPose(f"ViPE left no pose/{Path(video).stem}.npz for it; run `vipe infer` on this video")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            data, index = arrays["data"], arrays["inds"]
    except KeyError as error:
        raise UserError(f"{path}: not ViPE's poses, {error.args[0]}") from error
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"{path}: cannot be read as arrays without pickled objects ({error})") from error
    poses = check_poses(data, str(path))
    if index.shape != (len(poses),):
        raise UserError(f"{path}: {len(poses)} poses and indices of shape {index.shape}")
    if len(poses) != frames or not np.array_equal(index, np.arange(frames)):
        raise NoPose(f"ViPE placed {len(poses)} of the {frames} frames, or others; a path needs every frame")
    return Trajectory(poses, "ViPE", normalised=False)
