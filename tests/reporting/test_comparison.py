"""A comparison of fabricated runs with known answers: differences, gates, budgets, verdicts; and the ledger itself."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from fabricate import better, outcomes, score_table

from alice_repro.config import UNTRAINED, ClaimInArms, Comparison, load_recipe, load_scale
from alice_repro.errors import UserError
from alice_repro.files import read_json, write_json
from alice_repro.reporting import comparison
from alice_repro.reporting.comparison import load_methods
from alice_repro.reporting.comparison_claims import judge_claims
from alice_repro.reporting.comparison_sheets import equal_evaluations, equal_updates, speed
from alice_repro.reporting.ledger import Run, has_run, read_ledger
from alice_repro.reporting.methods import write_claims, write_figures, write_tables
from alice_repro.strict import as_settings
from alice_repro.verdicts import Verdict
from alice_repro.workflow.layout import ledger_of

ARMS = {"dmd2": ("recipe=dmd2",), "dfd": ("recipe=dfd",), "avd": ("recipe=avd",)}
CLAIM = ClaimInArms("dfd.fidelity-restored", "dfd", ("dmd2",))


def world_table(right, arm, hue="slate"):
    """With the open attributes: all clips of one hue, the others as the world has them."""
    table = score_table(right, arm, 0)
    n = np.arange(len(table)) % 20
    table = table.assign(**{f"hue_{name}": float(name == hue) for name in ("slate", "sand", "sage", "rose")})
    table = table.assign(side_left=(n < 13) * 1.0, side_right=(n >= 13) * 1.0)
    table = table.assign(size_small=(n < 12) * 1.0, size_large=(n >= 12) * 1.0)
    return table.assign(spin_clockwise=(n < 15) * 1.0, spin_counterclockwise=(n >= 15) * 1.0)


CLIPS = {"samples": {"path": "samples.safetensors", "sha256": "5" * 64}}


@pytest.fixture
def made(tmp_path, monkeypatch):
    """make(shift of each arm, drift of each arm, hue of each arm) -> Methods."""

    def make(shifts, drift=None, hues=None, runs=5, teachers=("trained", "exact"), claims=(CLAIM,), evaluations=None):
        base = outcomes(0.5, prompts=30)
        for teacher in teachers:
            for arm in ("teacher-full", "teacher-short"):
                path = tmp_path / "methods" / teacher / f"{arm}.scores.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                world_table(base, arm).to_parquet(path)
                settings = json.loads(json.dumps(asdict(load_scale("lab"))))
                settings["sampling"]["batch"] = None
                settings = {key: settings[key] for key in ("model", "teacher", "prompts", "sampling")}
                write_json(path.with_name(f"{arm}.json"), {"config": {"scale": settings}})
            for arm, shift in shifts.items():
                for run in range(runs):
                    _write_run(tmp_path / "methods", Run(teacher, arm, run), base, shift, (drift or {}).get(arm, 0.0),
                               (hues or {}).get(arm, "slate"), (evaluations or {}).get(arm, 1000))  # fmt: skip
        monkeypatch.setattr(comparison, "load_comparison", lambda _: Comparison("dmd2", ARMS, tuple(claims)))
        methods = load_methods("lab", tmp_path)
        quick = replace(methods.scale.protocol, bootstrap=200)
        return replace(methods, scale=replace(methods.scale, protocol=quick))

    return make


def _write_run(ledger, run, base, shift, drift, hue, evaluations):
    stem = run.stem(ledger)
    stem.parent.mkdir(parents=True, exist_ok=True)
    tables = []
    for update, points in ((100, shift - drift), (150, shift - drift), (200, shift)):
        table = world_table(better(base, points, seed=run.seed), run.arm, hue).drop(columns=["video", "caption", "run"])
        tables.append(table.drop(columns="arm").assign(update=update))
    pd.concat(tables).to_parquet(stem.with_name(stem.name + ".scores.parquet"))
    curve = pd.DataFrame({"update": range(1, 201), "score_loss": 1.0, "score_gradient_at_sample": 2.0})
    curve = curve.assign(seconds=0.5 + run.seed, evaluations=[evaluations * i // 200 for i in range(1, 201)])
    curve.to_parquet(stem.with_name(stem.name + ".curve.parquet"))
    recipe = as_settings(load_recipe(run.arm))
    extra = {"student_updates": 200, "critic_updates": 800, "network_evaluations": evaluations, "peak_memory_gb": 1.5}
    config = {"scale": asdict(load_scale("lab")), "recipe": recipe, "teacher": run.teacher}
    write_json(stem.with_name(stem.name + ".json"), {**asdict(run), **extra, "config": config, "inputs": CLIPS})


@pytest.mark.parametrize(
    ("shift", "verdict"),
    [(25.0, Verdict.LAB_SUPPORTS), (-25.0, Verdict.LAB_CONTRADICTS), (2.0, Verdict.LAB_INCONCLUSIVE)],
)
def test_a_planted_difference_decides_the_claim(made, shift, verdict):
    methods = made({"dmd2": 5.0, "dfd": 5.0 + shift})
    for teacher in methods.teachers:
        found = methods.difference(teacher, "dfd", "dmd2")
        assert found.estimate.value == pytest.approx(shift, abs=1.0) and found.estimate.runs == 5
        turned = methods.difference(teacher, "dmd2", "dfd").estimate
        assert turned.value == pytest.approx(-found.estimate.value)
        assert (turned.low, turned.high) == pytest.approx((-found.estimate.high, -found.estimate.low), abs=0.7)
    assert judge_claims(methods)[0].verdict is verdict


def test_no_verdict_from_few_runs_one_teacher_or_unsettled_students(made):
    assert judge_claims(made({"dmd2": 0.0, "dfd": 25.0}, runs=4))[0].verdict is Verdict.LAB_INCONCLUSIVE
    one = judge_claims(made({"dmd2": 0.0, "dfd": 25.0}, drift={"dfd": 8.0}))[0]
    assert one.verdict is Verdict.NOT_CONVERGED and "still moving: dfd (endpoint)" in one.reason


def test_one_teacher_is_not_enough(made):
    one = judge_claims(made({"dmd2": 0.0, "dfd": 25.0}, teachers=("trained",)))[0]
    assert one.verdict is Verdict.LAB_INCONCLUSIVE and one.reason == "exact teacher: no run of dfd, dmd2"


def test_runs_of_both_arms_vary(made):
    """The same arm against one whose runs differ: the interval has to be wider than where they hardly do."""

    def width(shifts):
        methods = made({"dmd2": 0.0, "dfd": 0.0})
        for run, shift in enumerate(shifts):
            _write_run(
                methods.ledger, Run("trained", "dmd2", run), outcomes(0.5, prompts=30), shift, 0.0, "slate", 1000
            )
        found = replace(methods, _read={}).difference("trained", "dfd", "dmd2").estimate
        return found.high - found.low

    assert width([20.0, -20.0, 20.0, -20.0, 0.0]) > 2 * width([2.0, -2.0, 2.0, -2.0, 0.0])


def test_a_settled_endpoint_does_not_settle_another(made):
    """The primary endpoint stands still, the claim's own (its modes) moves."""
    claim = ClaimInArms("dfd.diversity-restored", "dfd", ("dmd2",))
    methods = made({"dmd2": 0.0, "dfd": 0.0}, claims=[claim])
    path = methods.ledger / "trained" / "dfd" / "seed0.scores.parquet"
    scores = pd.read_parquet(path)
    early = scores["update"] < 200
    scores.loc[early, ["hue_slate", "hue_rose"]] = [0.0, 1.0]
    scores.to_parquet(path)
    one = judge_claims(replace(methods, _read={}))[0]
    assert one.verdict is Verdict.NOT_CONVERGED and "still moving: dfd (mode_distance)" in one.reason


