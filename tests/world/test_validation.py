"""The oracle's validation: it still sees what it should after codec and mp4, and the table can say otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import alice_repro
from alice_repro.files import read_toml
from alice_repro.manifest import read_manifest
from alice_repro.models.codec import LabCodec
from alice_repro.world import validation
from alice_repro.world.oracle import CONSTANTS, DEFECT_MEASURES

CODEC = Path(alice_repro.__file__).parent / "models" / "lab_checkpoint" / "vae"


@pytest.fixture(scope="module")
def known() -> pd.DataFrame:
    return validation.measure_known_clips(LabCodec.from_pretrained(CODEC), seed=77, n=36)


def test_clean_clips_stay_correct_and_sound_through_codec_and_file(known):
    clean = known[known["defect"] == "clean"]
    assert clean[clean["stage"] == "before"]["endpoint"].mean() >= 0.97
    assert clean[clean["stage"] == "after"]["endpoint"].mean() >= 0.97


def test_every_admitted_measure_finds_its_own_defect(known):
    table = validation.summarise(known).set_index("measure")
    for name in read_toml(CONSTANTS)["admitted"]:
        assert table.loc[name, "auc_before"] >= 0.9 and table.loc[name, "auc_after"] >= 0.9, name
        assert table.loc[name, "defect_after"] > table.loc[name, "clean_after"]
    assert validation.codec_shift(table.reset_index()) <= 0.04  # 36 clips; the committed table holds 2 points on 400


def test_the_table_notices_a_blind_measure(known):
    blind = known.copy()
    blind["flicker"] = np.random.default_rng(0).normal(size=len(blind))
    table = validation.summarise(blind).set_index("measure")
    assert not table.loc["flicker", "admitted"] and table.loc["teleport", "admitted"]
    assert 0.2 < table.loc["flicker", "auc_after"] < 0.8


def test_the_table_notices_what_the_codec_breaks(known):
    worse = known.copy()
    clean_after = worse.index[(worse["defect"] == "clean") & (worse["stage"] == "after")]
    worse.loc[clean_after[:9], ["correct", "shape_correct", "endpoint"]] = False
    table = validation.summarise(worse)
    assert validation.codec_shift(table) >= 0.2
    assert not table.set_index("measure").loc["object_shape", "within_tolerance"]


def test_thresholds_lie_between_clean_and_defective(known):
    limits = validation.calibrate(known)
    after = known[known["stage"] == "after"]
    for name in DEFECT_MEASURES:
        clean = after.loc[after["defect"] == "clean", name].dropna().astype(float)
        assert (clean > limits[name]).mean() <= 0.03
    stored = read_toml(CONSTANTS)["threshold"]
    assert set(stored) == set(limits)


def test_thresholds_were_set_on_other_clips():
    assert validation.CALIBRATION_SEED != validation.VALIDATION_SEED


def test_auc_closed_forms():
    clean, defect = pd.Series([1.0, 2.0, np.nan]), pd.Series([3.0, 4.0])
    assert validation.auc(clean, defect) == 1.0
    assert validation.auc(defect, clean) == 0.0
    assert validation.auc(pd.Series([1.0, 1.0]), pd.Series([1.0])) == 0.5
    assert validation.auc(pd.Series([1.0, 3.0]), pd.Series([2.0])) == 0.5


def test_the_written_table_says_what_is_left_out(tmp_path, known, monkeypatch):
    blind = known.copy()
    blind["blur"] = 0.0
    monkeypatch.setattr(validation, "measure_known_clips", lambda *arguments: blind)
    table = validation.write_validation(tmp_path, None, seed=1, n=36)
    text = (tmp_path / "oracle_validation.md").read_text()
    assert "Left out of `sound`: blur." in text and "| blur" in text and "| no " in text
    assert read_manifest(tmp_path / "oracle_validation.md")["seeds"] == {"validation": 1}
    assert len(pd.read_csv(tmp_path / "oracle_validation.csv")) == len(table)
