"""Comparing methods: runs that the ledger lacks are made by the workflow, kept there, and reported by a notebook.

The ledger, results/reference/<scale>/methods, is committed: a comparison that was stopped, here or on another machine,
goes on from what is there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from alice_repro.config import UNTRAINED, load_comparison
from alice_repro.errors import UserError, unknown_name
from alice_repro.progress import log
from alice_repro.reporting.ledger import Run, entry_of, has_run, has_teacher, teacher_entry
from alice_repro.reporting.methods import FOLDER, write_page
from alice_repro.workflow.graph import NOTEBOOKS
from alice_repro.workflow.layout import CHECKOUT, Layout, ledger_of
from alice_repro.workflow.notebook import run_notebook
from alice_repro.workflow.reference import SUFFIX
from alice_repro.workflow.reproduce import build, plan


def add_runs(
    scale: str,
    arms: Sequence[str],
    teachers: Sequence[str],
    seeds: Sequence[int],
    settings: Sequence[str] = (),
    cores: int | None = None,
    root: Path = CHECKOUT,
) -> list[Run]:
    """Train, sample and measure what the ledger lacks, seed by seed, and keep it there.

    Args:
        arms: of the scale's comparison; all of them if none is named.

    Raises:
        UserError: an unknown arm, or settings: those of a comparison are in its file, the same for everyone.
    """
    if settings:
        raise UserError("a comparison takes no settings: give it an arm of its own in alice_repro/comparisons")
    known = load_comparison(scale).arms
    for arm in arms:
        if arm not in known:
            raise unknown_name("arm", arm, known)
    chosen = {arm: known[arm] for arm in arms or known}
    kept, made = ledger_of(scale, root), []
    for seed in seeds:
        graph = plan(scale, variants=chosen, teachers=teachers, seeds=(seed,), folder=scale + SUFFIX, root=root)
        runs = [Run(teacher, arm, seed) for teacher in graph.teachers for arm in graph.variants]
        lacking = [run for run in runs if not has_run(kept, run, *graph.resolve(run.arm))]
        wanted = [
            teacher_entry(kept, teacher, arm)
            for teacher in graph.teachers
            for arm in UNTRAINED
            if not has_teacher(kept, teacher, arm, graph.scale)
        ] + [entry_of(kept, run) for run in lacking]
        if wanted:
            build(graph, [graph.relative(path) for path in wanted], cores, comparison=True)
        else:
            log(f"seed {seed}: {len(runs)} runs are in the ledger")
        made += lacking
    return made


def report(scale: str, root: Path = CHECKOUT) -> None:
    """Execute the notebook on what the ledger holds: it writes tables and figures; then put them on a page beside the
    ledger and say where they lie.
    """
    layout = Layout(scale, root)
    parameters = {
        "scale": scale,
        "reference": os.path.relpath(ledger_of(scale, root).parent, root),
        "results": os.path.relpath(layout.results, root),
        "figures": os.path.relpath(layout.figures, root),
    }
    run_notebook(
        NOTEBOOKS / "pipeline" / "compare.ipynb", layout.results / "notebooks" / "compare.ipynb", parameters, cwd=root
    )
    page = write_page(layout.results, layout.figures, ledger_of(scale, root))
    places = {
        "Page": page,
        "Tables": f"{layout.results / FOLDER}/ (equal_updates, equal_evaluations, speed, agreement, claims)",
        "Figures": f"{layout.figures / FOLDER}/",
        "Notebook": f"{layout.results}/notebooks/compare.ipynb (as executed)",
        "Ledger": f"{ledger_of(scale, root)}/ (a run: json, scores, curve)",
    }
    for name, place in places.items():
        print(f"{name:<10}{os.path.relpath(place)}")