def test_less_luck_of_an_arm_that_is_always_wrong_counts_nothing(made):
    claim = ClaimInArms("alice.consistency-removes-luck", "dfd", ("teacher-full",))
    wrong = judge_claims(made({"dfd": -50.0, "dmd2": 0.0}, claims=[claim]))[0]
    assert wrong.verdict is Verdict.LAB_INCONCLUSIVE and "50.0 points lower" in wrong.reason
    assert judge_claims(made({"dfd": 50.0, "dmd2": 0.0}, claims=[claim]))[0].verdict is Verdict.LAB_SUPPORTS


def test_an_arm_without_measurable_modes_stops_nothing(made):
    methods = made({"dmd2": 0.0, "dfd": 0.0}, hues={"dfd": "none"})
    rows = {(row["teacher"], row["arm"]): row for row in equal_updates(methods).rows}
    assert rows["trained", "dfd"]["modes"] == "not measurable"
    assert methods.difference("trained", "dfd", "dmd2", "mode_distance") is None


def test_a_ledger_without_baseline_or_teachers_is_shown_all_the_same(made):
    ledger = made({"dfd": 0.0}).ledger
    for path in ledger.glob("*/teacher-*"):
        path.unlink()
    methods = load_methods("lab", ledger.parent)
    assert [row["baseline"] for row in equal_updates(methods).rows] == ["", ""]
    assert equal_evaluations(methods).rows and judge_claims(methods)[0].verdict is Verdict.LAB_INCONCLUSIVE


