"""Two evaluations compared: pairs, intervals, and what is beyond noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from alice_repro.errors import UserError
from alice_repro.evaluation.index import write_scores
from alice_repro.evaluation.paired import compare


def table(path, shift: float = 0.0, prompts: int = 40, noise: int = 1, measures: int = 1, seeds: bool = True) -> str:
    base, own = np.random.default_rng(0), np.random.default_rng(noise)
    rows = []
    for prompt in range(prompts):
        common = base.normal(0, 5)
        for seed in range(2):
            row = {"video": f"{prompt}_{seed}_{noise}.mp4", "caption": f"p{prompt}", "prompt_id": "", "arm": "",
                   "seed": seed if seeds else pd.NA, "run": pd.NA}  # fmt: skip
            rows.append(row | {f"m{k}": common + shift * (k == 0) + own.normal(0, 1) for k in range(measures)})
    write_scores(path, pd.DataFrame(rows))
    return str(path)


def test_a_shift_is_found_through_the_variance_that_prompts_share(tmp_path):
    found = compare(table(tmp_path / "a.csv", 1.0), table(tmp_path / "b.csv", noise=2)).table.iloc[0]
    assert found["low"] < 1 < found["high"] and found["beyond_noise"] and (found["pairs"], found["prompts"]) == (80, 40)


def test_noise_is_seldom_beyond_noise(tmp_path):
    """Ten measures without a difference, 30 times: all together may err in 5 % of the cases."""
    wrong = 0
    for k in range(30):
        a, b = (table(tmp_path / f"{k}{side}.csv", noise=2 * k + i + 10, measures=5) for i, side in enumerate("ab"))
        wrong += bool(compare(a, b).table["beyond_noise"].any())
    assert wrong <= 5


def test_rounding_is_no_difference(tmp_path):
    a = table(tmp_path / "a.csv", 5.0)
    other = pd.read_csv(a)
    other["m0"] *= 1 + 1e-12
    other.to_csv(tmp_path / "b.csv", index=False)
    found = compare(a, tmp_path / "b.csv").table.iloc[0]
    assert found["difference"] == 0 and not found["beyond_noise"]


def test_names_pair_where_prompts_do_not(tmp_path):
    a, b = table(tmp_path / "a.csv", seeds=False), table(tmp_path / "b.csv", 1.0, seeds=False)
    assert compare(a, b).paired_by == "file name"
    with pytest.raises(UserError, match="no pairs"):
        compare(a, table(tmp_path / "c.csv", noise=2, seeds=False))


def test_what_only_one_side_has_is_named(tmp_path):
    found = compare(table(tmp_path / "a.csv", measures=2), table(tmp_path / "b.csv", noise=2, prompts=30))
    assert found.table["measure"].tolist() == ["m0"] and "m1: only in one of them" in found.left_out
    assert any("20 videos" in line for line in found.left_out) and "m0" in found.show()
    assert found.plot().axes
