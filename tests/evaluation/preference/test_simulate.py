from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from alice_repro.errors import UserError
from alice_repro.evaluation.preference.opening import open_study
from alice_repro.evaluation.preference.preferences import read_preferences
from alice_repro.evaluation.preference.report import write_results
from alice_repro.evaluation.preference.results import POOLED, results
from alice_repro.evaluation.preference.simulate import MOTION_DEFECTS, simulate_votes, worth
from alice_repro.evaluation.preference.study import STUDY, VOTES


def scores(quality: float, prompts: int = 60, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    good = (rng.random(prompts) < quality).astype(float)
    flags = {f"flag_{name}": 0.0 for name in (*MOTION_DEFECTS, "blur")}
    rows = pd.DataFrame({
        "video": [f"{n}.mp4" for n in range(prompts)], "caption": [f"caption {n}" for n in range(prompts)],
        "prompt_id": [str(n) for n in range(prompts)], "seed": 0, "endpoint": good, "correct": good, "motion": 1.0,
    }).assign(**flags)  # fmt: skip
    rows["flag_blur"] = 1 - good
    return rows.astype({"seed": "Int64"})


def test_without_errors_the_raters_agree_and_the_shares_are_the_tables(tmp_path):
    x, y = scores(0.8, seed=1), scores(0.4, seed=2)
    simulate_votes({"x": x, "y": y}, tmp_path / "out", error_rate=0.0)
    found = results(tmp_path / "out")
    row = found.shares.set_index("counting").loc[[POOLED]].iloc[0]
    assert row["n"] == 180 and row["raters"] == 3
    assert row["win"] == pytest.approx((x["endpoint"] > y["endpoint"]).mean())
    assert row["tie"] == pytest.approx((x["endpoint"] == y["endpoint"]).mean())
    assert found.agreement["alpha"].iloc[0] == 1.0


def test_the_error_rate_is_as_stated(tmp_path):
    x, y = scores(1.0, 200), scores(0.0, 200)
    simulate_votes({"x": x, "y": y}, tmp_path / "out", error_rate=0.3, votes=4, raters=4)
    row = results(tmp_path / "out").shares.set_index("counting").loc[[POOLED]].iloc[0]
    assert [row["win"], row["tie"], row["loss"]] == pytest.approx([0.7, 0.15, 0.15], abs=0.045)  # 3 sd of 800 votes


def test_everything_that_comes_of_it_says_simulated(tmp_path):
    simulate_votes({"x": scores(0.9, 20), "y": scores(0.3, 20, 1)}, tmp_path / "out", criteria=("overall", "quality"))
    text = write_results(tmp_path / "out")
    assert "SIMULATED raters" in text.splitlines()[0]
    assert all("simulated" in line for line in text.splitlines() if line.startswith("| ") and "judges" not in line)
    for name in ("shares", "agreement", "ranking", "raters"):
        assert set(pd.read_csv(tmp_path / "out" / f"{name}.csv")["judges"]) == {"simulated"}
    for name in (VOTES, "preferences.jsonl"):
        lines = (tmp_path / "out" / name).read_text().splitlines()
        assert lines and {json.loads(line)["judges"] for line in lines} == {"simulated"}
    assert json.loads((tmp_path / "out" / STUDY).read_text())["judges"] == "simulated"
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert {entry["extra"]["judges"] for entry in manifest["artefacts"].values()} == {"simulated"}
    with pytest.raises(UserError, match="simulated"):
        read_preferences(tmp_path / "out" / "preferences.jsonl")
    assert len(read_preferences(tmp_path / "out" / "preferences.jsonl", allow_simulated=True))


def test_people_and_simulated_raters_do_not_share_a_study(tmp_path, two_arms):
    simulate_votes({"x": scores(0.9, 5), "y": scores(0.3, 5)}, tmp_path / "out")
    with pytest.raises(UserError, match="judges = 'simulated'"):
        open_study(two_arms, tmp_path / "out")
    open_study(two_arms, tmp_path / "people")
    with pytest.raises(UserError, match="holds a study already"):
        simulate_votes({"x": scores(0.9, 5), "y": scores(0.3, 5)}, tmp_path / "people")


def test_criteria_look_at_what_they_are_named_for():
    row = scores(1.0, 1)
    assert worth(row, "overall") == [(1.0, 0.0)]
    assert worth(row.assign(flag_blur=1.0), "quality") < worth(row, "quality")
    assert worth(row.assign(flag_blur=1.0), "motion") == worth(row, "motion") > worth(row.assign(motion=0.0), "motion")
    assert worth(row.assign(correct=0.0), "alignment") < worth(row.assign(flag_blur=1.0), "alignment")


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"error_rate": 1.5}, "in \\[0, 1\\]"), ({"raters": 2}, "as many raters"), ({"criteria": ("beauty",)}, "beauty")],
)
def test_settings_that_make_no_sense_are_refused(tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        simulate_votes({"x": scores(0.9, 5), "y": scores(0.3, 5)}, tmp_path / "out", **settings)


def test_other_tables_are_refused(tmp_path):
    table = scores(0.9, 5).drop(columns="endpoint")
    with pytest.raises(UserError, match="lab score table; endpoint is missing"):
        simulate_votes({"x": table, "y": table}, tmp_path / "out")