def test_runs_with_other_settings_are_left_out_and_named(made, monkeypatch, tmp_path):
    made({"dmd2": 0.0, "dfd": 0.0})
    other = Comparison("dmd2", ARMS | {"dfd": ("recipe=dfd", "recipe.form=score")}, (CLAIM,))
    monkeypatch.setattr(comparison, "load_comparison", lambda _: other)
    methods = load_methods("lab", tmp_path)
    assert methods.arms("trained") == ["dmd2"] and "dfd, run 0" in "; ".join(methods.left_out)


def test_a_claim_without_runs_says_what_is_lacking(made):
    one = judge_claims(made({"dmd2": 0.0}))[0]
    assert (one.verdict, one.reason) == (Verdict.LAB_INCONCLUSIVE, "both teachers: no run of dfd")


def test_a_claim_falls_with_one_of_its_comparisons(made):
    claim = ClaimInArms("avd.teacher-surpassed", "avd", ("dmd2", "dfd"))
    judged = judge_claims(made({"dmd2": 0.0, "dfd": 40.0, "avd": 25.0}, claims=[claim]))[0]
    assert judged.verdict is Verdict.LAB_CONTRADICTS
    assert judged.estimates["dmd2", "exact"].value > 20 and judged.estimates["dfd", "exact"].value < -10


def test_fewer_modes_are_further_from_the_truth_and_count_against_an_arm(made):
    claim = ClaimInArms("dfd.diversity-restored", "dfd", ("dmd2",))
    judged = judge_claims(made({"dmd2": 0.0, "dfd": 0.0}, hues={"dmd2": "rose"}, claims=[claim]))[0]
    # Total variation of the hue: 0.95 if all are rose, 0.5 if all are slate; a quarter of the four attributes' mean.
    assert judged.estimates["dmd2", "trained"].value == pytest.approx(100 * 0.45 / 4, abs=0.1)


def test_equal_arms_are_equal_within_the_margin_only(made):
    claim = ClaimInArms("dfd.weight-insensitive", "dfd", ("dmd2",), equal=True)
    assert judge_claims(made({"dmd2": 5.0, "dfd": 30.0}, claims=[claim]))[0].verdict is Verdict.LAB_CONTRADICTS


def test_luck_is_the_variance_over_the_noise_of_a_caption(made):
    methods = made({"dmd2": 50.0})  # all right: no luck
    assert methods.rate("trained", "dmd2", "seed_variance").estimate.value == 0
    scores = methods.scores("trained", "teacher-full")
    expected = scores.groupby("prompt_id")["endpoint"].var().mean()
    assert methods.rate("trained", "teacher-full", "seed_variance").estimate.value == pytest.approx(100 * expected)


