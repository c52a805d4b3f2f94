"""VBench's dimensions: the official code's values with the same stub networks, closed forms, memory, bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import util
from pathlib import Path

import numpy as np
import pytest
import torch

from alice_repro.errors import UserError
from alice_repro.evaluation.metric import Clip, Tools
from alice_repro.evaluation.metrics.camera_motion import classify_camera
from alice_repro.evaluation.metrics.dynamic_degree import fastest_flow, moves
from alice_repro.evaluation.registry import GROUPS, METRICS, build_metrics
from alice_repro.evaluation.weights import MissingWeights, Weights
from alice_repro.media import iter_frames

PARITY = Path(__file__).parents[1] / "parity"
OFFICIAL = json.loads((PARITY / "dimensions.json").read_text())
REAL = json.loads((PARITY / "dimensions_real.json").read_text())
FPS = {"bunny": 25, "odd": 12, "still": 24, "tall": 5, "two": 8, "bigbuckbunny": 25, "carphone_pristine": 30000 / 1001}
MODES = ("longer", "shorter", "shorter_centercrop", "None")
SEVEN = GROUPS["vbench-custom"]


def _module(name: str):
    spec = util.spec_from_file_location(name, PARITY / f"{name}.py")
    module = sys.modules[name] = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


stubs = _module("stub_networks")
NETWORKS = {
    "dino-vitb16": stubs.Features("dino"),
    "clip-vitb32": stubs.Features("b32"),
    "clip-vitl14": stubs.Features("l14"),
    "dreamsim": stubs.Features("dreamsim"),
    "laion-aesthetic": stubs.Head(),
    "musiq-spaq": stubs.Quality(),
    "amt-s": stubs.Interpolator(),
    "raft-things": stubs.Flow(),
}


def stubbed(names, batch=5, options=None):
    metrics = build_metrics(names, Tools(batch=batch), options)
    for metric in metrics:
        if hasattr(metric, "networks"):
            metric.networks.update(NETWORKS)
    return metrics


def clip_of(path: Path, frames=None, fps=None, caption=None) -> Clip:
    height, width = (next(iter_frames(path)) if frames is None else frames[0]).shape[:2]
    return Clip(path.name, path, caption, fps or FPS.get(path.stem, 8), height, width)


def measure(metrics, clip, frames):
    watchers = [metric.watch(clip) for metric in metrics]
    for frame in frames:
        frame.flags.writeable = False
        for watcher in watchers:
            watcher.see(frame)
    results = [watcher.result() for watcher in watchers]
    return {name: value for result in results for name, value in result.values.items()}, results


def check_parity(official, folder: Path, tolerance=1e-5):
    """Every video and folder score of the official code, per dimension; one decode of each clip."""
    names = ["i2v_subject", "i2v_background"] if "i2v_subject" in official else []
    metrics = {name: metric for name, metric in zip([*SEVEN, *names], stubbed([*SEVEN, *names]), strict=True)}
    for mode in MODES:
        preprocessing = {"imaging_quality": {"preprocessing": mode}}
        metrics[f"imaging_quality {mode}"] = stubbed(["imaging_quality"], options=preprocessing)[0]
    rows = []
    for stem, read in official["clips"].items():
        frames = list(iter_frames(folder / f"{stem}.mp4"))
        assert len(frames) == read["frames"] and np.mean(frames) == pytest.approx(read["mean"], abs=1e-9)
        clip = clip_of(folder / f"{stem}.mp4")
        row = {"frames": len(frames)}
        for key, metric in metrics.items():
            values, results = measure([metric], clip, frames)
            row[key] = values[metric.name]
            if key == "dynamic_degree":
                flows = np.array(official["flow"][stem]) * 256 / min(clip.height, clip.width)
                np.testing.assert_allclose(results[0].arrays["dynamic_degree"], flows, rtol=1e-5)
        rows.append(row | {"clip": stem})
    for key, metric in metrics.items():
        for row in rows if key in official else ():
            expected = official[key]["videos"].get(row["clip"])
            if expected is None:
                assert isinstance(row[key], str), (key, row["clip"])
            else:
                scale = 100 if key.startswith("imaging") else 1
                assert row[key] * scale == pytest.approx(expected, abs=tolerance), (key, row["clip"])
        if key in official:
            known = [row for row in rows if isinstance(row[key], float)]
            pairs = getattr(metric, "weighted_by", {}).get(metric.name) == "pairs"
            weights = [row["frames"] - 1 if pairs else 1 for row in known]
            folder_score = np.average([row[key] for row in known], weights=weights)
            assert folder_score == pytest.approx(official[key]["folder"], abs=tolerance), key


def test_each_dimension_equals_the_official_function():
    """Official values: vbench 0.1.5 in its own environment, tests/parity/dimensions.py."""
    assert all(read["decoders_agree"] for read in OFFICIAL["clips"].values())
    check_parity(OFFICIAL, PARITY / "clips")


def test_the_stored_values_can_tell_a_wrong_resize_from_the_right_one(monkeypatch):
    from torchvision.transforms import functional

    plain = functional.resize
    monkeypatch.setattr(functional, "resize", lambda *a, antialias=None, **k: plain(*a, antialias=True, **k))
    with pytest.raises(AssertionError):
        check_parity(OFFICIAL, PARITY / "clips")


@pytest.mark.network
def test_each_dimension_equals_the_official_function_on_real_clips(sample_clips, tmp_path):
    cut = _module("make_clips").cut
    for stem in REAL["clips"]:
        cut(sample_clips / f"{stem}.mp4", tmp_path / f"{stem}.mp4", 24)
    check_parity(REAL, tmp_path)


def test_camera_classes_equal_the_official_ones_on_random_tracks():
    found = []
    for i in range(60):
        first, moved = (stubs.weights(f"tracks {part} {i}", 100, 2).numpy() for part in ("first", "moved"))
        ends = np.trunc(np.stack([first * 80 + 120, first * 80 + 120 + moved * 2 * (i % 3)])).reshape(2, 10, 10, 2)
        found.append(sorted(classify_camera(*ends, 240)) or ["None"])
    assert found == OFFICIAL["camera_motion"]
    assert len({kind for kinds in found for kind in kinds}) >= 5


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_the_batch_changes_nothing(batch):
    path = PARITY / "clips" / "bunny.mp4"
    frames = list(iter_frames(path))
    one, _ = measure(stubbed(SEVEN, 4), clip_of(path), frames)
    other, _ = measure(stubbed(SEVEN, batch), clip_of(path), frames)
    assert other == pytest.approx(one, abs=1e-6)


def most_held(frames: int, height=90, width=160) -> int:
    """Bytes of frames, inputs and features that the watchers hold at most between two frames."""
    clip = Clip("a.mp4", Path("a.mp4"), None, 24, height, width)
    watchers = [metric.watch(clip) for metric in stubbed(SEVEN, 4)]
    held = 0
    for frame in _grey(frames, height, width):
        for watcher in watchers:
            watcher.see(frame)
        held = max(held, sum(_size(vars(watcher), set()) for watcher in watchers))
    return held


def _size(value, seen) -> int:
    """Bytes of every array and tensor that can be reached, each once; the metric and its networks are left out."""
    if id(value) in seen or type(value).__name__ in METRIC_CLASSES:
        return 0
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, torch.Tensor):
        return value.untyped_storage().nbytes()
    if isinstance(value, dict):
        return sum(_size(part, seen) for part in value.values())
    if isinstance(value, list | tuple):
        return sum(_size(part, seen) for part in value)
    return _size(vars(value), seen) if hasattr(value, "__dict__") and not callable(value) else 0


METRIC_CLASSES = {place.partition(".")[2] for place in METRICS.values()}


def test_memory_does_not_grow_with_the_length():
    few = most_held(25)  # all batches have been full at once: of 4, 8 and 12 frames
    assert few > 1e6  # the count sees what is held
    assert most_held(100) == few


def _grey(count, height, width):
    for i in range(count):
        yield np.full((height, width, 3), i % 256, np.uint8)


def test_dynamic_degree_counts_pairs_as_the_rule_says():
    # 6 * 512 / 256 = 12 pixels; n = 16 frames need 4 pairs.
    assert moves([12.1] * 4 + [0] * 11, 512, 900) and not moves([12.1] * 3 + [0] * 12, 512, 900)
    assert not moves([12.0] * 15, 900, 512)
    # Quirk: n = 2 needs round(0.5) = 0 pairs; n = 3 one.
    assert moves([0.0], 512, 512) and not moves([0.0, 0.0], 512, 512)
    flow = torch.zeros(1, 2, 10, 10)
    flow[0, :, 0, :5] = torch.tensor([3.0, 4.0])[:, None]
    assert fastest_flow(flow).tolist() == [5.0]
    flow[0, :, 0, 4] = 0
    assert fastest_flow(flow).tolist() == pytest.approx([4.0])


class _FlowWithFeatures(torch.nn.Module):
    """The stub, from features of each frame, which are counted."""

    def __init__(self):
        super().__init__()
        self.stub, self.seen = stubs.Flow(), 0

    def features(self, frames):
        self.seen += len(frames)
        return frames * 1.0

    def forward(self, first, second, features=None):
        assert torch.equal(first, features[0]) and torch.equal(second, features[1])
        return self.stub(*features)


def test_features_of_a_frame_are_computed_once_for_both_of_its_pairs():
    path = PARITY / "clips" / "bunny.mp4"
    metric = stubbed(["dynamic_degree"], 3)[0]
    _, (plain,) = measure([metric], clip_of(path, fps=8), iter_frames(path))
    metric.networks["raft-things"] = counting = _FlowWithFeatures()
    _, (shared,) = measure([metric], clip_of(path, fps=8), iter_frames(path))
    assert counting.seen == 24 and shared.values == plain.values
    np.testing.assert_array_equal(shared.arrays["dynamic_degree"], plain.arrays["dynamic_degree"])


def test_a_still_image_is_consistent_smooth_and_does_not_move():
    values, _ = measure(stubbed(SEVEN), clip_of(PARITY / "clips" / "still.mp4"), _grey_still(20))
    assert values["subject_consistency"] == pytest.approx(1, abs=1e-6)
    assert values["background_consistency"] == pytest.approx(1, abs=1e-6)
    assert values["temporal_flickering"] == 1 and values["dynamic_degree"] == 0


def _grey_still(count):
    return [np.full((96, 64, 3), 90, np.uint8) for _ in range(count)]


def test_too_few_frames_is_a_reason():
    values, _ = measure(stubbed(SEVEN), clip_of(PARITY / "clips" / "still.mp4"), _grey_still(1))
    numbers = {name for name, value in values.items() if isinstance(value, float)}
    assert numbers == {"aesthetic_quality", "imaging_quality"}
    assert values["motion_smoothness"] == "needs three frames or more"
    assert "needs 4 frames" in values["dynamic_degree"]


def test_a_network_that_gives_nan_is_a_reason():
    metrics = stubbed(SEVEN)
    for metric in metrics:
        if hasattr(metric, "networks"):
            metric.networks = {
                name: lambda *images, net=net: net(*images) * torch.nan for name, net in NETWORKS.items()
            }
    values, _ = measure(metrics, clip_of(PARITY / "clips" / "bunny.mp4"), iter_frames(PARITY / "clips" / "bunny.mp4"))
    assert {name for name, value in values.items() if isinstance(value, float)} == {"temporal_flickering"}
    assert all("weights" in value for value in values.values() if isinstance(value, str))


def test_missing_weights_are_named_when_a_video_begins(tmp_path):
    for name in ("subject_consistency", "background_consistency", "aesthetic_quality"):
        metric = build_metrics([name], Tools(weights=Weights(tmp_path)))[0]
        with pytest.raises(MissingWeights, match=metric.weights[0]):
            metric.watch(clip_of(PARITY / "clips" / "two.mp4"))


def test_what_decides_a_value_is_named():
    """So that kept rows are measured again when it changes."""
    subject, dynamic, i2v = build_metrics(["subject_consistency", "dynamic_degree", "i2v_subject"], Tools())
    package = "alice_repro.evaluation"
    assert set(subject.code) >= {f"{package}.metrics.frame_similarity", f"{package}.preprocess", f"{package}.networks"}
    assert "alice_repro.models.backbones.dino" in subject.code and "alice_repro.models.backbones.raft" in dynamic.code
    assert f"{package}.metrics.frame_similarity" in i2v.code


def test_unknown_preprocessing_names_the_nearest():
    with pytest.raises(UserError, match="shorter"):
        build_metrics(["imaging_quality"], Tools(), {"imaging_quality": {"preprocessing": "shortest"}})


def test_the_input_image_is_found_by_the_names_of_the_official_suite(tmp_path):
    from alice_repro.evaluation.metrics.i2v import find_image

    (tmp_path / "images").mkdir()
    for name in ("a cat-0.png", "a cat.JPG", "words.webp"):
        (tmp_path / "images" / name).touch()
    found = {
        video: find_image(Clip(video, tmp_path / video, caption, 8, 64, 64), str(tmp_path / "images"))
        for video, caption in (("a cat-0.mp4", None), ("a cat-1.mp4", None), ("x.mp4", "words"), ("y.mp4", None))
    }
    assert [path and path.name for path in found.values()] == ["a cat-0.png", "a cat.JPG", "words.webp", None]
    with pytest.raises(UserError, match="no such folder"):
        find_image(Clip("a.mp4", tmp_path / "a.mp4", None, 8, 64, 64), str(tmp_path / "nowhere"))


def test_image_to_video_dimensions_without_image_or_network_say_why(tmp_path):
    clip = Clip("a.mp4", tmp_path / "a.mp4", None, 8, 64, 64)
    metrics = stubbed(["i2v_subject"]) + build_metrics(["i2v_background", "camera_motion"], Tools())
    values, _ = measure(metrics, clip, _grey_still(3))
    assert "input image" in values["i2v_subject"]
    assert "DreamSim" in values["i2v_background"] and "CoTracker2" in values["camera_motion"]


class _Drift:
    """A tracker whose points all move by the same way between the first frame and the last."""

    def __init__(self, vector):
        self.vector = np.array(vector, float)

    def see(self, frame):
        pass

    def ends(self):
        return np.stack([np.zeros((100, 2)), np.zeros((100, 2)) + self.vector])


@pytest.mark.parametrize(
    ("vector", "asked", "score"),
    [
        ((-9, 0), "camera pans right", 1.0),
        ((-9, 0), "camera pans left", 0.0),
        ((0, 9), "camera tilts up", 1.0),
        ((0, 0), "camera static", 1.0),
        ((0.9, 0), "camera static", 1.0),  # whole pixels count
        ((9, 0), "camera static", 0.0),
    ],
)
def test_camera_motion_asks_what_the_prompt_says(tmp_path, vector, asked, score):
    from alice_repro.evaluation.metrics.camera_motion import CameraMotion

    metric = CameraMotion(Tools(), tracker=lambda height, width: _Drift(vector))
    clip = Clip("a.mp4", tmp_path / "a.mp4", f"a house, {asked}", 8, 64, 64)
    assert measure([metric], clip, _grey_still(2))[0] == {"camera_motion": score}
    clip = Clip("a.mp4", tmp_path / "a.mp4", "a house", 8, 64, 64)
    assert "names no camera motion" in measure([metric], clip, _grey_still(2))[0]["camera_motion"]


def test_a_network_is_named_by_its_function(tmp_path, monkeypatch):
    (tmp_path / "mine_networks.py").write_text("def embed(device):\n    return lambda images: images.flatten(1)\n")
    monkeypatch.syspath_prepend(tmp_path)
    options = {"i2v_background": {"network": "mine_networks:embed", "images": str(PARITY / "clips")}}
    metric = build_metrics(["i2v_background"], Tools(), options)[0]
    values, _ = measure([metric], clip_of(PARITY / "clips" / "still.mp4"), _grey_still(3))
    assert 0 < values["i2v_background"] <= 1
    options["i2v_background"]["network"] = "mine_networks:nothing"
    with pytest.raises(UserError, match="mine_networks:nothing"):
        build_metrics(["i2v_background"], Tools(), options)[0].watch(clip_of(PARITY / "clips" / "still.mp4"))


@pytest.mark.slow
def test_a_clip_of_150_frames_of_1080p_takes_less_than_a_gigabyte_and_a_half():
    """All seven at once, in a process of its own, above what the stub networks and libraries take."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY.format(tests=str(Path(__file__).parent))], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < 1.5 * 2**30


MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, {tests!r})
from test_dimensions import Clip, SEVEN, measure, stubbed
noise = np.random.default_rng(0).integers(0, 256, (1080, 1920 + 150, 3), dtype=np.uint8)
frames = (noise[:, i : i + 1920].copy() for i in range(150))
metrics = stubbed(SEVEN, 16)
measure(metrics, Clip("a.mp4", Path("a.mp4"), None, 24, 64, 96), [np.zeros((64, 96, 3), np.uint8) for _ in range(20)])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
measure(metrics, Clip("a.mp4", Path("a.mp4"), None, 24, 1080, 1920), frames)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""
