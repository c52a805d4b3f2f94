"""The benchmark of sampling: what it counts is what the samplers do, and what it writes."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch

from alice_repro.errors import UserError
from alice_repro.models.flops import forward_flops, sizes_of
from alice_repro.models.loading import load_teacher
from alice_repro.sampling.flops import tokens_seen
from alice_repro.workflow import bench_sampling as bench
from alice_repro.workflow.bench_sampling import as_table, bench_sampling


def test_teacher_students_and_decoder_in_one_table(tiny_scale, tmp_path, monkeypatch):
    parts = load_teacher(tiny_scale.model)
    monkeypatch.setattr(bench, "load_teacher", lambda _: parts)
    with tokens_seen(parts.transformer) as seen:
        rows = bench_sampling(tiny_scale, tmp_path, repeats=2, clips=2, steps=(1, 2))
    assert [row.sampler for row in rows] == ["teacher", "student, 1 step", "student, 2 steps", "decoder"]
    works = [row.timing.work for row in rows]
    assert [work.steps for work in works] == [4, 1, 2, 0]
    assert [work.evaluations for work in works] == [8, 1, 2, 0]  # guidance takes two an evaluation
    assert len(seen) == 3 * (4 + 1 + 2) and set(seen) == {8}  # a warm-up and two rounds; 2 frames of 2 x 2 tokens
    one = forward_flops(sizes_of(parts.transformer.config, parts.text_length), 8)
    assert [work.flops for work in works] == [8 * one, one, 2 * one, 0]
    assert [row.predicted for row in rows] == [None, 8.0, 4.0, None]
    assert all(row.speedup.value > 0 and row.with_decoder.value > 0 for row in rows[1:3])
    table = pd.read_csv(tmp_path / "sampling.csv")
    assert table["evaluations"].tolist() == ["8", "1", "2", "-"] and len(as_table(rows).splitlines()) == 5
    entry = json.loads((tmp_path / "manifest.json").read_text())["artefacts"]["sampling.csv"]
    assert entry["config"]["clips"] == 2 and len(entry["extra"]["seconds"]["teacher"]) == 2


def test_a_given_student_is_timed(tiny_scale, tiny_lab, tmp_path):
    rows = bench_sampling(tiny_scale, tmp_path, repeats=1, steps=(1,), student=tiny_lab / "transformer")
    assert rows[1].timing.work.evaluations == 1 and torch.tensor(rows[1].timing.seconds).gt(0).all()
    assert "student" in json.loads((tmp_path / "manifest.json").read_text())["artefacts"]["sampling.csv"]["inputs"]


def test_impossible_numbers_are_told(tiny_scale, tmp_path):
    for options in ({"clips": 0}, {"steps": ()}, {"steps": (0, 4)}):
        with pytest.raises(UserError, match="1 or more clips and steps"):
            bench_sampling(tiny_scale, tmp_path, **options)
