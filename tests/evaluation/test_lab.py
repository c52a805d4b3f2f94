"""The lab protocol on folders of mp4 files, with planted faults."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

from alice_repro.errors import UserError
from alice_repro.evaluation import lab
from alice_repro.evaluation.index import measures, read_scores
from alice_repro.media import VideoError, write_video
from alice_repro.world.captions import all_captions
from alice_repro.world.clips import draw_scene, make_clip
from alice_repro.world.oracle import MOTIONS
from alice_repro.world.scene import ATTRIBUTES

CAPTIONS = all_captions(("ball", "box", "triangle"), ("red", "green", "blue", "cyan"), MOTIONS, ("studio",))[::3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("lab") / "videos"
    rows = []
    for i, caption in enumerate(CAPTIONS):
        write_video(root / f"{i:03}.mp4", make_clip(draw_scene(caption, 31, i, None)).frames, 8)
        rows.append({"video": f"{i:03}.mp4", "caption": str(caption), "prompt_id": f"p{i}", "seed": 0})
    pd.DataFrame(rows).to_csv(root.parent / "captions.csv", index=False)
    return root


@pytest.fixture(scope="module")
def scores(folder):
    lab.evaluate_folder(folder, folder.parent / "captions.csv", folder.parent / "scores.csv")
    return read_scores(folder.parent / "scores.csv")


def test_clean_videos_reach_the_endpoint(scores):
    assert len(scores) == len(CAPTIONS)
    for name in ("endpoint", "object_class", "color", "motion", "dynamic_degree", "overall_consistency_world"):
        assert scores[name].mean() >= 0.95, name
    collides = scores["caption"].str.contains("collides")
    assert (scores.loc[collides, "multiple_objects"] == 1).all() and scores.loc[
        ~collides, "multiple_objects"
    ].isna().all()
    assert (scores.loc[~collides, "multiple_objects_reason"] == "the caption names one object").all()


def test_what_the_world_has_no_truth_for_is_not_invented(scores):
    assert "aesthetic_quality" in lab.NOT_TESTABLE and "imaging_quality" in lab.NOT_TESTABLE
    assert not set(measures(scores)) & set(lab.NOT_TESTABLE)


def test_shuffled_captions_drop_to_chance(folder, scores, tmp_path):
    table = pd.read_csv(folder.parent / "captions.csv")
    order = np.random.default_rng(5).permutation(len(table))
    table["caption"] = table["caption"].to_numpy()[order]
    table.to_csv(tmp_path / "captions.csv", index=False)
    shuffled = lab.evaluate_folder(folder, tmp_path / "captions.csv", tmp_path / "scores.csv")
    assert scores["correct"].mean() >= 0.95
    assert shuffled["correct"].mean() <= 0.1
    assert shuffled["object_class"].mean() == pytest.approx(1 / 3, abs=0.25)
    assert shuffled["color"].mean() == pytest.approx(1 / 4, abs=0.25)
    assert shuffled["motion"].mean() == pytest.approx(1 / 6, abs=0.25)


def test_renamed_videos_score_the_same(folder, scores, tmp_path):
    table = pd.read_csv(folder.parent / "captions.csv").head(6)
    (tmp_path / "videos").mkdir()
    for i, name in enumerate(table["video"]):
        shutil.copy(folder / name, tmp_path / "videos" / f"other_{5 - i}.mp4")
    table["video"] = [f"other_{5 - i}.mp4" for i in range(6)]
    table.to_csv(tmp_path / "captions.csv", index=False)
    renamed = lab.evaluate_folder(tmp_path / "videos", tmp_path / "captions.csv", tmp_path / "scores.csv")
    pd.testing.assert_frame_equal(
        renamed[measures(renamed)], scores[measures(renamed)].head(6), check_exact=True, check_dtype=False
    )


def test_only_what_changed_is_measured_again(folder, scores, tmp_path, monkeypatch):
    videos, table = tmp_path / "videos", pd.read_csv(folder.parent / "captions.csv").head(4)
    videos.mkdir()
    for name in table["video"]:
        shutil.copy(folder / name, videos / name)
    table.to_csv(tmp_path / "captions.csv", index=False)
    measured = []
    original = lab.score_video

    def counted(path, caption):
        measured.append(path.name)
        if path.name == "002.mp4" and len(measured) == 3:
            raise KeyboardInterrupt
        return original(path, caption)

    monkeypatch.setattr(lab, "score_video", counted)
    arguments = (videos, tmp_path / "captions.csv", tmp_path / "scores.csv")
    with pytest.raises(KeyboardInterrupt):
        lab.evaluate_folder(*arguments)
    assert not (tmp_path / "scores.csv").exists()
    with (tmp_path / "scores.csv.rows.jsonl").open("a") as file:
        file.write('\n{"key": "cut sho')  # as a kill leaves it
    lab.evaluate_folder(*arguments)
    assert measured == ["000.mp4", "001.mp4", "002.mp4", "002.mp4", "003.mp4"]
    shutil.copy(videos / "000.mp4", videos / "001.mp4")
    measured.clear()
    again = lab.evaluate_folder(*arguments)
    assert measured == ["001.mp4"] and again["correct"].tolist() == [1, 0, 1, 1]


def test_a_video_that_does_not_decode_is_named(folder, tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    content = (folder / "000.mp4").read_bytes()
    (videos / "broken.mp4").write_bytes(content[: len(content) // 2])
    (tmp_path / "captions.csv").write_text("video,caption\nbroken.mp4,a red ball falls in the studio\n")
    with pytest.raises(VideoError, match="broken.mp4"):
        lab.evaluate_folder(videos, tmp_path / "captions.csv", tmp_path / "scores.csv")
    assert not (tmp_path / "scores.csv").exists()


def test_a_caption_of_another_world_is_named(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "videos", ignore=lambda _, names: [n for n in names if n != "000.mp4"])
    (tmp_path / "captions.csv").write_text("video,caption\n000.mp4,a cat on a sofa\n")
    with pytest.raises(UserError, match=r"000\.mp4.*a cat on a sofa"):
        lab.evaluate_folder(tmp_path / "videos", tmp_path / "captions.csv", tmp_path / "scores.csv")


def drawn_scores(n: int, probabilities: dict[str, dict[str, float]], seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    columns: dict[str, object] = {"caption": ["c"] * n, "prompt_id": [f"p{i % 50}" for i in range(n)]}
    for attribute, p in probabilities.items():
        drawn = rng.choice(list(p), p=list(p.values()), size=n)
        columns |= {f"{attribute}_{mode}": (drawn == mode).astype(float) for mode in p}
    return pd.DataFrame(columns)


def test_coverage_of_the_true_probabilities_is_at_its_floor():
    result = lab.mode_coverage(drawn_scores(2000, ATTRIBUTES))
    assert result.distance.value < 3 * result.floor and result.floor < 0.02
    assert result.distance.low <= result.distance.value <= result.distance.high
    assert result.rare_share.low < 0.05 < result.rare_share.high


def test_coverage_of_a_collapsed_mode_is_the_known_distance():
    collapsed = {name: {mode: float(i == 0) for i, mode in enumerate(p)} for name, p in ATTRIBUTES.items()}
    result = lab.mode_coverage(drawn_scores(400, collapsed))
    assert result.per_attribute == pytest.approx({"hue": 0.5, "side": 0.35, "size": 0.4, "spin": 0.25})
    assert result.distance.value == pytest.approx(0.375) and result.rare_recall == 0.0


def test_coverage_leaves_out_what_cannot_be_seen():
    table = drawn_scores(500, ATTRIBUTES)
    table.loc[:399, [f"spin_{mode}" for mode in ATTRIBUTES["spin"]]] = np.nan
    whole, part = lab.mode_coverage(drawn_scores(500, ATTRIBUTES)), lab.mode_coverage(table)
    assert part.per_attribute["hue"] == whole.per_attribute["hue"] and part.floor > whole.floor
    table[[f"hue_{mode}" for mode in ATTRIBUTES["hue"]]] = np.nan
    with pytest.raises(UserError, match="hue"):
        lab.mode_coverage(table)
