"""The ledger of a comparison grows by what it lacks, and by nothing else."""

from __future__ import annotations

import pytest

from alice_repro.config import UNTRAINED
from alice_repro.errors import UserError
from alice_repro.reporting.comparison import load_methods
from alice_repro.workflow import compare

ARM = "dmd2"


def test_an_unknown_arm_and_settings_are_refused(tmp_path):
    with pytest.raises(UserError, match="unknown arm 'nothing'.*dmd2"):
        compare.add_runs("smoke", ["nothing"], ["exact"], [0], root=tmp_path)
    with pytest.raises(UserError, match="takes no settings"):
        compare.add_runs("smoke", [], ["exact"], [0], ["sampling.seed=1"], root=tmp_path)


@pytest.mark.slow
def test_a_run_is_made_once_and_kept_with_the_arms_that_need_no_training(tmp_path, monkeypatch):
    made = compare.add_runs("smoke", [ARM], ["exact"], [0], cores=1, root=tmp_path)
    assert [(run.teacher, run.arm, run.seed) for run in made] == [("exact", ARM, 0)]
    methods = load_methods("smoke", tmp_path / "results" / "reference" / "smoke")
    assert all(methods.has("exact", arm) for arm in (*UNTRAINED, ARM))
    monkeypatch.setattr(compare, "build", lambda *arguments: pytest.fail("made again"))
    assert compare.add_runs("smoke", [ARM], ["exact"], [0], cores=1, root=tmp_path) == []
