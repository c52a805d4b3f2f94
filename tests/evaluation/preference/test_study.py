from __future__ import annotations

import shutil

import pytest

import alice_repro.media as media
from alice_repro.errors import UserError
from alice_repro.evaluation.preference.opening import open_study
from alice_repro.evaluation.preference.study import CLIPS, read_study


def test_a_study_is_read_back_as_it_was(study):
    assert read_study(study.folder) == study
    assert len(study.pairs) == 6 and all(study.clip(side).exists() for pair in study.pairs for side in (pair.a, pair.b))
    assert not study.left_out


def test_going_on_keeps_the_study_and_makes_lost_clips_again(study, two_arms):
    shutil.rmtree(study.folder / CLIPS)
    again = open_study(two_arms, study.folder, votes=5)
    assert (again.pairs, again.secret, again.votes) == (study.pairs, study.secret, 5)
    assert len(list((study.folder / CLIPS).iterdir())) == 12
    with pytest.raises(UserError, match="criteria = .'overall',., not .'motion',."):
        open_study(two_arms, study.folder, criteria=("motion",))
    with pytest.raises(UserError, match="holds a study with arms"):
        open_study(two_arms[::-1], study.folder)
    with pytest.raises(UserError, match="of other pairs .4 of them"):
        open_study(two_arms, study.folder, pairs=2)


def test_a_video_that_changed_since_is_named(two_arms, tmp_path):
    arms = [shutil.copytree(arm, tmp_path / arm.name) for arm in two_arms]
    study = open_study(arms, tmp_path / "out")
    shutil.rmtree(study.folder / CLIPS)
    shutil.copy(arms[1] / "a red ball falls-0.mp4", arms[0] / "a red ball falls-0.mp4")
    with pytest.raises(UserError, match="a red ball falls-0.mp4: changed since"):
        open_study(arms, tmp_path / "out")


def test_a_broken_video_costs_its_pair_alone(two_arms, tmp_path):
    arms = [shutil.copytree(arm, tmp_path / arm.name) for arm in two_arms]
    broken = arms[1] / "a blue box slides-1.mp4"
    broken.write_bytes(broken.read_bytes()[:200])
    (arms[0] / "a red ball falls-0.mp4").write_bytes(b"")
    study = open_study(arms, tmp_path / "out")
    assert len(study.pairs) == 4
    assert [str(broken) in line for line in study.left_out].count(True) == 1 and len(study.left_out) == 2


def test_a_sample_of_pairs_keeps_prompts_whole(two_arms, tmp_path):
    study = open_study(two_arms, tmp_path / "out", pairs=4, seed=1)
    assert len(study.pairs) == 4 and len({pair.prompt for pair in study.pairs}) == 2


def test_settings_are_checked(two_arms, tmp_path):
    for settings, message in (
        ({"criteria": ("beauty",)}, "unknown criterion 'beauty'"),
        ({"criteria": ()}, "one or more"),
        ({"votes": 0}, "1 or more"),
    ):
        with pytest.raises(UserError, match=message):
            open_study(two_arms, tmp_path / "out", **settings)
    assert not (tmp_path / "out" / "study.json").exists()


def test_what_the_page_sees_names_nothing(study):
    names = {study.opaque("clip", rater, pair.id, side) for rater in "xy" for pair in study.pairs for side in "12"}
    assert len(names) == 24 and all(len(name) == 24 for name in names)
    other = study.opaque("clip", "x1", "p", "2"), study.opaque("clip", "x", "1p", "2")
    assert other[0] != other[1]


def test_the_smallest_clip_plays(study):
    assert media.read_video(study.clip(study.pairs[0].a)).shape == (8, 32, 32, 3)
