from __future__ import annotations

import pandas as pd
import pytest

from alice_repro.errors import UserError
from alice_repro.evaluation.preference.pairs import arm_names, match_arms, videos_of


def arm(*rows, prompt_id="") -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["video", "caption", "seed"]).astype({"seed": "Int64"})
    return table.assign(prompt_id=prompt_id or "")


def test_same_prompt_and_seed_make_a_pair():
    one = arm(("x0.mp4", "a cat", 0), ("x1.mp4", "a cat", 1), ("y.mp4", "a dog", 0))
    two = arm(("c1.mp4", "a cat", 1), ("c0.mp4", "a cat ", 0), ("z.mp4", "a bird", 0))
    pairs, left_out = match_arms({"one": one, "two": two})
    assert [(p.a.video, p.b.video, p.seed, p.caption) for p in pairs] == [
        ("x0.mp4", "c0.mp4", 0, "a cat"),
        ("x1.mp4", "c1.mp4", 1, "a cat"),
    ]
    assert left_out == ["'a dog': not in two", "'a bird': not in one"]


def test_without_seeds_on_both_sides_the_order_of_names_counts():
    one = arm(("x2.mp4", "a cat", 5), ("x1.mp4", "a cat", 6), ("x3.mp4", "a cat", 7))
    two = arm(("b.mp4", "a cat", None), ("a.mp4", "a cat", None))
    pairs, left_out = match_arms({"one": one, "two": two})
    assert [(p.a.video, p.b.video, p.seed) for p in pairs] == [("x1.mp4", "a.mp4", None), ("x2.mp4", "b.mp4", None)]
    assert left_out == ["'a cat': 1 videos of one or two have no partner"]


def test_three_arms_meet_each_other_or_the_first_alone():
    tables = {name: arm((f"{name}.mp4", "a cat", 0)) for name in "xyz"}
    met = [(p.a.arm, p.b.arm) for p in match_arms(tables)[0]]
    assert met == [("x", "y"), ("x", "z"), ("y", "z")]
    assert [(p.a.arm, p.b.arm) for p in match_arms(tables, only_first=True)[0]] == [("x", "y"), ("x", "z")]


@pytest.mark.parametrize(
    ("one", "two", "message"),
    [
        (arm(("x.mp4", "a cat", 0)), arm(("y.mp4", "a dog", 0)), "no prompt .* in common.*'a cat'.*'a dog'"),
        (arm(("x.mp4", "a cat", 0), ("y.mp4", "a cat", 0)), arm(("y.mp4", "a cat", 0)), "seed 0 .* stands twice"),
        (arm(("x.mp4", "a cat", 0), prompt_id="7"), arm(("y.mp4", "a dog", 0), prompt_id="7"), "prompt '7' is 'a cat'"),
    ],
)
def test_what_cannot_be_compared_is_named(one, two, message):
    with pytest.raises(UserError, match=message):
        match_arms({"one": one, "two": two})


def test_names_of_arms_are_as_short_as_they_can_be(tmp_path):
    assert list(arm_names([tmp_path / "a" / "videos", tmp_path / "b" / "videos"])) == ["a/videos", "b/videos"]
    assert list(arm_names([tmp_path / "a", tmp_path / "b"])) == ["a", "b"]
    with pytest.raises(UserError, match="given twice"):
        arm_names([tmp_path / "a", tmp_path / "." / "a"])


def test_captions_come_from_file_names_or_from_the_table_in_the_folder(tmp_path, two_arms):
    seen, _ = videos_of(two_arms[0])
    assert set(seen["caption"]) == {"a red ball falls", "a blue box slides", "a cat, “sitting”"}
    assert seen["seed"].tolist() == [0, 1] * 3
    (tmp_path / "0_s3.mp4").write_bytes(b"x")
    (tmp_path / "captions.csv").write_text("video,caption,prompt_id,seed\n0_s3.mp4,a cat,12,3\n1.mp4,a cat,12,4\n")
    (tmp_path / "other.mp4").write_bytes(b"x")
    table, left_out = videos_of(tmp_path)
    row = table.iloc[0]
    assert (row["caption"], row["prompt_id"], row["seed"]) == ("a cat", "12", 3)
    assert left_out == [f"{tmp_path.name}/1.mp4: is not there", f"{tmp_path.name}/other.mp4: has no caption"]
    with pytest.raises(UserError, match="names none of its videos"):
        videos_of(two_arms[0], tmp_path / "captions.csv")
