"""The lab protocol on folders of mp4 files, with planted faults."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

from alice_repro.errors import UserError
from alice_repro.evaluation import lab
from alice_repro.evaluation.evaluate import evaluate
from alice_repro.evaluation.index import measures, read_scores
from alice_repro.media import write_video
from alice_repro.workflow.scoring import score_arm
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


def score(videos, place):
    """Scores of a folder by the captions that lie in another, where the tables go too."""
    return evaluate(videos, ["lab"], place / "scores", prompts=place / "captions.csv").scores


@pytest.fixture(scope="module")
def scores(folder):
    score(folder, folder.parent)
    return read_scores(folder.parent / "scores" / "scores.csv")


def test_clean_videos_reach_the_endpoint(scores):
    assert len(scores) == len(CAPTIONS)
    for name in ("endpoint", "object_class", "color", "motion", "dynamic_degree", "overall_consistency_world"):
        assert scores[name].mean() >= 0.95, name
    collides = scores["caption"].str.contains("collides")
    assert (scores.loc[collides, "multiple_objects"] == 1).all() and scores.loc[
        ~collides, "multiple_objects"
    ].isna().all()
    assert (scores.loc[~collides, "multiple_objects_reason"] == "the caption names one object").all()


def test_shuffled_captions_drop_to_chance(folder, scores, tmp_path):
    table = pd.read_csv(folder.parent / "captions.csv")
    order = np.random.default_rng(5).permutation(len(table))
    table["caption"] = table["caption"].to_numpy()[order]
    table.to_csv(tmp_path / "captions.csv", index=False)
    shuffled = score(folder, tmp_path)
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
    renamed = score(tmp_path / "videos", tmp_path)
    pd.testing.assert_frame_equal(
        renamed[measures(renamed)], scores[measures(renamed)].head(6), check_exact=True, check_dtype=False
    )


def test_a_caption_of_another_world_is_a_reason(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "videos", ignore=lambda _, names: [n for n in names if n != "000.mp4"])
    (tmp_path / "captions.csv").write_text("video,caption\n000.mp4,a cat on a sofa\n")
    row = score(tmp_path / "videos", tmp_path).iloc[0]
    assert np.isnan(row["endpoint"]) and "a cat on a sofa" in row["endpoint_reason"]


def test_the_workflow_stops_at_a_video_that_does_not_decode(folder, tmp_path):
    content = (folder / "000.mp4").read_bytes()
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "broken.mp4").write_bytes(content[: len(content) // 2])
    (tmp_path / "videos" / "captions.csv").write_text("video,caption\nbroken.mp4,a red ball falls in the studio\n")
    with pytest.raises(UserError, match="broken.mp4"):
        score_arm(tmp_path / "videos", tmp_path / "scores.csv", world=True)
    assert not (tmp_path / "scores.csv").exists()


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