def test_equal_budgets_take_the_nearest_checkpoint(made):
    methods = made({"dmd2": 0.0, "dfd": 20.0}, drift={"dfd": 10.0}, evaluations={"dmd2": 1000, "dfd": 2000})
    rows = {(row["teacher"], row["arm"]): row for row in equal_evaluations(methods).data}
    assert rows["trained", "dmd2"]["updates"] == 200 and rows["trained", "dfd"]["updates"] == 100
    assert rows["trained", "dfd"]["share_of_budget"] == 1.0
    assert rows["trained", "dfd"]["endpoint"] == pytest.approx(60.0, abs=0.5)


def test_an_arm_without_a_checkpoint_near_the_budget_has_no_number(made):
    methods = made({"dmd2": 0.0, "dfd": 20.0}, evaluations={"dmd2": 1000, "dfd": 9000})
    row = next(row for row in equal_evaluations(methods).rows if row["arm"] == "dfd")
    assert row["endpoint"] == "" and row["note"] == "no checkpoint near"


def test_tables_hold_what_was_planted(made):
    methods = made({"dmd2": 0.0, "dfd": 20.0})
    rows = {(row["teacher"], row["arm"]): row for row in equal_updates(methods).data}
    assert rows["exact", "dfd"]["endpoint"] == pytest.approx(70, abs=0.5)
    assert rows["exact", "dfd"]["baseline"] == pytest.approx(20, abs=0.5)
    assert rows["exact", "dfd"]["untouched"] == pytest.approx(20, abs=0.5)
    assert rows["exact", "teacher-short"]["baseline"] is None and rows["exact", "dmd2"]["runs"] == 5
    cost = speed(methods).data[0]
    assert (cost["seconds"], cost["memory"], cost["evaluations"]) == (0.5, 1.5, pytest.approx(1000 / 200 / 12))


def test_everything_is_written(made, tmp_path):
    methods = made({"dmd2": 0.0, "dfd": 20.0}, runs=2)
    write_tables(methods, tmp_path / "results")
    judged, _ = write_claims(methods, tmp_path / "results")
    figures = write_figures(methods, tmp_path / "figures")
    names = {path.name for path in (tmp_path / "results" / "methods").iterdir()}
    assert {f"{stem}.{kind}" for stem in ("equal_updates", "equal_evaluations", "speed", "claims")
            for kind in ("csv", "md", "html")} <= names  # fmt: skip
    assert json.loads((tmp_path / "results/methods/claims.json").read_text())[0]["line"] == judged[0].line
    assert {path.stem for path in figures} == {"endpoint", "training_trained", "training_exact"}


def test_a_run_with_other_settings_is_not_taken_for_this_one(made, tmp_path):
    made({"dmd2": 0.0}, runs=1)
    run, ledger = Run("trained", "dmd2", 0), tmp_path / "methods"
    scale, recipe = load_scale("lab"), load_recipe("dmd2")
    assert has_run(ledger, run, scale, recipe)
    assert not has_run(ledger, run, scale, replace(recipe, weight_decay=0.5))
    assert not has_run(ledger, run, replace(scale, data=replace(scale.data, source="clean")), recipe)
    assert not has_run(ledger, run, replace(scale, sampling=replace(scale.sampling, student_shift=3.0)), recipe)
    assert not has_run(ledger, run, replace(scale, prompts=replace(scale.prompts, seeds=1)), recipe)
    assert has_run(ledger, run, replace(scale, sampling=replace(scale.sampling, batch=1)), recipe)
    assert has_run(ledger, run, replace(scale, summary="other words"), recipe)
    assert not has_run(ledger, Run("trained", "dmd2", 1), scale, recipe)


def test_an_empty_ledger_says_how_to_fill_it(tmp_path):
    with pytest.raises(UserError, match="make compare-methods SCALE=lab"):
        load_methods("lab", tmp_path)
    assert read_ledger(tmp_path) == []


