"""One student by one method, and the benchmark of methods: names of recipes, and that both run."""

from __future__ import annotations

import pandas as pd
import pytest

from alice_repro.distill.registry import methods
from alice_repro.errors import UserError
from alice_repro.workflow import bench
from alice_repro.workflow import distil as distilling
from alice_repro.workflow.distil import distil, methods_of, recipe_for


def test_every_method_has_a_recipe_in_the_lab_and_one_to_be_tested_by():
    assert set(methods_of("lab")) == set(methods_of("smoke")) == set(methods())


@pytest.mark.parametrize(
    "method, scale, recipe",
    [("dfd", "lab", "dfd"), ("dfd", "smoke", "dfd_smoke"), ("rcm", "wan-1.3b", "rcm_wan_1.3b")],
)
def test_recipes_are_named_after_method_and_scale(method, scale, recipe):
    assert recipe_for(method, scale) == recipe


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("dfdd", "lab", "trained", 0, "teacher"), "did you mean 'dfd'.*recipes of scale lab"),
        (
            ("dfd", "wan-14b", "trained", 0, "teacher"),
            r"no recipe for scale wan-14b: write alice_repro/recipes/dfd_wan_14b.toml \(there are: rcm\)",
        ),
        (("dfd", "smoke", "trainde", 0, "teacher"), "did you mean 'trained'"),
        (("dfd", "smoke", "trained", 0, "claen"), "did you mean 'clean'"),
        (("dfd", "smoke", "trained", 0, "clean", ["recipe.gan_weigth=1"]), "did you mean 'gan_weight'"),
    ],
)
def test_what_cannot_be_done_is_told_before_any_work(arguments, message, tmp_path):
    with pytest.raises(UserError, match=message):
        distil(*arguments, root=tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.slow
def test_the_benchmark_prints_a_row_a_method(monkeypatch, capsys):
    monkeypatch.setattr(bench, "methods_of", lambda _: ["regression"])
    bench.bench_methods("smoke", updates=3)
    row = capsys.readouterr().out.splitlines()[1].split()
    assert row[0] == "regression" and float(row[1]) > 0 and (row[3], row[4]) == ("1.0", "1.0")


def test_a_benchmark_of_one_update_is_refused():
    with pytest.raises(UserError, match="2 or more updates"):
        bench.bench_methods("smoke", updates=1)


def test_a_run_is_made_again_where_it_is_wanted_or_gone(tmp_path, monkeypatch):
    """What Snakemake is asked for holds the run itself, which otherwise is no matter once its scores are there."""
    asked = []

    def build(graph, targets, cores):
        run = graph.layout.run("trained", "dfd_smoke", 0)
        asked.append((targets, run.exists()))
        run.mkdir(parents=True, exist_ok=True)
        scores = graph.layout.scores("trained", "dfd_smoke-seed0")
        scores.parent.mkdir(parents=True, exist_ok=True)
        columns = {
            "video": "a.mp4",
            "caption": "a",
            "prompt_id": 0,
            "seed": 0,
            "arm": "dfd_smoke",
            "run": 0,
            "endpoint": 1.0,
        }
        pd.DataFrame([columns]).to_csv(scores, index=False)
        return 1

    monkeypatch.setattr(distilling, "build", build)
    for again in (False, False, True):
        distil("dfd", "smoke", "trained", 0, "teacher", again=again, root=tmp_path)
    wanted = ["runs/trained/dfd_smoke/seed0/manifest.json", "scores/trained/dfd_smoke-seed0.csv"]
    assert asked == [(wanted, False), (wanted, True), (wanted, False)]
