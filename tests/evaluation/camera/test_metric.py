"""The metric "camera": its columns, what an engine changes in them, reasons, and measures over clips of a prompt."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alice_repro.errors import UserError
from alice_repro.evaluation.camera.scenes import build_scene, camera_path, render_scene
from alice_repro.evaluation.metric import Clip, Tools, VideoSet
from alice_repro.evaluation.registry import build_metrics

CLIP = Clip("a/clip.mp4", Path("clip.mp4"), None, 16.0, 144, 256)


def metric(**options):
    return build_metrics(["camera"], Tools(), {"camera": options})[0]


def watch(camera, frames):
    watcher = camera.watch(CLIP)
    for frame in frames:
        watcher.see(frame)
    return watcher.result()


def videos(*paths):
    arrays = [{"poses": path} if path is not None else {} for path in paths]
    return VideoSet("a prompt", pd.DataFrame(index=range(len(arrays))), arrays)


@pytest.fixture(scope="module")
def pan():
    return render_scene(build_scene("blobs", 3), camera_path("pan", 6, 10.0), 144, 256, 215.0).frames


def test_the_built_in_engine_names_its_lengths(pan):
    camera = metric(focal=215.0)
    assert camera.surrogate
    result = watch(camera, pan)
    assert set(result.values) == set(camera.measures)
    assert "camera_path_length_normalised" in camera.measures and "camera_path_length" not in camera.measures
    assert result.values["camera_rotation_total_degrees"] == pytest.approx(10, abs=0.2)
    assert result.values["camera_path_length_normalised"] == result.values["camera_translates"] == 0
    assert result.values["camera_rigid_share"] > 0.9
    assert result.arrays["poses"].shape == (6, 4, 4)


def test_every_measure_has_a_number_or_the_reason(pan):
    cut = watch(metric(), [*pan, *(255 - pan[:, ::-1, ::-1])])
    assert all(isinstance(value, str) and "frame 6" in value for value in cut.values.values())
    assert cut.arrays == {}
    flat = watch(metric(), np.full((5, 64, 64, 3), 128, np.uint8))
    assert all(isinstance(value, str) for value in flat.values.values())
    assert "texture" in flat.values["camera_path_length_normalised"]


def test_frames_are_not_written_to(pan):
    frames = pan.copy()
    frames.flags.writeable = False
    watch(metric(), frames)


def test_vipe_lengths_keep_their_unit(tmp_path):
    (tmp_path / "pose").mkdir()
    np.savez(tmp_path / "pose" / "clip.npz", data=camera_path("truck", 4, 3.0), inds=np.arange(4))
    camera = metric(engine="vipe", poses=str(tmp_path))
    assert camera.surrogate == ""
    frames = np.zeros((4, 8, 8, 3), np.uint8)
    result = watch(camera, frames)
    assert result.values["camera_path_length"] == pytest.approx(3.0)
    assert set(result.values) == set(camera.measures)
    assert "3 frames" in watch(camera, frames[:3]).values["camera_path_length"]


def test_over_the_seeds_of_a_prompt():
    paths = [camera_path("truck", 5, d) for d in (0.0, 1.0, 3.0)]
    found = {v.measure: v for v in metric().over_sets([videos(*paths, None)])}
    assert found["camera_endpoint_distance_normalised"].value == pytest.approx(2.0)
    assert found["camera_trajectory_distance_normalised"].value == pytest.approx(1.0)
    assert found["camera_endpoint_spread_normalised"].value == pytest.approx(np.std([0, 1, 3]))
    assert {v.n for v in found.values()} == {3}
    sample = {v.measure: v.value for v in metric(ddof=1).over_sets([videos(*paths)])}
    assert sample["camera_endpoint_spread_normalised"] == pytest.approx(np.std([0, 1, 3], ddof=1))


def test_sets_without_a_number_say_why():
    one = metric().over_sets([videos(camera_path("truck", 5, 1.0), None)])
    assert all("two clips" in v.value and v.n == 1 for v in one)
    unequal = videos(camera_path("truck", 5, 1.0), camera_path("truck", 4, 1.0))
    assert all("4, 5 frames" in v.value for v in metric().over_sets([unequal]))
    assert all(isinstance(v.value, float) for v in metric(unequal="truncate").over_sets([unequal]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "odometri"}, "odometry"),
        ({"engine": "vipe"}, "camera.poses"),
        ({"ddof": 2}, "ddof"),
        ({"focal": -1.0}, "focal"),
        ({"unequal": "pad"}, "truncate"),
        ({"fokal": 1.0}, "focal"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(UserError, match=message):
        metric(**options)


@pytest.mark.skipif(importlib.util.find_spec("pycolmap") is not None, reason="pycolmap is installed")
def test_colmap_that_is_not_installed():
    with pytest.raises(UserError, match="pycolmap"):
        metric(engine="colmap")
