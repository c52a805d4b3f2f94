"""The workflow: what each setting redoes and why, on a graph whose steps only write their files."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import asdict, replace

import pytest

from alice_repro.config import load_recipe, load_scale
from alice_repro.errors import UserError
from alice_repro.files import read_json, write_json
from alice_repro.manifest import read_manifest, verify_manifest
from alice_repro.workflow import reproduce, step
from alice_repro.workflow.graph import NOTEBOOKS, Graph, dependencies, flat
from alice_repro.workflow.layout import Layout, StudentArm, data_name, parse_arm, parse_data, students_of
from alice_repro.workflow.narrate import plain_reason
from alice_repro.workflow.notebook import check_parameters, parameters_of, run_notebook
from alice_repro.workflow.reference import copy_record
from alice_repro.workflow.reproduce import StepError, build, ensure, plan
from alice_repro.workflow.step import FAILURES

# Stands in for alice_repro.workflow.step: writes the outputs of a stage, or fails if told to.
FAKE_STEP = """
import json, pathlib, sys
file, stage, *words = sys.argv[1:]
here = pathlib.Path.cwd()
fail = pathlib.Path(file).with_name("fail")
if fail.exists() and stage == "train" and words[1].endswith(fail.read_text()):
    row = {"step": stage, "message": "too bad", "exit_code": 2}
    pathlib.Path(file).with_name("failures.jsonl").write_text(json.dumps(row) + "\\n")
    sys.exit(2)
print("at", stage, *words)
def write(*names):
    for name in names:
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(stage)
if stage == "data":
    write(f"data/{words[0]}/samples.safetensors", f"data/{words[0]}/manifest.json")
elif stage == "train":
    folder = f"runs/{words[0]}/{words[1]}/seed{words[2]}"
    print("checkpoint kept:", (here / folder / "checkpoint.safetensors").exists())
    write(f"{folder}/checkpoint.safetensors", f"{folder}/manifest.json")
elif stage == "sample":
    write(f"videos/{words[0]}/{words[1]}/captions.csv", f"videos/{words[0]}/{words[1]}/manifest.json")
elif stage == "evaluate":
    write(f"scores/{words[0]}/{words[1]}.csv")
elif stage == "keep_run":
    write(f"../reference/smoke/methods/{words[0]}/{words[1]}/seed{words[2]}.json")
else:
    scale = here.name
    write(*(f"alice/table04.{s}" for s in ("csv", "md", "html")), "alice/verdicts.json", "report.html")
    write(*(f"../../figures/{scale}/alice/figure01.{s}" for s in ("svg", "png", "html")))
