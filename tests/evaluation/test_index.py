from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from alice_repro.errors import UserError
from alice_repro.evaluation.index import (
    SCORE_COLUMNS,
    index_videos,
    measures,
    read_caption_table,
    read_scores,
    write_scores,
)


def table(tmp_path, text: str):
    (tmp_path / "captions.csv").write_text(text)
    return tmp_path / "captions.csv"


def folder_with(tmp_path, *names: str):
    folder = tmp_path / "videos"
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def test_captions_stay_text_and_seeds_become_integers(tmp_path):
    path = table(tmp_path, 'video,caption,seed,run,arm\n./a.mp4,None,7,,teacher\nb/c.mp4,"NA, 1e3",8,2,student\n')
    got = read_caption_table(path)
    assert got["video"].tolist() == ["a.mp4", "b/c.mp4"]
    assert got["caption"].tolist() == ["None", "NA, 1e3"]
    assert got["seed"].tolist() == [7, 8]
    assert got["run"].isna().tolist() == [True, False] and got["run"][1] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,captoin\na.mp4,x\n", "column caption is missing"),
        ("video,caption,prompt\na.mp4,x,1\n", "prompt_id"),
        ("video,caption\na.mp4,x\n./a.mp4,y\n", "twice: a.mp4"),
        ("video,caption\na.mp4,x\nb.mp4, \n", "without a caption: b.mp4"),
        ("video,caption\n/etc/a.mp4,x\n", "/etc/a.mp4"),
        ("video,caption\n../a.mp4,x\n", r"\.\./a.mp4"),
        ("video,caption,seed\na.mp4,x,one\n", "'one'"),
        ("", "not a readable CSV"),
    ],
)
def test_bad_caption_tables_are_named(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as caught:
        read_caption_table(table(tmp_path, text))
    assert "captions.csv" in str(caught.value)


def test_extra_columns_only_where_asked_for(tmp_path):
    path = table(tmp_path, "video,caption,category\na.mp4,x,hard\n")
    with pytest.raises(UserError, match="category"):
        read_caption_table(path)
    assert read_caption_table(path, extra=["category"])["category"].tolist() == ["hard"]


def test_index_pairs_videos_with_captions_in_the_order_of_the_table(tmp_path):
    folder = folder_with(tmp_path, "a.mp4", "deep/b.MP4", "notes.txt", ".tmp-half=c.mp4")
    rows = index_videos(folder, table(tmp_path, "video,caption,seed\ndeep/b.MP4,a ball,3\na.mp4,a box,4\n"))
    assert [(row.video, row.caption, row.columns) for row in rows] == [
        ("deep/b.MP4", "a ball", {"seed": 3}),
        ("a.mp4", "a box", {"seed": 4}),
    ]
    assert rows[0].path == folder / "deep" / "b.MP4"


def test_index_without_captions_lists_what_is_there(tmp_path):
    folder = folder_with(tmp_path, "b.mp4", "a.webm")
    assert [(row.video, row.caption) for row in index_videos(folder)] == [("a.webm", None), ("b.mp4", None)]


def test_index_names_what_is_missing_on_either_side(tmp_path):
    folder = folder_with(tmp_path, "a1.mp4", "extra.mp4")
    with pytest.raises(UserError, match=r"missing: a2\.mp4"):
        index_videos(folder, table(tmp_path, "video,caption\na2.mp4,x\n"))
    with pytest.raises(UserError, match=r"without a caption: extra\.mp4"):
        index_videos(folder, table(tmp_path, "video,caption\na1.mp4,x\n"))
    with pytest.raises(UserError, match="no such folder"):
        index_videos(tmp_path / "absent")
    with pytest.raises(UserError, match="holds no video"):
        index_videos(folder_with(tmp_path / "empty", "readme.txt"))


def scores(**columns) -> pd.DataFrame:
    base = {name: ["", ""] for name in SCORE_COLUMNS}
    base |= {"video": ["a.mp4", "b.mp4"], "caption": ["x", "y, z"], "seed": [0, 1], "run": [None, 3]}
    return pd.DataFrame(base | columns).astype({"seed": "Int64", "run": "Int64"})


def test_scores_come_back_bit_for_bit(tmp_path):
    frame = scores(m=[1 / 3, np.nan], m_reason=["", "no object found"], sound=[True, False])
    write_scores(tmp_path / "s.csv", frame)
    back = read_scores(tmp_path / "s.csv")
    assert measures(back) == ["m", "sound"]
    assert back["m"][0] == 1 / 3 and np.isnan(back["m"][1])
    assert back["m_reason"].tolist() == ["", "no object found"]
    assert back["run"].isna().tolist() == [True, False] and back["seed"].tolist() == [0, 1]
    assert back["caption"].tolist() == ["x", "y, z"]
    assert back["sound"].tolist() == [1.0, 0.0]
    write_scores(tmp_path / "t.csv", frame[[*frame.columns[::-1]]])
    assert list(read_scores(tmp_path / "t.csv").columns[: len(SCORE_COLUMNS)]) == list(SCORE_COLUMNS)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"m": [0.1, np.nan]}, "missing without a 'm_reason' for b.mp4"),
        ({"m": [0.1, np.nan], "m_reason": ["", " "]}, "missing without"),
        ({"m": [0.1, 0.2], "m_reason": ["", "why"]}, "a value and a reason .* b.mp4"),
        ({"m": [0.1, np.inf]}, "infinite for b.mp4"),
        ({"m": [0.1, 0.2], "n_reason": ["", ""]}, "n_reason has no measure"),
        ({"m": ["good", "bad"]}, "not a number"),
        ({}, "needs a measure"),
        ({"m": [0.1, 0.2], "video": ["a.mp4", "a.mp4"]}, "twice: a.mp4"),
    ],
)
def test_scores_that_break_the_schema_are_not_written(tmp_path, columns, message):
    with pytest.raises(UserError, match=message):
        write_scores(tmp_path / "s.csv", scores(**columns))
    assert not list(tmp_path.iterdir())


def test_a_score_column_cannot_be_left_out(tmp_path):
    with pytest.raises(UserError, match="column arm is missing"):
        write_scores(tmp_path / "s.csv", scores(m=[1, 2]).drop(columns="arm"))


@pytest.mark.parametrize("cell", ["good", "1,2", "inf", "nan", ""])
def test_reading_is_as_strict(tmp_path, cell):
    (tmp_path / "s.csv").write_text(f'{",".join(SCORE_COLUMNS)},m\na.mp4,x,,1,,,"{cell}"\n')
    with pytest.raises(UserError, match=r"s\.csv"):
        read_scores(tmp_path / "s.csv")
