"""ViPE's files: what is read, and what is refused. COLMAP: on a rendered clip, where pycolmap is installed."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from alice_repro.errors import UserError
from alice_repro.evaluation.camera import measures
from alice_repro.evaluation.camera.colmap import FrameFolder, colmap_trajectory
from alice_repro.evaluation.camera.poses import NoPose
from alice_repro.evaluation.camera.scenes import build_scene, camera_path, render_scene
from alice_repro.evaluation.camera.vipe import read_vipe


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pose").mkdir()
    return tmp_path


def write(folder, name="clip", data=None, **arrays):
    data = camera_path("orbit", 5, 20.0) if data is None else data
    np.savez(folder / "pose" / f"{name}.npz", **({"data": data, "inds": np.arange(len(data))} | arrays))


def test_vipe_poses_are_read_as_they_are(folder):
    write(folder, data=camera_path("orbit", 5, 20.0).astype(np.float32))
    found = read_vipe(folder, "sub/clip.mp4", 5)
    assert measures.rotation_total(found.poses) == pytest.approx(20, abs=1e-3)
    assert not found.normalised


def test_vipe_prefers_the_folder_of_the_video(folder):
    write(folder, data=camera_path("static", 5, 0))
    (folder / "pose" / "sub").mkdir()
    write(folder, "sub/clip")
    assert measures.rotation_total(read_vipe(folder, "sub/clip.mp4", 5).poses) == pytest.approx(20)
    assert measures.rotation_total(read_vipe(folder, "clip.mp4", 5).poses) == 0


def test_vipe_without_the_video_or_with_frames_left_out(folder):
    with pytest.raises(NoPose, match="no pose/other.npz"):
        read_vipe(folder, "other.mp4", 5)
    write(folder)
    with pytest.raises(NoPose, match="5 of the 6 frames"):
        read_vipe(folder, "clip.mp4", 6)
    write(folder, inds=np.array([0, 1, 2, 3, 5]))
    with pytest.raises(NoPose, match="every frame"):
        read_vipe(folder, "clip.mp4", 5)


def damaged(place, value):
    poses = camera_path("orbit", 5, 20.0)
    poses[place] = value
    return poses


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (damaged((2, 0, 3), np.nan), "not finite"),
        (damaged((1, 3, 0), 0.5), "last row"),
        (damaged((1, slice(0, 3), slice(0, 3)), 2 * np.eye(3)), "orthonormal"),
        (damaged((1, slice(0, 3), slice(0, 3)), np.diag([1, 1, -1])), "reflection"),
        (np.zeros((5, 3, 4)), "shape"),
    ],
)
def test_vipe_with_poses_that_are_none(folder, data, message):
    write(folder, data=data)
    with pytest.raises(UserError, match=message):
        read_vipe(folder, "clip.mp4", 5)


def test_vipe_never_unpickles(folder):
    write(folder, data=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match="without pickled objects"):
        read_vipe(folder, "clip.mp4", 1)


def test_vipe_with_another_file_or_folder(folder, tmp_path_factory):
    (folder / "pose" / "clip.npz").write_bytes(b"not a zip file")
    with pytest.raises(UserError, match="cannot be read"):
        read_vipe(folder, "clip.mp4", 5)
    np.savez(folder / "pose" / "clip.npz", poses=np.eye(4)[None])
    with pytest.raises(UserError, match="not ViPE's poses"):
        read_vipe(folder, "clip.mp4", 5)
    with pytest.raises(UserError, match="vipe infer"):
        read_vipe(tmp_path_factory.mktemp("empty"), "clip.mp4", 5)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("pycolmap") is None, reason="pycolmap is not installed (extra 'colmap')")
def test_colmap_on_a_rendered_orbit():
    clip = render_scene(build_scene("shapes", 3), camera_path("orbit", 10, 25.0), 240, 416, 350.0)
    frames = FrameFolder()
    for frame in clip.frames:
        frames.add(frame)
    found = colmap_trajectory(frames, 350.0)
    frames.close()
    assert found.engine.startswith("COLMAP") and found.focal == 350.0
    assert measures.rotation_max(found.poses) == pytest.approx(25, abs=0.3)
    true = measures.path_length(clip.poses) / clip.depth
    assert measures.path_length(found.poses) == pytest.approx(true, rel=0.25)
