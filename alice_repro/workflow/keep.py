"""The workflow's last steps of a comparison: what was measured is kept in the committed ledger."""

from __future__ import annotations

from alice_repro.reporting.ledger import Run, keep_run, keep_teacher
from alice_repro.workflow.graph import Graph
from alice_repro.workflow.layout import students_of
from alice_repro.workflow.stages import agreement_along_paths


def keep_run_step(graph: Graph, teacher: str, variant: str, seed: str) -> None:
    """Keep a finished run whose students have been scored, with its student's agreement along the teacher's paths."""
    run = Run(teacher, variant, int(seed))
    scale, recipe = graph.resolve(variant)
    student = graph.layout.run(teacher, variant, run.seed) / "student"
    found = {"agreement": agreement_along_paths(scale, teacher, student)}
    keep_run(graph.ledger, run, graph.layout.results, students_of(variant, recipe, run.seed), found)


def keep_teacher_step(graph: Graph, teacher: str, arm: str) -> None:
    """Keep the scores of an arm without training."""
    keep_teacher(graph.ledger, teacher, arm, graph.scale, graph.layout.results)


STEPS = {"keep_run": keep_run_step, "keep_teacher": keep_teacher_step}