@pytest.mark.parametrize("scale", ["lab", "smoke"])
def test_the_claims_of_a_comparison_are_the_papers_and_its_arms_exist(scale):
    from alice_repro.config import load_comparison
    from alice_repro.papers import load_paper

    known = load_comparison(scale)
    assert known.baseline in known.arms
    for claim in known.claims:
        paper, _, name = claim.claim.partition(".")
        assert load_paper(paper).claim(name).endpoint in comparison.ENDPOINTS
        assert {claim.better, *claim.worse} <= {*known.arms, *UNTRAINED}


def test_the_committed_page_tells_of_every_run():
    ledger = ledger_of("lab")
    _, table, *_ = (ledger / "README.md").read_text(encoding="utf-8").split("| --- | --- |")
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in table.splitlines() if line.startswith("| ")]
    told = {(teacher, arm): int(runs) for teacher, arm, runs in rows if runs.isdigit()}
    assert told == Counter((entry["teacher"], entry["arm"]) for entry in read_ledger(ledger))


def _write_agreement(methods, arm, students, teacher=0.4):
    for name in methods.teachers:
        for run, student in enumerate(students):
            path = methods.ledger / name / arm / f"seed{run}.json"
            write_json(path, json.loads(path.read_text()) | {"agreement": {"student": student, "teacher": teacher}})


def test_predictions_that_agree_along_a_path_are_judged_over_runs(made):
    claim = ClaimInArms("alice.one-clip-a-path", "dfd", ("teacher-full",))
    methods = made({"dmd2": 0.0, "dfd": 0.0}, claims=[claim])
    assert judge_claims(methods)[0].verdict is Verdict.LAB_INCONCLUSIVE  # runs from before it was measured
    _write_agreement(methods, "dfd", [0.30, 0.31, 0.29, 0.30, 0.30])
    methods = replace(methods, entries=read_ledger(methods.ledger))
    one = judge_claims(methods)[0]
    estimate = one.estimates["teacher-full", "exact"]
    assert one.verdict is Verdict.LAB_SUPPORTS and estimate.runs == 5
    assert estimate.value == pytest.approx(10.0)
    half = 2.776 * 0.00707 / np.sqrt(5) * 100  # Student's t with 4 degrees of freedom, the runs' standard deviation
    assert (estimate.low, estimate.high) == pytest.approx((10 - half, 10 + half), abs=0.02)
    turned = replace(claim, better="teacher-full", worse=("dfd",))
    methods = replace(methods, comparison=replace(methods.comparison, claims=(turned,)))
    assert judge_claims(methods)[0].verdict is Verdict.LAB_CONTRADICTS


def test_where_nothing_is_to_be_repaired_nothing_is_contradicted(made):
    """Both arms are perfect but for a point: the difference lies below the margin, and says nothing."""
    perfect = judge_claims(made({"dmd2": 49.0, "dfd": 50.0}))[0]
    assert perfect.verdict is Verdict.LAB_INCONCLUSIVE and "leaves nothing to repair" in perfect.reason
    worse_than_perfect = judge_claims(made({"dmd2": 49.0, "dfd": 20.0}))[0]
    assert worse_than_perfect.verdict is Verdict.LAB_CONTRADICTS


def test_one_contradiction_decides_whatever_else_still_moves(made):
    claim = ClaimInArms("avd.teacher-surpassed", "avd", ("dmd2", "dfd"))
    judged = judge_claims(made({"dmd2": 25.0, "dfd": 0.0, "avd": 0.0}, drift={"dfd": 8.0}, claims=[claim]))[0]
    assert judged.verdict is Verdict.LAB_CONTRADICTS and "still moving: dfd" in judged.reason


def test_of_a_claim_that_an_arm_never_settles_only_the_other_has_to_have_settled(made):
    claim = ClaimInArms("dfd.pretraining-needed", "dfd", ("dmd2",))
    assert judge_claims(made({"dmd2": 0.0, "dfd": 25.0}, drift={"dmd2": 8.0}, claims=[claim]))[0].verdict is (
        Verdict.LAB_SUPPORTS
    )
    assert judge_claims(made({"dmd2": 0.0, "dfd": 25.0}, drift={"dfd": 8.0}, claims=[claim]))[0].verdict is (
        Verdict.NOT_CONVERGED
    )


