"""The committed record: several runs with each teacher, built by the workflow apart from fresh results, then copied."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from alice_repro.errors import UserError
from alice_repro.files import atomic_path
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
    """Train, sample and measure the given runs, skipping what is there, and copy what the record keeps.

    Returns:
        The files of the record that were written.

    Raises:
        UserError: see `plan` and `build`.
    """
    graph = plan(scale, settings, teachers=teachers, seeds=seeds, folder=scale + SUFFIX, root=root)
    build(graph, [f"scores/{teacher}/{arm}.csv" for teacher, arm in graph.arms()], cores)
    return copy_record(graph)


def copy_record(graph: Graph) -> list[Path]:
    """Copy scores, and the manifests of scores, videos and runs, to the committed record of the scale."""
    source, target = graph.layout, Layout(f"reference/{graph.scale_name}", graph.root)
    files: set[tuple[Path, Path]] = set()
    for teacher, arm in graph.arms():
        files.add((source.scores(teacher, arm), target.scores(teacher, arm)))
        folders = [(source.scores(teacher, arm).parent, target.scores(teacher, arm).parent)]
        folders.append((source.videos(teacher, arm), target.videos(teacher, arm)))
        if student := parse_arm(arm):
            run = (teacher, student.recipe, student.seed)
            folders.append((source.run(*run), target.run(*run)))
            files.add((source.run(*run) / "log.jsonl", target.run(*run) / "log.jsonl"))
        files |= {(old / "manifest.json", new / "manifest.json") for old, new in folders}
    for old, new in sorted(files):
        if not old.is_file():
            raise UserError(f"{old} is missing: the record is not complete")
        new.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(new) as temporary:
            shutil.copyfile(old, temporary)
    return sorted(new for _, new in files)
