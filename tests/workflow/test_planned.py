"""Plans of targets and recipes: none is forgotten, they are the workflow's own, the verb is quick, the README fresh."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from alice_repro.config import load_recipe, load_scale, method_recipes
from alice_repro.errors import UserError
from alice_repro.workflow.graph import Graph
from alice_repro.workflow.layout import CHECKOUT
from alice_repro.workflow.planned import make_target, plan_what, recipe_of, reproduction, scale_names, target, targets
from alice_repro.workflow.planned_readme import MACHINES, TABLES, between, readme_table, update_readme
from alice_repro.workflow.targets import TARGETS

FULL = ("wan-1.3b", "wan-14b", "alice-14b")


def test_every_make_target_can_be_planned():
    in_makefile = set(re.findall(r"^(reproduce-[\w-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    assert in_makefile and in_makefile <= set(targets())
    for name in targets():
        assert plan_what(name, "smoke").hours[1] > 0


def test_targets_by_all_their_names():
    for name in ("table4", "table04", "reproduce-table4", "alice-table4", "make reproduce-table4"):
        assert target(name) == ("alice", "table04")
    assert target("rcm") is None
    assert make_target("alice", "figure01") == "reproduce-figure1"


def test_every_rule_is_in_the_snakefile():
    rules = re.findall(r"^rule (\w+):", (CHECKOUT / "alice_repro/workflow/Snakefile").read_text(), re.MULTILINE)
    assert {rule for parts in TARGETS.values() for rule in parts.values()} <= set(rules)


@pytest.mark.parametrize("scale", ["smoke", "lab"])
def test_plan_has_the_arms_and_trainings_of_the_workflow(scale):
    experiment = reproduction("alice", "table04", scale, runs=2, teachers=("trained", "exact"))
    graph = Graph(
        scale, (), {v.recipe.name: () for v in experiment.variants}, experiment.teachers, (0, 1), scale, CHECKOUT,
        CHECKOUT / "results/reference", CHECKOUT / "x.json", (),
    )  # fmt: skip
    plan = plan_what("table4", scale, "2xCPU", runs=2, teachers=("trained", "exact"))
    works = [line.work for line in plan.lines]
    assert sum(w.times for w in works if w.name.startswith("videos")) == len(graph.arms())
    scored = next(w for w in works if w.name.startswith("scores"))
    assert scored.times == len(graph.arms())
    # data, trainings, videos, scores, the table
    steps = 2 + 4 + 2 * len(graph.arms()) + 1
    assert f"starting {steps} steps" in works[-1].name


def test_lab_reproduction_takes_the_minutes_that_were_measured():
    plan = plan_what("table4", "lab", "2xCPU")
    assert "11 steps" in plan.lines[-1].work.name  # "11 steps in 16 min 28 s" (README)
    assert plan.wall[0] <= (16 * 60 + 28) / 3600 <= plan.wall[1]


@pytest.mark.parametrize("scale", scale_names())
def test_every_recipe_at_every_scale(scale):
    for recipe in method_recipes():
        plan = plan_what(recipe, scale, "16xH100" if scale in FULL else "2xCPU")
        assert 0 < plan.hours[0] <= plan.hours[1] and plan.wall[0] <= plan.wall[1]
        json.dumps(plan.to_dict(), allow_nan=False, default=vars)


def test_comparison_has_every_arm():
    from alice_repro.config import load_comparison

    arms = load_comparison("lab").arms
    plan = plan_what("compare-methods", "lab", "2xCPU", runs=5)
    assert [one.recipe for one in plan.trainings] == list(arms)
    trained = {line.work.name.split(",")[0] for line in plan.lines if line.work.kind == "training"}
    assert trained == {f"training {arm}" for arm in arms}
    assert f"{2 * 5 * len(arms)} run(s)" in " ".join(part.name for part in plan.files)


def test_recipes_by_method_and_scale():
    assert recipe_of("rcm", load_scale("wan-1.3b")).name == "rcm_wan_1.3b"
    assert recipe_of("rcm", load_scale("alice-14b")).name == "rcm_wan_14b"
    assert recipe_of("dfd", load_scale("wan-14b")).name == "dfd"
    assert "of dfd of its own" in plan_what("dfd", "wan-14b", "4xH100").notes[0]
    assert not any("of its own" in note for note in plan_what("rcm", "wan-14b", "4xH100").notes)
    assert recipe_of("rcm", load_scale("lab"), ("stages.0.updates=5",)).stages[0].updates == 5


def test_recipe_from_a_file(tmp_path):
    own = tmp_path / "mine.toml"
    own.write_text((CHECKOUT / "alice_repro/recipes/dmd2.toml").read_text().replace('"dmd2"', '"mine"', 1))
    plan = plan_what(str(own), "lab", "2xCPU", ("recipe.stages.0.updates=10",))
    assert any("training mine, dmd2: 10 updates" in line.work.name for line in plan.lines)
    own.write_text("name = 3")
    with pytest.raises(UserError, match="mine.toml"):
        plan_what(str(own), "lab")
    with pytest.raises(UserError, match="does not exist"):
        plan_what(str(tmp_path / "none.toml"), "lab")


def test_method_without_a_closed_form_is_counted(monkeypatch):
    from alice_repro.distill import calls

    stated = plan_what("dmd2", "lab", "2xCPU").evaluations
    monkeypatch.delitem(calls._FORMS, "dmd2")
    assert plan_what("dmd2", "lab", "2xCPU").evaluations == pytest.approx(stated)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("rmc", "lab"), "did you mean 'rcm'"),
        (("rcm", "labb"), "did you mean 'lab'"),
        (("rcm", "lab", "3xFoo"), "unknown GPU"),
        (("rcm", "lab", "", ("recipe.stages.0.update=1",)), "did you mean 'stages.0.updates'"),
        (("rcm", "lab", "", (), ("exakt",)), "did you mean 'exact'"),
        (("rcm", "lab", "", (), (), 0), "at least one"),
    ],
)
def test_bad_input_is_told(arguments, said):
    with pytest.raises(UserError, match=re.escape(said)):
        plan_what(*arguments)


@pytest.mark.parametrize("name", list(TABLES))
def test_generated_tables_are_fresh(name):
    markers, make = TABLES[name]
    text = (CHECKOUT / name).read_text()
    assert all(text.count(marker) == 1 for marker in markers)
    assert between(text, *markers) == make(), "run `make plan-readme`"


def test_readme_has_every_scale_and_target():
    assert set(MACHINES) == set(scale_names()) - {"smoke"}
    table = readme_table()
    for name in targets():
        assert table.count(f"`{name.removeprefix('reproduce-')}`") == len(MACHINES)


def test_tables_are_written_between_their_markers(tmp_path):
    (tmp_path / "docs").mkdir()
    for name, ((begin, end), _) in TABLES.items():
        (tmp_path / name).write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    assert update_readme(tmp_path).count("written again") == len(TABLES)
    assert update_readme(tmp_path).count("up to date") == len(TABLES)
    for name in TABLES:
        text = (tmp_path / name).read_text()
        assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    (tmp_path / "README.md").write_text("no markers")
    with pytest.raises(UserError, match="two markers"):
        update_readme(tmp_path)


def test_verb_is_quick_since_it_imports_no_torch():
    code = (
        "import sys; from alice_repro.cli import main; "
        "code = main(['plan', 'table4', '--scale', 'alice-14b', '--gpus', '64xH100']); "
        "print('heavy:', [name for name in ('torch', 'diffusers', 'pandas', 'matplotlib') if name in sys.modules]); "
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(CHECKOUT))
    assert done.returncode == 0, done.stderr
    assert "heavy: []" in done.stdout
    assert "DOES NOT FIT 80 GB" in done.stdout and "GPU-hours" in done.stdout


def test_verb_prints_json_claims_and_errors(capsys):
    from alice_repro.cli import main

    assert main(["plan", "rcm", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["hours"]["least"] < values["hours"]["most"] and values["fits"]
    assert values["network_evaluations"] > 3840 + 23760
    assert main(["plan", "rcm", "--scale", "alice-14b", "--gpus", "64xH100", "--claim", "alice.training"]) == 0
    assert "impossible on paper" in capsys.readouterr().out
    assert main(["plan", "--claim", "alice.generation", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "impossible on paper"
    assert main(["plan"]) == 2
    assert main(["plan", "rcm", "--gpus", "0xH100"]) == 2
    assert "at least one" in capsys.readouterr().err


def test_stage_weights_matter_to_a_plan():
    """Alice's Stage 1 has no score term: with one it costs more."""
    without = plan_what("rcm", "lab", "2xCPU")
    with_score = plan_what("rcm", "lab", "2xCPU", ("recipe.stages.0.score=1.0", "recipe.stages.0.critic_updates=2"))
    assert with_score.evaluations > without.evaluations
    assert load_recipe("rcm").stages[0].options["score"] == 0