def test_two_arms_within_the_margin_are_equal(made):
    claim = ClaimInArms("dfd.weight-insensitive", "dfd", ("dmd2",), equal=True)
    methods = made({"dmd2": 10.0, "dfd": 10.8}, claims=[claim])
    near = {teacher: methods.difference(teacher, "dfd", "dmd2").estimate for teacher in methods.teachers}
    assert all(-2 < estimate.low and estimate.high < 2 for estimate in near.values()), near
    assert judge_claims(methods)[0].verdict is Verdict.LAB_SUPPORTS


def test_what_an_arm_is_compared_with(made, monkeypatch):
    """The floor of its clips, the teacher at its own steps; a tuned teacher with what it was, the trained one."""
    arms = {"floor": ("recipe=dmd2",), "floor-clean": ("recipe=dmd2", "data.source=clean")}
    arms |= {"dfd": ("recipe=dfd",), "avd": ("recipe=avd", "data.source=clean")}
    methods = made({"dmd2": 0.0, "dfd": 10.0, "avd": 10.0})
    for teacher in methods.teachers:
        (methods.ledger / teacher / "dmd2").rename(methods.ledger / teacher / "floor")
        for path in (methods.ledger / teacher / "floor").glob("*.json"):
            write_json(path, json.loads(path.read_text()) | {"arm": "floor"})
    entries = read_ledger(methods.ledger)
    for entry in entries:
        if entry["arm"] == "dfd":
            entry["config"]["scale"]["sampling"]["student_steps"] = 2
        if entry["arm"] == "avd":
            entry["sampler"] = "teacher"
            entry["config"]["scale"]["data"]["source"] = "clean"
    compared = Comparison("floor", arms, (), floor="floor")
    methods = replace(methods, comparison=compared, entries=entries)
    methods = replace(methods, untrained=methods.untrained - {("exact", "teacher-full")})
    rows = {(row["teacher"], row["arm"]): row for row in equal_updates(methods).rows}
    assert rows["exact", "dfd"]["floor"] and not rows["exact", "avd"]["floor"]  # no run with clean clips
    assert not rows["exact", "floor"]["floor"]
    assert not rows["trained", "dfd"]["untouched"] and rows["exact", "avd"]["untouched"]
    assert rows["exact", "avd"]["untouched"] == rows["trained", "avd"]["untouched"]


def test_scores_of_a_teacher_that_was_sampled_otherwise_are_left_out(made):
    methods = made({"dmd2": 0.0, "dfd": 10.0})
    entry = methods.ledger / "trained" / "teacher-short.json"
    other = read_json(entry)
    other["config"]["scale"]["teacher"]["guidance"] = 4.0
    write_json(entry, other)
    (methods.ledger / "exact" / "teacher-short.json").unlink()
    again = load_methods("lab", methods.ledger.parent)
    assert not again.has("trained", "teacher-short") and again.has("trained", "teacher-full")
    assert [line for line in again.left_out if "teacher-short" in line] == [
        "teacher-short, exact teacher: sampled with other settings",
        "teacher-short, trained teacher: sampled with other settings",
    ]
    rows = {(row["teacher"], row["arm"]): row for row in equal_updates(again).rows}
    assert not rows["trained", "dfd"]["untouched"] and ("trained", "teacher-short") not in rows


def test_the_table_says_whether_all_runs_learned_from_the_same_clips(made):
    methods = made({"dmd2": 0.0, "dfd": 10.0})
    (note,) = (note for note in equal_updates(methods).notes if note.startswith("Stored clips"))
    assert "are the same for all" in note and "exact teacher, teacher clips 55555555" in note
    entries = read_ledger(methods.ledger)
    entries[0]["inputs"] = {"samples": {"sha256": "6" * 64}}
    (note,) = (each for each in equal_updates(replace(methods, entries=entries)).notes if each.startswith("Stored"))
    assert "NOT the same" in note and "55555555, 66666666" in note
