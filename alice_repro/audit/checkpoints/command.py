"""What `alice-repro audit checkpoint A B` does: open, compare, print, write the page and the numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from alice_repro.audit.checkpoints.compare import Comparison, compare
from alice_repro.audit.checkpoints.layouts import open_checkpoint
from alice_repro.audit.run import load_records
from alice_repro.files import atomic_write_text, write_json

OUTPUT = Path("results/audit")


def run(
    a: Path,
    b: Path,
    others: Sequence[Path] = (),
    networks: Sequence[str] = (),
    against: Sequence[str] = (),
    partial: bool = False,
    as_json: bool = False,
    out: Path | None = None,
    workers: int | None = None,
) -> Comparison:
    """Compare checkpoint `b` with `a` and report.

    Raises:
        UserError: a path that cannot be read as a checkpoint, nothing to compare, an unknown network or paper.
    """
    import torch

    records = load_records(against)
    opened = [open_checkpoint(path, partial) for path in (a, b, *others)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # pairs are measured side by side instead
    try:
        comparison = compare(opened[0], opened[1], opened[2:], networks, records, workers)
    finally:
        torch.set_num_threads(threads)
    if as_json:
        print(json.dumps(comparison.to_dict(), indent=2, ensure_ascii=False, allow_nan=False))
    written = write(comparison, out or OUTPUT) if out or not as_json else ()
    if not as_json:
        from alice_repro.audit.checkpoints.summary import print_comparison

        print_comparison(comparison, written, bool(against))
    return comparison


def write(comparison: Comparison, folder: Path) -> tuple[Path, Path]:
    """Write checkpoint-A-B.html and .json; returns their paths."""
    from alice_repro.audit.checkpoints.page import render

    name = _name(comparison)
    page, numbers = folder / f"{name}.html", folder / f"{name}.json"
    atomic_write_text(page, render(comparison))
    write_json(numbers, comparison.to_dict())
    return page, numbers


def _name(comparison: Comparison) -> str:
    """Both checkpoints' names, with their folders' where the names alone are the same."""
    paths = [comparison.a.path.resolve(), comparison.b.path.resolve()]
    names = [path.name.removesuffix(".safetensors") for path in paths]
    if names[0] == names[1]:
        names = [f"{path.parent.name}-{name}" for path, name in zip(paths, names, strict=True)]
    return re.sub(r"[^\w.-]+", "_", "-".join(("checkpoint", *names)))