"""


@pytest.fixture
def planned(tmp_path):
    """Plan a graph below tmp_path with the stand-in for steps."""
    program = tmp_path / "step.py"
    program.write_text(FAKE_STEP)

    def of(*settings: str, **options) -> Graph:
        graph = plan("smoke", settings, root=tmp_path, **options)
        return replace(graph, program=(sys.executable, str(program)))

    return of


def steps(printed: str) -> dict[str, str]:
    """Step -> reason, from what was printed."""
    return dict(re.findall(r"^\[\d+/\d+\] (.*) \((.*)\)$", printed, re.MULTILINE))


def test_what_follows_from_a_change_is_redone_with_its_reason(planned, capsys):
    """One graph through its changes, since each start of Snakemake takes a second or more."""
    made = build(planned(), ["table04"], 2)
    first = steps(capsys.readouterr().out)
    arms = 2 + 1 + len(load_recipe("rcm_smoke").snapshots)
    assert made == len(first) == 2 + 2 * arms + 1
    assert set(first.values()) == {"not there yet"}

    assert build(planned(), ["table04"], 2) == 0

    build(planned("protocol.bootstrap=100"), ["table04"], 2)
    again = steps(capsys.readouterr().out)
    assert again == {"Table 4, Figure 1 and the report": "protocol.bootstrap changed from 200 to 100"}

    build(planned("protocol.bootstrap=100", "recipe.stages.1.updates=2", "recipe.log_every=2"), ["table04"], 2)
    printed = capsys.readouterr().out
    again = steps(printed)
    training = "training rcm_smoke of the trained teacher, run 0"
    assert again[training] == "recipe.stages.1.updates changed from 3 to 2"
    assert "    checkpoint kept: True" in printed  # a training that was cut short could go on
    assert not any(step.startswith(("training clips", "videos of teacher")) for step in again)
    student = again["videos of rcm_smoke-seed0 (trained teacher)"]
    assert student == "follows from a new runs/trained/rcm_smoke/seed0/manifest.json"
    assert re.fullmatch("follows from a new .* and [0-9]+ more", again["Table 4, Figure 1 and the report"])

    build(planned("sampling.seed=7", "protocol.bootstrap=100", "recipe.stages.1.updates=2"), ["table04"], 2)
    again = steps(capsys.readouterr().out)
    assert not any(step.startswith("training") for step in again)
    assert again["videos of teacher-short (trained teacher)"] == "sampling.seed changed from 0 to 7"
    assert sum(step.startswith("videos") for step in again) == arms


def test_a_failed_step_is_told_with_its_own_message_and_the_rest_goes_on_later(planned, capsys):
    graph = planned()
    graph.file.parent.mkdir(parents=True)
    graph.file.with_name("fail").touch()
    with pytest.raises(StepError, match="step 'train' failed: too bad") as caught:
        build(graph, ["runs/trained/rcm_smoke/seed0/manifest.json"], 1)
    assert caught.value.exit_code == 2
    capsys.readouterr()
    graph.file.with_name("fail").unlink()
    build(graph, ["runs/trained/rcm_smoke/seed0/manifest.json"], 1)
    assert [step.split()[1] for step in steps(capsys.readouterr().out)] == ["rcm_smoke"]
    assert not graph.file.with_name(FAILURES).exists()


def test_runs_of_a_comparison_are_kept_one_by_one_and_a_failing_one_holds_back_no_other(planned, capsys):
    graph = planned(variants={"bad": ["recipe=dmd2_smoke"], "good": ["recipe=dfd_smoke"]}, teachers=["exact"])
    bad, good = (graph.ledger / "exact" / arm / "seed0.json" for arm in graph.variants)
    graph.file.parent.mkdir(parents=True)
    graph.file.with_name("fail").write_text("bad")
    good.parent.mkdir(parents=True)
    good.write_text("of other settings")
    targets = [graph.relative(path) for path in (bad, good)]
    with pytest.raises(StepError, match="step 'train' failed: too bad"):
        build(graph, targets, 1, comparison=True)
    assert (bad.exists(), good.read_text()) == (False, "keep_run")
    capsys.readouterr()
    graph.file.with_name("fail").unlink()
    build(graph, targets[:1], 1, comparison=True)
    again = steps(capsys.readouterr().out)
    assert bad.exists() and "run 0 of bad (exact teacher) into the ledger" in again
    assert len(again) == 2 + 2 * (1 + len(load_recipe("dmd2_smoke").snapshots))
    assert not any("good" in step for step in again)


def test_two_builds_in_one_folder_are_refused(planned):
    graph = planned()
    graph.file.parent.mkdir(parents=True)
    with reproduce._only_build(graph), pytest.raises(UserError, match="another reproduction is at work"):
        build(graph, ["table04"], 1)


@pytest.mark.parametrize(
    ("setting", "stages"),
    [
        ("teacher.guidance=2.5", "data-trained train-trained full-trained short-trained"),
        ("teacher.exact_width=0.1", "data-exact train-exact full-exact short-exact"),
        ("teacher.steps=9", "data-trained data-exact full-trained full-exact table"),
        ("teacher.shift=2.0", "data-trained data-exact full-trained full-exact short-trained short-exact"),
        ("data.seed=1", "data-trained data-exact"),
        ("data.source=clean", "data-trained data-exact"),
        ("prompts.train=5", "data-trained data-exact"),
        ("sampling.student_shift=4.0", "train-trained train-exact student-trained student-exact"),
        ("protocol.margin=1.0", "table"),
        ("recipe.form=alice", "train-trained train-exact"),
        ("recipe.checkpoint_every=5", ""),
        ("model.fps=4", "full-trained full-exact short-trained short-exact student-trained student-exact"),
    ],
)
def test_each_setting_belongs_to_the_stages_that_read_it(setting, stages):
    changed = {name for name, now in _all_dependencies(setting).items() if now != _all_dependencies()[name]}
    assert changed == set(stages.split())


def _all_dependencies(*settings: str) -> dict[str, dict]:
    graph = plan("smoke", settings)
    scale, recipe = graph.resolve(next(iter(graph.variants)))
    arms = {"full": "teacher-full", "short": "teacher-short", "student": "rcm_smoke-seed0"}
    found = {"table": dependencies("table", scale, recipe)}
    for teacher in ("trained", "exact"):
        found |= {f"{stage}-{teacher}": dependencies(stage, scale, recipe, teacher) for stage in ("data", "train")}
        found |= {
            f"{name}-{teacher}": dependencies("sample", scale, recipe, teacher, arm) for name, arm in arms.items()
        }
    return found


def test_every_setting_of_a_scale_is_read_by_some_stage_or_known_to_change_nothing():
    read = {key for keys in _all_dependencies().values() for key in keys}
    unread = set(flat(asdict(load_scale("smoke")))) - read
    assert unread == {"name", "summary", "recipe", "model.download_gb"}


def test_names_of_arms_say_where_their_student_is(tmp_path):
    layout = Layout("lab", tmp_path)
    assert layout.student("exact", "teacher-full") is None
    run = tmp_path / "results/lab/runs/exact/rcm/seed3"
    assert layout.student("exact", "rcm-seed3") == run / "student"
    assert layout.student("exact", "rcm-seed3-at-000150") == run / "snapshots/update_000150"
    recipe = replace(load_recipe("rcm_smoke"), snapshots=(0.5, 0.75))
    assert [parse_arm(arm) for arm in students_of("rcm-clean", recipe, 1)] == [
        StudentArm("rcm-clean", 1),
        StudentArm("rcm-clean", 1, 3),
        StudentArm("rcm-clean", 1, 4),
    ]
    with pytest.raises(UserError, match="unknown arm 'teacher-fast'"):
        parse_arm("teacher-fast")


@pytest.mark.parametrize("teacher", ["trained", "exact"])
@pytest.mark.parametrize("source", ["teacher", "clean"])
def test_training_clips_are_named_after_teacher_and_source(teacher, source):
    assert parse_data(data_name(teacher, source)) == (teacher, source)


def test_variants_share_the_clips_that_they_have_in_common(tmp_path):
    variants = {"a": (), "b": ("recipe=dmd2_smoke",), "c": ("recipe=dmd2_smoke", "data.source=clean")}
    graph = plan("smoke", ["recipe.gradient_clip=1.0"], variants=variants, seeds=(0, 1), root=tmp_path)
    assert [graph.data_of("trained", name) for name in variants] == ["trained", "trained", "trained-clean"]
    assert [graph.resolve(name)[1].method for name in variants] == ["rcm", "dmd2", "dmd2"]
    assert all(graph.resolve(name)[1].gradient_clip == 1.0 for name in variants)
    assert len(graph.students()) == 3 * 2 * 2  # each with a snapshot
    with pytest.raises(UserError, match="did you mean 'dmd2_smoke'"):
        plan("smoke", variants={"a": ("recipe=dmd2_smok",)}, root=tmp_path)
    with pytest.raises(UserError, match="unknown key 'gan_weigh'"):
        plan("smoke", variants={"a": ("recipe=dmd2_smoke", "recipe.gan_weigh=1")}, root=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("alise", "table04", "smoke"), "did you mean 'alice'"),
        (("alice", "table4", "smoke"), "did you mean 'table04'"),
        (("alice", "table04", "smok"), "did you mean 'smoke'"),
        (("alice", "table04", "smoke", ["teacher.stepz=3"]), "did you mean 'teacher.steps'"),
        (("alice", "table04", "smoke", ["recipe.gradient_clop=3"]), "did you mean 'gradient_clip'"),
        (("alice", "table04", "smoke", ['protocol.teachers=["exacd"]']), "did you mean 'exact'"),
        (("alice", "table04", "wan-1.3b"), r"(?s)Wan-AI/Wan2.1-T2V-1.3B-Diffusers.*GB.*hf download.*SCALE=lab"),
    ],
)
def test_what_cannot_be_done_stops_before_any_work(arguments, message, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(UserError, match=message):
        reproduce.reproduce(*arguments, root=tmp_path)
    assert not (tmp_path / "results").exists()


def test_a_notebook_inside_the_workflow_builds_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("ALICE_REPRO_HEADLESS", "1")
    monkeypatch.setattr(reproduce, "build", lambda *a: pytest.fail("the workflow ran inside the workflow"))
    with pytest.raises(UserError, match="does not exist; .*alice-repro reproduce alice table04 --scale smoke"):
        ensure(tmp_path / "data", "smoke", [])
    (tmp_path / "manifest.json").touch()
    assert ensure(tmp_path, "smoke", []) == tmp_path


def test_reasons_in_plain_words():
    union = "Params have changed since last execution: Union of exclusive params before and now across all output: "
    before, now = "before: 'teacher.steps = 50',\"model.source = 'a; B'\" ", "now: 'teacher.steps = 8' "
    assert plain_reason(union + before + now) == "teacher.steps changed from 50 to 8, model.source is gone"
    new = "Input files updated by another job: a.csv, b.csv"
    assert plain_reason(f"Missing output files: c.csv; {new}") == "not there yet"
    assert plain_reason(new) == "follows from a new a.csv and 1 more"
    assert (
        plain_reason(f"{new}; Set of input files has changed since last execution")
        == "it is made from other files than before"
    )
    assert plain_reason("Something that is new") == "Something that is new"


def test_the_graph_survives_its_file(tmp_path):
    graph = plan("smoke", ["sampling.seed=3"], root=tmp_path)
    write_json(tmp_path / "graph.json", asdict(graph))
    assert Graph.of(read_json(tmp_path / "graph.json")) == graph
    assert os.path.isabs(json.loads((tmp_path / "graph.json").read_text())["file"])


@pytest.mark.parametrize(
    ("stage", "wildcards"),
    [
        ("data", ("exact",)),
        ("train", ("trained", "rcm_smoke", "3")),
        ("sample", ("trained", "rcm_smoke-seed3-at-000004")),
        ("sample", ("exact", "teacher-short")),
        ("sample", ("exact", "teacher-consistent")),
        ("sample", ("exact", "teacher-anchored")),
        ("sample", ("exact", "student-start")),
        ("evaluate", ("trained", "teacher-full")),
        ("table04", ()),
    ],
)
def test_each_step_gives_its_notebook_what_it_takes(stage, wildcards, tmp_path):
    graph = plan("smoke", ["sampling.seed=3"], root=tmp_path)
    notebook, name, parameters = step._NOTEBOOKS[stage](graph, *wildcards)
    defaults = parameters_of(NOTEBOOKS / notebook)
    assert check_parameters(defaults, parameters, notebook) == parameters
    assert not any(str(tmp_path) in str(value) for value in parameters.values())  # as the copy reads anywhere
    logs = re.findall(r'"notebooks/(.*)\.ipynb"', reproduce.SNAKEFILE.read_text())
    assert any(re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", log), name) for log in logs)  # Snakemake knows the copy


def test_a_failing_step_leaves_its_message_and_exit_code(tmp_path, monkeypatch):
    graph = plan("smoke", root=tmp_path)
    write_json(graph.file, asdict(graph))

    def fail(*arguments: object, **options: object) -> None:
        raise UserError("no weights")

    monkeypatch.setattr(step, "run_notebook", fail)
    assert step.main([str(graph.file), "data", "trained"]) == 2
    row = json.loads(graph.file.with_name(FAILURES).read_text())
    assert row == {"step": "data trained", "message": "no weights", "exit_code": 2}


def test_scores_of_other_settings_do_not_reach_the_table(tmp_path):
    graph = plan("smoke", root=tmp_path)
    scores = graph.layout.scores("trained", "x").parent
    scores.mkdir(parents=True)
    for arm in ("teacher-full", "rcm_smoke-seed0", "rcm_smoke-seed0-at-000099", "rcm_smoke-seed9"):
        (scores / f"{arm}.csv").touch()
    step.table_step(graph)
    assert {path.stem for path in scores.glob("*.csv")} == {"teacher-full", "rcm_smoke-seed0"}


def test_the_record_keeps_scores_manifests_and_a_few_contact_sheets_but_no_video(tmp_path):
    graph = plan("smoke", seeds=(0, 2), folder="smoke-record", root=tmp_path)
    for teacher, arm in graph.arms():
        run = student.seed if (student := parse_arm(arm)) else 0
        folders = [graph.layout.videos(teacher, arm), graph.layout.run(teacher, "rcm_smoke", run)]
        for folder in [*folders, graph.layout.scores(teacher, arm).parent]:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "manifest.json").touch()
        (folders[0] / "0000_s0.mp4").touch()
        (folders[0] / "contact_sheet.png").touch()
        (folders[1] / "log.jsonl").touch()
        graph.layout.scores(teacher, arm).write_text(arm)
    written = copy_record(graph)
    record = tmp_path / "results/reference/smoke"
    assert (record / "scores/trained/rcm_smoke-seed2.csv").read_text() == "rcm_smoke-seed2"
    kept = {"manifest.json", "log.jsonl", "contact_sheet.png"} | {f"{arm}.csv" for _, arm in graph.arms()}
    assert {path.name for path in written} == kept
    sheets = {path.parent.name for path in written if path.name == "contact_sheet.png"}
    assert sheets == {"teacher-full", "teacher-short", "rcm_smoke-seed0"}
    graph.layout.scores("trained", "teacher-full").unlink()
    with pytest.raises(UserError, match="teacher-full.csv is missing"):
        copy_record(graph)


def test_the_tour_runs(tmp_path):
    copy = run_notebook(NOTEBOOKS / "00_tour.ipynb", tmp_path / "tour.ipynb", {"scale": "smoke"})
    assert "motion_correct" in copy.read_text()


@pytest.mark.slow
def test_the_smoke_scale_from_nothing_to_the_table(tmp_path, capsys):
    """The real steps: training happens, the teacher pays two evaluations a step, and a second call does nothing."""
    reproduce.reproduce("alice", "table04", "smoke", root=tmp_path)
    layout = Layout("smoke", tmp_path)
    videos = {arm: read_manifest(layout.videos("trained", arm))["extra"] for arm in ("teacher-full", "rcm_smoke-seed0")}
    assert videos["teacher-full"]["evaluations_per_clip"] == 2 * load_scale("smoke").teacher.steps
    assert videos["rcm_smoke-seed0"]["evaluations_per_clip"] == 4
    run = layout.run("trained", "rcm_smoke", 0)
    assert read_manifest(run)["extra"]["student_updates"] == load_recipe("rcm_smoke").updates
    assert verify_manifest(layout.videos("trained", "teacher-full")) == []
    assert len(list((layout.results / "notebooks").glob("*.ipynb"))) == 11
    capsys.readouterr()
    reproduce.reproduce("alice", "table04", "smoke", root=tmp_path)
    again = capsys.readouterr().out
    assert "nothing to do" in again and "report.html" in again and not steps(again)
