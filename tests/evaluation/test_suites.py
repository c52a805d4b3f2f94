from __future__ import annotations

import json
import zipfile

import pytest

from alice_repro.config import CHECKOUT
from alice_repro.errors import UserError
from alice_repro.evaluation.index import index_videos, read_caption_table
from alice_repro.evaluation.suites import missing_videos, plan_notes, read_suite, sampling_plan, stray_videos

LONG = "A garden " + "with very many flowers " * 9 + "zoom in."
VBENCH = [
    {"prompt_en": "a still lake", "dimension": ["temporal_flickering"]},
    {"prompt_en": "A castle", "dimension": ["scene"], "auxiliary_info": {"scene": {"scene": {"scene": "castle"}}}},
    {"prompt_en": "a castle", "dimension": ["overall_consistency", "imaging_quality"]},
    {"prompt_en": "A castle", "dimension": ["color"], "auxiliary_info": {"color": {"color": "red"}}},
]
VBENCH2 = [
    {"prompt_en": "A panda grows.", "dimension": ["Diversity"]},
    {"prompt_en": "A panda grows.", "dimension": ["Dynamic_Attribute"], "auxiliary_info": []},
    {"prompt_en": LONG, "dimension": ["Camera_Motion"], "auxiliary_info": "zoom_in"},
    {"prompt_en": LONG + " Now.", "dimension": ["Camera_Motion"], "auxiliary_info": "zoom_in"},
]


@pytest.fixture
def lists(tmp_path):
    """The lists of both packages, as files."""
    paths = {}
    for name, content in {"vbench": VBENCH, "vbench-2.0": VBENCH2}.items():
        paths[name] = tmp_path / f"{name}_full_info.json"
        paths[name].write_text(json.dumps(content))
    return paths


def test_plan_names_videos_as_the_official_code_wants_them(lists):
    plan = sampling_plan(read_suite("vbench", source=lists["vbench"]), first_seed=100)
    counts = plan["caption"].value_counts().to_dict()
    assert counts == {"a still lake": 25, "A castle": 5, "a castle": 5}
    assert list(plan["video"][:2]) == ["a still lake-0.mp4", "a still lake-1.mp4"]
    assert list(plan["seed"][:2]) == [100, 101] and plan["video"].is_unique
    assert plan["prompt_id"].nunique() == 3

    second = sampling_plan(read_suite("vbench2", source=lists["vbench-2.0"]))
    assert second["caption"].value_counts().to_dict() == {"A panda grows.": 20, LONG: 3, LONG + " Now.": 3}
    assert second["video"][20] == f"{LONG[:180]}-0.mp4" and second["caption"][20] == LONG


def test_plan_of_some_dimensions(lists):
    prompts = read_suite("vbench", source=lists["vbench"])
    assert set(sampling_plan(prompts, ["Imaging Quality"])["caption"]) == {"a castle"}
    assert len(sampling_plan(prompts, ["temporal_flickering"], flickering_samples=5)) == 5
    assert len(sampling_plan(prompts, samples=1)) == 3
    with pytest.raises(UserError, match="did you mean 'color'"):
        sampling_plan(prompts, ["colour"])


def test_notes_tell_of_duplicates_clashes_and_cut_names(lists):
    notes = plan_notes(read_suite("vbench", source=lists["vbench"]))
    assert len(notes) == 2 and "1 prompts are listed more than once ('A castle')" in notes[0]
    assert "'A castle' and 'a castle' differ in capitals alone" in notes[1]
    notes = plan_notes(read_suite("vbench-2.0", source=lists["vbench-2.0"]))
    assert any("2 prompts are the same in their first 180 characters" in note for note in notes)


def test_a_prompt_is_found_whole_or_cut(lists):
    prompts = read_suite("vbench2", source=lists["vbench-2.0"])
    assert prompts.find(LONG[:180]).text == LONG and prompts.find("A panda grows.").samples == 20
    assert prompts.find("A panda") is None and prompts.find(None) is None


def test_plan_round_trips_as_a_caption_table_and_folder_check(lists, tmp_path):
    prompts = read_suite("vbench", source=lists["vbench"])
    plan = sampling_plan(prompts, flickering_samples=5)
    plan.to_csv(tmp_path / "captions.csv", index=False)
    table = read_caption_table(tmp_path / "captions.csv")
    assert table["seed"].tolist() == plan["seed"].tolist()
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in plan["video"]:
        (folder / name).touch()
    assert len(index_videos(folder, table)) == 15
    assert missing_videos(folder, prompts)["missing"].sum() == 0
    (folder / "A castle-3.mp4").rename(folder / "A castle-3.WEBM")  # another container is no missing video
    (folder / "a castle-4.mp4").rename(folder / "a castl-4.mp4")
    report = missing_videos(folder, prompts).set_index("dimension")
    assert report.loc["imaging_quality", "missing_names"] == ["a castle-4"]
    assert tuple(report.loc["scene", ["wanted", "found", "missing"]]) == (5, 5, 0)
    assert report["missing"].sum() == 2  # overall consistency has the same prompt
    assert stray_videos(folder, prompts) == ["a castl-4.mp4"]


def test_list_from_a_wheel_and_bad_sources(lists, tmp_path):
    with zipfile.ZipFile(tmp_path / "vbench-0.1.5-py3-none-any.whl", "w") as wheel:
        wheel.write(lists["vbench"], "vbench/VBench_full_info.json")
    from_wheel = read_suite("vbench", source=tmp_path / "vbench-0.1.5-py3-none-any.whl")
    assert from_wheel.sha256 == read_suite("vbench", source=lists["vbench"]).sha256
    with pytest.raises(UserError, match="no wheel with vbench2"):
        read_suite("vbench2", source=tmp_path / "vbench-0.1.5-py3-none-any.whl")
    with pytest.raises(UserError, match="its wheel has no list"):
        read_suite("vbench-i2v")
    with pytest.raises(UserError, match="make vbench-env"):
        read_suite("vbench", python=tmp_path / "python")
    (tmp_path / "x.json").write_text('[{"prompt": "a"}]')
    with pytest.raises(UserError, match="not a list of prompts"):
        read_suite("vbench", source=tmp_path / "x.json")
    (tmp_path / "y.json").write_text('[{"prompt_en": "a", "dimension": ["colour"]}]')
    with pytest.raises(UserError, match="color"):
        read_suite("vbench", source=tmp_path / "y.json")


@pytest.mark.slow
@pytest.mark.skipif(
    not (CHECKOUT / ".vbench").is_dir(), reason="the official VBench is not here: run `make vbench-env`"
)
def test_the_installed_list_has_the_published_counts():
    """946 entries of 16 dimensions; 4,730 videos if flickering has 5 samples as the others, less those listed twice."""
    prompts = read_suite("vbench")
    assert sum(len(prompt.entries) for prompt in prompts.prompts) == 946 and len(prompts.prompts) == 944
    assert len(sampling_plan(prompts, flickering_samples=5)) == 4720 and len(sampling_plan(prompts)) == 6220
    assert [len(prompts.of([name])) for name in ("human_action", "scene", "temporal_flickering")] == [100, 86, 75]
    assert any("'A fantasy landscape' and 'a fantasy landscape'" in note for note in plan_notes(prompts))
