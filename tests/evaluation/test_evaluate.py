"""The evaluator on folders of every kind: nothing is dropped, nothing is measured twice, intervals are right."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest

from alice_repro.errors import UserError
from alice_repro.evaluation import engine, registry
from alice_repro.evaluation.evaluate import evaluate, show
from alice_repro.evaluation.index import read_scores
from alice_repro.evaluation.metric import Metric, Result, SetValue, Tools
from alice_repro.evaluation.metrics.temporal_flickering import temporal_flickering
from alice_repro.evaluation.prompts import prompt_of_name
from alice_repro.evaluation.registry import METRICS, build_metrics
from alice_repro.evaluation.summary import pooled
from alice_repro.media import iter_frames, read_video, write_video
from alice_repro.statistics import proportion_interval

FLICKERING = ["temporal_flickering"]


def clip(seed: int, frames: int = 5, height: int = 32, width: int = 48) -> np.ndarray:
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 200, (height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1)
    return np.stack([np.roll(base, k, axis=1) for k in range(frames)]).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    for number in range(3):
        write_video(tmp_path / "videos" / f"a red ball-{number}.mp4", clip(number), 8)
    return tmp_path / "videos"


def encode(path: Path, frames: np.ndarray, container: str, codec: str, pixels: str) -> None:
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=8)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
        for image in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)))
        file.mux(stream.encode(None))


def turn(source: Path, target: Path) -> None:
    """A copy whose header says: turn me by 90 degrees."""
    content = bytearray(source.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    matrix = np.array([0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30], dtype=">i4")
    content[at : at + 36] = matrix.tobytes()
    target.write_bytes(content)


def test_a_folder_becomes_tables(folder, tmp_path):
    found = evaluate(folder, FLICKERING, tmp_path / "out")
    expected = [temporal_flickering(iter_frames(path)) for path in sorted(folder.glob("*.mp4"))]
    assert found.scores["temporal_flickering"].tolist() == expected and found.complete
    assert found.scores["caption"].tolist() == ["a red ball"] * 3 and found.scores["seed"].tolist() == [0, 1, 2]
    row = found.summary.iloc[0]
    assert row["value"] == pytest.approx(np.mean(expected)) and np.isnan(row["low"])  # one prompt: no interval
    again = read_scores(tmp_path / "out" / "scores.csv")
    assert again["temporal_flickering"].tolist() == expected and again["frames"].tolist() == [5, 5, 5]
    assert {"inventory.csv", "summary.csv", "sets.csv", "manifest.json"} <= set(os.listdir(tmp_path / "out"))


def test_intervals_resample_prompts_and_not_videos(tmp_path):
    for prompt in range(6):
        for seed in range(3):
            write_video(tmp_path / "videos" / f"prompt {prompt}-{seed}.mp4", clip(prompt), 8)
    row = evaluate(tmp_path / "videos", FLICKERING, tmp_path / "out").summary.iloc[0]
    single = tmp_path / "single"
    single.mkdir()
    for prompt in range(6):
        shutil.copy(tmp_path / "videos" / f"prompt {prompt}-0.mp4", single / f"prompt {prompt}.mp4")
    alone = evaluate(single, FLICKERING, tmp_path / "out1").summary.iloc[0]
    assert row["n"] == 18 and alone["n"] == 6
    assert (row["value"], row["low"], row["high"]) == pytest.approx((alone["value"], alone["low"], alone["high"]))


def test_shares_have_intervals_of_shares():
    table = pd.DataFrame({"prompt_id": [f"p{i // 2}" for i in range(20)], "caption": "", "video": range(20)})
    always = pooled(table.assign(moves=1.0), "moves", binary=True)
    assert (
        always.value == 1
        and always.high == pytest.approx(1)
        and always.low == pytest.approx(proportion_interval(10, 10).low)
    )
    once = pooled(table.assign(moves=[1.0] + [0.0] * 19), "moves", binary=True)
    assert once.value == 0.05 and once.low == 0 and 0.05 < once.high < 0.5
    alone = pooled(table.assign(prompt_id="", caption="", moves=[1.0] + [0.0] * 19), "moves", binary=True)
    assert (alone.low, alone.high) == (proportion_interval(1, 20).low, proportion_interval(1, 20).high)


def test_a_measure_that_happens_to_be_one_everywhere_is_no_share():
    table = pd.DataFrame({"prompt_id": list("ab"), "caption": "", "video": list("ab"), "flickering": [1.0, 1.0]})
    found = pooled(table, "flickering")
    assert (found.low, found.high) == (1, 1)
    assert np.isnan(pooled(table.head(1), "flickering").low)


def test_a_single_video_needs_nothing_of_its_neighbours(folder, tmp_path):
    (folder / "captions.csv").write_text("video,caption\na red ball-0.mp4,a ball\ngone.mp4,a cat\n")
    one = evaluate(folder / "a red ball-0.mp4", FLICKERING, tmp_path / "one")
    assert one.scores["caption"].tolist() == ["a ball"] and one.complete
    other = evaluate(folder / "a red ball-1.mp4", FLICKERING, tmp_path / "other")
    assert len(other.scores) == 1 and other.complete


def test_folders_and_links_to_folders_are_named(folder, tmp_path):
    (folder / "folder.mp4").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    others = evaluate(folder, FLICKERING, tmp_path / "out").inventory.others
    assert others == ["folder.mp4 (a folder)", "link (a link to a folder, not followed)"]


def test_prompts_may_name_whole_paths(folder, tmp_path):
    whole = {str(path): "a ball" for path in folder.glob("*.mp4")}
    (tmp_path / "p.json").write_text(json.dumps(whole))
    found = evaluate(folder, FLICKERING, tmp_path / "out", prompts=tmp_path / "p.json")
    assert found.scores["caption"].tolist() == ["a ball"] * 3 and found.complete


@pytest.mark.parametrize("tools", [{"device": "tpu"}, {"device": "cuda:x"}, {"batch": 0}])
def test_tools_that_do_not_exist_are_refused(tools):
    with pytest.raises(UserError, match="device|batch"):
        Tools(**tools)


def test_an_output_folder_that_cannot_be_made_is_named(folder, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="no folder for the tables"):
        evaluate(folder, FLICKERING, tmp_path / "file" / "out")


def test_a_weighted_number_is_the_ratio_of_sums():
    table = pd.DataFrame({"prompt_id": list("abcd"), "caption": "", "frames": [10.0, 10.0, 40.0, 40.0]})
    table["video"], table["x"] = table["prompt_id"], [0.2, 0.4, 0.6, 0.8]
    found, plain = pooled(table, "x", "frames"), pooled(table, "x")
    assert found.value == pytest.approx((10 * 0.2 + 10 * 0.4 + 40 * 0.6 + 40 * 0.8) / 100) and plain.value == 0.5
    assert found.low < found.value < found.high


def test_every_hostile_file_is_accounted_for(tmp_path):
    """Each is measured, or a row with its reason; what is measured is right."""
    folder = tmp_path / "videos"
    folder.mkdir()
    good = clip(0)
    write_video(folder / "good.mp4", good, 8)
    whole = (folder / "good.mp4").read_bytes()
    names = ["UPPER.MP4", "with space 'and' \"quotes\".mp4", "ünïcödé 日本 🎈.mp4", "x" * 200 + ".mp4", "a,b;c=d.mp4"]
    for name in [*names, "line\nbreak.mp4", "-dash.mp4", "double.mp4.mp4"]:
        (folder / name).write_bytes(whole)
    (folder / "below" / "deeper").mkdir(parents=True)
    (folder / "below" / "deeper" / "good.mp4").write_bytes(whole)
    encode(folder / "clip.mkv", good, "matroska", "libx264", "yuv420p")
    encode(folder / "clip.mov", good, "mov", "libx264", "yuv420p")
    encode(folder / "clip.webm", good, "webm", "libvpx-vp9", "yuv420p")
    encode(folder / "clip.avi", good, "avi", "mpeg4", "yuv420p")
    encode(folder / "clip.GIF", good, "gif", "gif", "rgb8")
    encode(folder / "ten bits.mp4", good, "mp4", "libx264", "yuv420p10le")
    turn(folder / "good.mp4", folder / "turned.mp4")
    write_video(folder / "one frame.mp4", clip(1, frames=1), 8)
    reasons = {}

    def bad(name: str, content: bytes, reason: str) -> None:
        (folder / name).write_bytes(content)
        reasons[name] = reason

    bad("empty.mp4", b"", "empty")
    bad("text.mp4", b"this is no video\n" * 99, "does not decode")
    bad("half.mp4", whole[: len(whole) // 2], "")
    bad("zeros.webm", bytes(5000), "does not decode")
    bad("header only.mov", whole[:64], "")
    bad("html.gif", b"<html>404</html>", "does not decode")
    with av.open(str(folder / "sound.mp4"), "w") as file:
        stream = file.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        sound.sample_rate = 44100
        file.mux(stream.encode(sound))
        file.mux(stream.encode(None))
    reasons["sound.mp4"] = "no video stream"
    (folder / "nowhere.mp4").symlink_to(folder / "gone.mp4")
    reasons["nowhere.mp4"] = "link to nothing"
    os.mkfifo(folder / "pipe.mp4")
    reasons["pipe.mp4"] = "not a regular file"
    with open(os.fsencode(folder) + b"/not utf8 \xff.mp4", "wb") as file:
        file.write(whole)
    (folder / "notes.txt").write_text("x")
    found = evaluate(folder, FLICKERING, tmp_path / "out")
    rows = found.scores.set_index("video")
    assert not found.complete and found.inventory.others == ["notes.txt"]
    assert len(rows) == len(found.inventory.entries) == 28
    for name, reason in reasons.items():
        assert np.isnan(rows.loc[name, "temporal_flickering"]), name
        assert (
            reason in rows.loc[name, "temporal_flickering_reason"] and rows.loc[name, "temporal_flickering_reason"]
        ), name
    assert "two frames" in rows.loc["one frame.mp4", "temporal_flickering_reason"]
    measured = rows.drop(index=[*reasons, "one frame.mp4"])["temporal_flickering"]
    error = measured.sub(temporal_flickering(good)).abs()
    assert measured.notna().all() and error.drop("clip.GIF").max() < 0.02 and error["clip.GIF"] < 0.1  # 256 colours
    assert (rows.loc["turned.mp4", ["height", "width"]] == [48, 32]).all()
    assert (tmp_path / "out" / "rows.jsonl").read_text(encoding="utf-8").count("NaN") == 0
    assert "pipe.mp4: not a regular file" in show(found)


def test_a_turned_video_is_measured_as_shown(folder, tmp_path):
    import cv2

    turn(folder / "a red ball-0.mp4", tmp_path / "turned.mp4")
    frames = read_video(tmp_path / "turned.mp4")
    capture = cv2.VideoCapture(str(tmp_path / "turned.mp4"))
    shown = capture.read()[1][..., ::-1]
    assert frames.shape == (5, 48, 32, 3) and np.array_equal(frames[0], shown)


class Counting(Metric):
    """Counts how often it is asked; fails where it is told to."""

    name = "counting"
    measures = ("pixels",)
    seen: list[str] = []
    fail_on = ""
    error: BaseException = KeyboardInterrupt()

    def watch(self, clip):
        Counting.seen.append(clip.video)
        if clip.video == Counting.fail_on:
            raise Counting.error
        return self

    def see(self, frame):
        self.last = frame

    def result(self):
        return Result({"pixels": float(self.last.size)}, {"mean": self.last.mean(axis=(0, 1))})

    def over_sets(self, sets):
        return [SetValue(s.prompt, "spread", float(np.std([a["mean"] for a in s.arrays])), len(s.arrays)) for s in sets]


@pytest.fixture
def counting(monkeypatch):
    monkeypatch.setitem(METRICS, "counting", "counting.Counting")
    real = registry._class
    monkeypatch.setattr(registry, "_class", lambda name: Counting if name == "counting" else real(name))
    Counting.seen, Counting.fail_on, Counting.error = [], "", KeyboardInterrupt()
    return Counting


@pytest.fixture
def no_estimate(monkeypatch):
    monkeypatch.setattr("alice_repro.evaluation.evaluate.preflight", lambda *_: [])


def test_an_interrupted_evaluation_goes_on(folder, tmp_path, counting, no_estimate):
    counting.fail_on = "a red ball-2.mp4"
    with pytest.raises(KeyboardInterrupt):
        evaluate(folder, ["counting"], tmp_path / "out")
    assert not (tmp_path / "out" / "scores.csv").exists()
    with (tmp_path / "out" / "rows.jsonl").open("a") as file:
        file.write('\n{"key": "cut sho')  # as a kill leaves it
    counting.fail_on = ""
    found = evaluate(folder, ["counting"], tmp_path / "out")
    assert counting.seen == ["a red ball-0.mp4", "a red ball-1.mp4", "a red ball-2.mp4", "a red ball-2.mp4"]
    assert found.scores["pixels"].tolist() == [32 * 48 * 3] * 3 and found.sets["n"].tolist() == [3]
    rows = (tmp_path / "out" / "rows.jsonl").read_text().splitlines()
    assert len([json.loads(line) for line in rows if line]) == 6


def test_a_copy_or_another_name_is_not_measured_again(folder, tmp_path, counting, no_estimate):
    evaluate(folder, ["counting"], tmp_path / "out")
    shutil.copy(folder / "a red ball-0.mp4", folder / "copy.mp4")
    (folder / "a red ball-1.mp4").rename(folder / "renamed.mp4")
    counting.seen.clear()
    found = evaluate(folder, ["counting"], tmp_path / "out")
    assert counting.seen == [] and len(found.scores) == 4
    assert any("the same file as" in note for entry in found.inventory.entries for note in entry.notes)


def test_what_another_metric_measured_before_stays(folder, tmp_path, counting, no_estimate):
    for metrics in (["counting"], FLICKERING, ["counting", *FLICKERING]):
        found = evaluate(folder, metrics, tmp_path / "out")
    assert len(counting.seen) == 3 and {"pixels", "temporal_flickering"} <= set(found.scores)


def test_the_pre_flight_tries_only_what_is_still_to_measure(folder, tmp_path, counting, capsys):
    evaluate(folder, ["counting"], tmp_path / "out")
    assert "estimated time" in capsys.readouterr().err
    counting.seen.clear()
    evaluate(folder, ["counting"], tmp_path / "out")
    said = capsys.readouterr().err
    assert counting.seen == [] and "estimated time" not in said and "measured before" in said


def test_a_fault_of_the_code_is_a_row_and_is_tried_again(folder, tmp_path, counting, no_estimate):
    counting.fail_on, counting.error = "a red ball-1.mp4", ZeroDivisionError("by zero")
    found = evaluate(folder, ["counting"], tmp_path / "out")
    assert len(found.faults) == 1 and "ZeroDivisionError" in found.faults[0] and not found.complete
    assert "ZeroDivisionError" in found.scores["pixels_reason"][1] and found.scores["pixels"].notna().sum() == 2
    assert found.sets["missing"].tolist() == [1]
    counting.fail_on = ""
    assert evaluate(folder, ["counting"], tmp_path / "out").complete


def test_a_number_that_is_not_finite_is_a_reason(folder, tmp_path, counting, no_estimate, monkeypatch):
    monkeypatch.setattr(Counting, "result", lambda self: Result({"pixels": float("inf")}, {"mean": np.ones(3)}))
    found = evaluate(folder, ["counting"], tmp_path / "out")
    assert found.scores["pixels"].isna().all() and "inf" in found.scores["pixels_reason"][0]


def test_two_evaluations_do_not_write_into_one_folder(folder, tmp_path):
    with engine.Store(tmp_path / "out" / "rows.jsonl").alone():
        with pytest.raises(UserError, match="another evaluation"):
            evaluate(folder, FLICKERING, tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ('{"gone.mp4": "x"}', "p.json", "none of its 1 videos"),
        ("[]", "p.json", "one video at least"),
        ('[{"video": "a red ball-0.mp4"}]', "p.json", "entry 0 is not"),
        ('{"a red ball-0.mp4": 3.5}', "p.json", "must be text"),
        ("{", "p.json", "malformed"),
        ("video,caption\n", "p.csv", "none of its 0 videos"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(folder, tmp_path, content, name, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        evaluate(folder, FLICKERING, tmp_path / "out", prompts=tmp_path / name)


def test_prompts_name_what_is_missing_and_what_has_none(folder, tmp_path):
    (tmp_path / "p.json").write_text('{"a red ball-0.mp4": "a ball", "gone.mp4": "a cat"}')
    found = evaluate(folder, FLICKERING, tmp_path / "out", prompts=tmp_path / "p.json")
    rows = found.scores.set_index("video")
    assert rows.loc["a red ball-0.mp4", "caption"] == "a ball"
    assert "the prompts name it" in rows.loc["gone.mp4", "temporal_flickering_reason"]
    assert rows.loc["a red ball-1.mp4", "temporal_flickering"] > 0 and len(rows) == 4 and not found.complete


@pytest.mark.parametrize(
    ("name", "caption", "seed"),
    [
        ("a cat-3.mp4", "a cat", 3),
        ("a cat.mp4", "a cat", None),
        ("below/well-known-12.webm", "well-known", 12),
        ("-3.mp4", "-3", None),
    ],
)
def test_names_hold_prompts(name, caption, seed):
    found = prompt_of_name(name)
    assert found["caption"] == caption and (found["seed"] == seed if seed is not None else pd.isna(found["seed"]))


def test_unknown_metrics_and_settings_are_named(tmp_path):
    with pytest.raises(UserError, match="temporal_flickering"):
        build_metrics(["temporal_flikering"], Tools())
    with pytest.raises(UserError, match="not among the metrics"):
        build_metrics(FLICKERING, Tools(), {"lab": {}})
    with pytest.raises(UserError, match="no video"):
        evaluate(tmp_path, FLICKERING, tmp_path / "out")
    with pytest.raises(UserError, match="no such folder"):
        evaluate(tmp_path / "gone", FLICKERING, tmp_path / "out")
