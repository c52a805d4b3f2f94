"""The validation command on three small clips: files, columns, and a path that is right."""

from __future__ import annotations

import pandas as pd
import pytest

from alice_repro.evaluation.camera.validation import QUICK, validate_camera
from alice_repro.evaluation.camera.validation_lab import lab_table
from alice_repro.manifest import verify_manifest


@pytest.mark.slow
def test_validation_writes_its_tables(tmp_path):
    table = validate_camera(tmp_path, QUICK, lab_clips=0)
    assert not verify_manifest(tmp_path)
    assert len(pd.read_csv(tmp_path / "camera_validation.csv")) == len(table)
    orbit = table[table["case"].str.startswith("orbit 24, blobs")].set_index("measure")
    assert abs(orbit.loc["rotation_max_degrees", "error"]) < 0.5
    assert abs(orbit.loc["path_length_normalised", "error"]) < 0.1 * orbit.loc["path_length_normalised", "truth"]
    cut = table[table["case"].str.contains("cut")]
    assert cut["measured"].isna().all() and cut["verdict"].str.contains("cut").all()
    assert "truth / measured" in (tmp_path / "camera_validation.md").read_text(encoding="utf-8")


def test_the_flat_world_shows_no_translation():
    table = lab_table(1)
    assert (table["translates"] == 0).all()
    assert (table["reason"] + table["turns"] == 1).all()
