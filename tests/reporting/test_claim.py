from __future__ import annotations

import numpy as np
import pytest

from alice_repro.config import load_scale
from alice_repro.errors import UserError
from alice_repro.papers import load_paper
from alice_repro.reporting.arms import load_arms, teachers_in
from alice_repro.reporting.claim import compare, judge, run_gate
from alice_repro.verdicts import Verdict

PROTOCOL = load_scale("lab", ("protocol.bootstrap=300",)).protocol


def report(reference_root, fresh_root=None):
    def comparisons(root):
        return [compare(load_arms(root, name, "rcm", "make x"), PROTOCOL) for name in teachers_in(root)] if root else []

    claim = load_paper("alice").claim("student-exceeds-teacher")
    return judge(claim, comparisons(reference_root), comparisons(fresh_root), PROTOCOL, "make reference SCALE=lab")


def both(experiment, root, **choices):
    for teacher in ("trained", "exact"):
        experiment(root, teacher, **choices)
    return root


def test_five_runs_with_both_teachers_support_or_contradict(experiment, tmp_path):
    better = report(both(experiment, tmp_path / "better", runs=5, shift=20))
    assert better.verdict is Verdict.LAB_SUPPORTS
    assert better.reference[0].difference.estimate.value == pytest.approx(20.0)
    same = report(both(experiment, tmp_path / "same", runs=5, shift=-10))
    assert same.verdict is Verdict.LAB_CONTRADICTS
    assert "To add runs" not in "\n".join(same.lines())


def test_one_run_is_inconclusive_and_gives_the_command(experiment, tmp_path):
    found = report(both(experiment, tmp_path / "one", runs=1, shift=30))
    assert found.verdict is Verdict.LAB_INCONCLUSIVE
    assert "1 run with the exact teacher" in found.reason and "needs 5 runs" in found.reason
    assert any("make reference SCALE=lab" in line for line in found.lines())


def test_one_teacher_alone_or_no_record_is_inconclusive(experiment, tmp_path):
    alone = report(experiment(tmp_path / "alone", "trained", runs=5, shift=30))
    assert alone.verdict is Verdict.LAB_INCONCLUSIVE and "no run with the exact teacher" in alone.reason
    assert "no committed record" in report(tmp_path / "nothing").reason


def test_a_student_that_still_moves_gets_no_verdict(experiment, tmp_path):
    moving = report(both(experiment, tmp_path / "moving", runs=5, shift=20, drift=5))
    assert moving.verdict is Verdict.NOT_CONVERGED and "+5.0 points" in moving.reason


def test_an_unknown_gate_is_no_pass(experiment, tmp_path):
    experiment(tmp_path, "trained", runs=5, shift=20)
    experiment(tmp_path, "exact", runs=5, shift=20, snapshots=False)
    found = report(tmp_path)
    assert found.verdict is Verdict.LAB_INCONCLUSIVE and "no snapshot" in found.reason


def test_the_gate_wants_the_same_clips_and_equal_lengths(experiment, tmp_path):
    arms = load_arms(experiment(tmp_path, runs=2), "trained", "rcm", "make x")
    gate, _ = run_gate(arms, 2.0)
    assert gate.converged and gate.moved == 0
    (tmp_path / "scores" / "trained" / "rcm-seed1-at-000150.csv").unlink()
    assert "not every run" in run_gate(load_arms(tmp_path, "trained", "rcm", "make x"), 2.0)[1]
    (tmp_path / "runs" / "trained" / "rcm" / "seed1" / "manifest.json").unlink()
    assert "no manifest" in run_gate(load_arms(tmp_path, "trained", "rcm", "make x"), 2.0)[1]


def test_the_fresh_run_is_placed_beside_the_record_but_does_not_count(experiment, tmp_path):
    record = both(experiment, tmp_path / "record", runs=5, shift=20)
    inside = report(record, experiment(tmp_path / "inside", runs=1, shift=20))
    assert "lies inside the interval of the reference record" in inside.fresh_lines[0]
    outside = report(record, experiment(tmp_path / "outside", runs=1, shift=0, drift=-5))
    assert "lies outside" in outside.fresh_lines[0] and "not converged" in outside.fresh_lines[0]
    assert inside.verdict is outside.verdict is Verdict.LAB_SUPPORTS
    assert "no reference record" in report(tmp_path / "none", tmp_path / "inside").fresh_lines[0]


def test_a_lab_result_is_never_called_reproduced(experiment, tmp_path):
    found = report(both(experiment, tmp_path, runs=5, shift=30))
    assert not any("reproduced" in line for line in found.lines())


def test_a_missing_arm_names_the_file_and_the_command(experiment, tmp_path):
    experiment(tmp_path)
    gone = tmp_path / "scores" / "trained" / "teacher-short.csv"
    gone.unlink()
    with pytest.raises(UserError, match="teacher-short.csv.*make reproduce-table4 SCALE=lab") as caught:
        load_arms(tmp_path, "trained", "rcm", "make reproduce-table4 SCALE=lab")
    assert caught.value.exit_code == 2
    with pytest.raises(UserError, match="scm-seed0.csv"):
        load_arms(tmp_path, "trained", "scm", "make x")


def test_students_of_other_recipes_do_not_count(experiment, tmp_path):
    experiment(tmp_path, runs=2)
    for path in (tmp_path / "scores" / "trained").glob("rcm-seed1*.csv"):
        path.rename(path.with_name(path.name.replace("rcm", "rcm_smoke")))
    arms = load_arms(tmp_path, "trained", "rcm", "make x")
    assert arms.runs == [0] and np.all(arms.student["run"] == 0)
