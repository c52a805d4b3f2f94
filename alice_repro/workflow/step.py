"""One step of the workflow: `python -m alice_repro.workflow.step GRAPH.json STAGE [WILDCARD ...]`, mostly a notebook.

Snakemake calls this. A failure is left beside the graph's file, for `reproduce` to tell.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alice_repro.errors import UserError
from alice_repro.files import read_json
from alice_repro.workflow.graph import NOTEBOOKS, Graph
from alice_repro.workflow.layout import parse_arm, parse_data
from alice_repro.workflow.notebook import run_notebook

FAILURES = "failures.jsonl"


def main(arguments: list[str]) -> int:
    """Run a step; returns the exit code: 2 for a user's error, 1 for any other."""
    file, stage, *wildcards = arguments
    os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")  # of libraries, to their own developers
    graph = Graph.of(read_json(file))
    try:
        if stage in _NOTEBOOKS:
            notebook, name, parameters = _NOTEBOOKS[stage](graph, *wildcards)
            output = graph.layout.results / "notebooks" / f"{name}.ipynb"
            with _alone(output):
                run_notebook(NOTEBOOKS / notebook, output, parameters, cwd=graph.root)
        else:
            from alice_repro.workflow.keep import STEPS  # brings torch, which the process of a notebook does without

            STEPS[stage](graph, *wildcards)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        code = error.exit_code if isinstance(error, UserError) else 1
        message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        row = {"step": " ".join([stage, *wildcards]), "message": message, "exit_code": code}
        with Path(file).with_name(FAILURES).open("a") as failures:
            failures.write(json.dumps(row) + "\n")
        return code
    return 0


def data_step(graph: Graph, name: str) -> tuple[str, str, dict[str, Any]]:
    """Notebook, name of the executed copy, and parameters of the step that makes training clips."""
    teacher, _ = parse_data(name)
    variant = next(each for each in graph.variants if graph.data_of(teacher, each) == name)
    parameters = _common(graph, variant) | {"teacher": teacher, "output": _inside(graph, graph.layout.data(name))}
    return "pipeline/data.ipynb", f"data-{name}", parameters


def train_step(graph: Graph, teacher: str, recipe: str, seed: str) -> tuple[str, str, dict[str, Any]]:
    """The same of a training run."""
    parameters = _common(graph, recipe) | {
        "teacher": teacher,
        "seed": int(seed),
        "samples": _inside(graph, graph.layout.data(graph.data_of(teacher, recipe))),
        "output": _inside(graph, graph.layout.run(teacher, recipe, int(seed))),
    }
    return "pipeline/train.ipynb", f"train-{teacher}-{recipe}-seed{seed}", parameters


def sample_step(graph: Graph, teacher: str, arm: str) -> tuple[str, str, dict[str, Any]]:
    """The same of the videos of an arm."""
    student, parsed = graph.layout.student(teacher, arm), parse_arm(arm)
    parameters = _common(graph, parsed.recipe if parsed else None) | {
        "teacher": teacher,
        "arm": arm,
        "student": "" if student is None else _inside(graph, student),
        "output": _inside(graph, graph.layout.videos(teacher, arm)),
    }
    return "pipeline/sample.ipynb", f"sample-{teacher}-{arm}", parameters


def evaluate_step(graph: Graph, teacher: str, arm: str) -> tuple[str, str, dict[str, Any]]:
    """The same of the scores of an arm."""
    parameters = {
        "videos": _inside(graph, graph.layout.videos(teacher, arm)),
        "world": graph.scale.prompts.source == "world",
        "output": _inside(graph, graph.layout.scores(teacher, arm)),
    }
    return "pipeline/evaluate.ipynb", f"evaluate-{teacher}-{arm}", parameters


def table_step(graph: Graph) -> tuple[str, str, dict[str, Any]]:
    """The same of Table 4, Figure 1 and the report. Scores of its recipe of other settings are taken away first."""
    wanted = {graph.layout.scores(teacher, arm) for teacher, arm in graph.arms()}
    for path in (graph.layout.results / "scores").glob("*/*.csv"):
        student = parse_arm(path.stem)
        if path not in wanted and (student is None or student.recipe in graph.variants):
            path.unlink()
    parameters = {
        "scale": graph.scale_name,
        "settings": list(graph.settings),
        "results": _inside(graph, graph.layout.results),
        "figures": _inside(graph, graph.layout.figures),
        "reference": _inside(graph, graph.reference / graph.scale_name),
    }
    return "alice/main_results.ipynb", "main_results", parameters


_NOTEBOOKS = {
    "data": data_step,
    "train": train_step,
    "sample": sample_step,
    "evaluate": evaluate_step,
    "table04": table_step,
}


def _common(graph: Graph, variant: str | None) -> dict[str, Any]:
    """What a person would type: the scale, and the settings (of a variant, if the step knows one)."""
    settings = graph.settings if variant is None else graph.settings_of(variant)
    return {"scale": graph.scale_name, "settings": list(settings)}


def _inside(graph: Graph, path: Path) -> str:
    """A path relative to the kernel's working directory, so that the executed copy reads the same on every machine."""
    return os.path.relpath(path.resolve(), graph.root.resolve())


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Wait until no other process is at this step: one may have outlived a workflow that was killed."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
