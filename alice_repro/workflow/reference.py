"""The committed record: several runs with each teacher, built by the workflow apart from fresh results, then copied."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from alice_repro.errors import UserError
from alice_repro.files import atomic_path
from alice_repro.reporting.main_results import calibrate_record
from alice_repro.workflow.graph import Graph
from alice_repro.workflow.layout import CHECKOUT, Layout, parse_arm
from alice_repro.workflow.reproduce import build, plan

SUFFIX = "-record"  # results/lab-record: runs for the record are never mixed with a fresh run


def add_runs(
    scale: str,
    teachers: Sequence[str],
    seeds: Sequence[int],
    settings: Sequence[str] = (),
    cores: int | None = None,
    root: Path = CHECKOUT,
) -> list[Path]:
    """Train, sample and measure the given runs, skipping what is there; copy what the record keeps, calibrate on it.

    Returns:
        The files of the record that were written.

    Raises:
        UserError: see `plan` and `build`.
    """
    graph = plan(scale, settings, teachers=teachers, seeds=seeds, folder=scale + SUFFIX, root=root)
    build(graph, [f"scores/{teacher}/{arm}.csv" for teacher, arm in graph.arms()], cores)
    written = copy_record(graph)
    return written + calibrate_record(scale, Layout(f"reference/{scale}", root).results)


def copy_record(graph: Graph) -> list[Path]:
    """Copy to the committed record: scores, training logs, manifests, contact sheets of teachers and run 0."""
    source, target = graph.layout, Layout(f"reference/{graph.scale_name}", graph.root)
    files: set[tuple[Path, Path]] = set()
    for teacher, arm in graph.arms():
        student = parse_arm(arm)
        files.add((source.scores(teacher, arm), target.scores(teacher, arm)))
        folders = [(source.scores(teacher, arm).parent, target.scores(teacher, arm).parent)]
        folders.append((source.videos(teacher, arm), target.videos(teacher, arm)))
        if student:
            run = (teacher, student.recipe, student.seed)
            folders.append((source.run(*run), target.run(*run)))
            files.add((source.run(*run) / "log.jsonl", target.run(*run) / "log.jsonl"))
        if student is None or (student.seed, student.update) == (0, None):
            sheet = "contact_sheet.png"
            files.add((source.videos(teacher, arm) / sheet, target.videos(teacher, arm) / sheet))
        files |= {(old / "manifest.json", new / "manifest.json") for old, new in folders}
    for old, new in sorted(files):
        if not old.is_file():
            raise UserError(f"{old} is missing: the record is not complete")
        new.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(new) as temporary:
            shutil.copyfile(old, temporary)
    return sorted(new for _, new in files)
