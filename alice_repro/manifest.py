"""Manifests: what made an artefact, from what, and the checksums that prove it is still the same.

One `manifest.json` lies in each folder of artefacts. It maps the name of an artefact to its entry: "." is
the folder as a whole, any other name a single file in it (table04.csv beside table04.md).
"""

from __future__ import annotations

import fcntl
import functools
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from alice_repro.errors import UserError
from alice_repro.files import files_under, read_json, sha256_file, sha256_folder, write_json

MANIFEST = "manifest.json"
SCHEMA = 1
WHOLE = "."
# The packages whose version can change a result.
PACKAGES = (
    "alice-repro accelerate av diffusers matplotlib numpy opencv-python-headless pandas papermill pillow "
    "plotly pyarrow pymunk safetensors scipy snakemake tokenizers torch torchvision transformers"
).split()


def write_manifest(
    target: str | Path | Sequence[str | Path],
    *,
    inputs: Mapping[str, str | Path] | None = None,
    config: Mapping[str, Any] | None = None,
    seeds: Mapping[str, int] | None = None,
    extra: Mapping[str, Any] | None = None,
    started: float,
) -> Path:
    """Write the manifest entry of a finished folder, file, or several files of one folder.

    Args:
        target: folder (all its files are listed), or one or more files of the same folder (one entry each).
        inputs: name -> file or folder that the artefact was made from.
        config: the resolved configuration.
        seeds: name -> seed.
        extra: what else is worth keeping (network evaluations, updates, endpoint ...).
        started: `time.time()` at the start of the work.

    Returns:
        The path of the manifest.json.

    Raises:
        UserError: a target or input does not exist, or a value is not finite.
    """
    targets = [Path(target)] if isinstance(target, str | Path) else [Path(t) for t in target]
    common = {
        "inputs": {name: _describe_input(Path(path)) for name, path in (inputs or {}).items()},
        "config": dict(config or {}),
        "seeds": dict(seeds or {}),
        "extra": dict(extra or {}),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "wall_seconds": round(time.time() - started, 3),
        "command": _command(),
        "git": git_state(),
        **environment(),
    }
    if len(targets) == 1 and targets[0].is_dir():
        folder = targets[0]
        outputs = {name: sha256_file(file) for name, file in files_under(folder) if file.name != MANIFEST}
        entries = {WHOLE: {"outputs": outputs, **common}}
    else:
        folder = targets[0].parent
        if any(t.parent != folder for t in targets):
            raise ValueError("the files of one manifest must lie in one folder")
        entries = {t.name: {"outputs": {t.name: sha256_file(t)}, **common} for t in targets}
    path = folder / MANIFEST
    with _locked(folder):
        # A new whole replaces every entry; a single file leaves the other files' entries alone.
        older = _load(path) if path.exists() and WHOLE not in entries else {}
        write_json(path, {"schema": SCHEMA, "artefacts": dict(sorted((older | entries).items()))})
    return path


def read_manifest(target: str | Path) -> dict[str, Any]:
    """Return the entry of a folder or of a file; a file may be covered by the entry of its folder.

    Raises:
        UserError: there is no manifest, or it has no entry for `target`.
    """
    target = Path(target)
    if target.is_dir():
        folder, name = target, WHOLE
    else:
        folder, name = target.parent, target.name
    artefacts = _load(folder / MANIFEST)
    if name in artefacts:
        return artefacts[name]
    if name in artefacts.get(WHOLE, {}).get("outputs", {}):
        return artefacts[WHOLE]
    raise UserError(f"{folder / MANIFEST}: no entry for {target}; it has {', '.join(artefacts) or 'none'}")


def verify_manifest(folder: str | Path) -> list[str]:
    """Compare a folder with its manifest; return one line per mismatch, none if all is as recorded.

    Found are: no or a damaged manifest, a missing file, a changed file and, where the folder is recorded as
    a whole, a file that the manifest does not know.
    """
    folder = Path(folder)
    try:
        artefacts = _load(folder / MANIFEST)
    except UserError as error:
        return [str(error)]
    problems = []
    for entry in artefacts.values():
        for name, expected in entry["outputs"].items():
            if not (folder / name).is_file():
                problems.append(f"{folder / name}: missing")
            elif sha256_file(folder / name) != expected:
                problems.append(f"{folder / name}: changed since the manifest was written")
    if WHOLE in artefacts:
        known = {name for entry in artefacts.values() for name in entry["outputs"]}
        present = {name for name, file in files_under(folder) if file.name != MANIFEST}
        problems += [f"{folder / name}: not in the manifest" for name in sorted(present - known)]
    return problems


def environment() -> dict[str, Any]:
    """Return package versions, Python, device and platform. Never imports torch on its own account."""
    return {
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "python": platform.python_version(),
        "device": _device(),
        "platform": platform.platform(),
    }


@functools.cache
def git_state() -> dict[str, Any] | None:
    """Return {"commit", "dirty"} of the checkout this package runs from; None outside git."""
    here = Path(__file__).resolve()

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parent.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # An installed copy may lie inside some other repository: count only one that tracks this file.
        git("ls-files", "--error-unmatch", str(here))
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def _load(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA or "artefacts" not in content:
        raise UserError(f"{path}: not a manifest of schema {SCHEMA}")
    return content["artefacts"]


def _describe_input(path: Path) -> dict[str, str]:
    digest = sha256_folder(path) if path.is_dir() else sha256_file(path)
    return {"path": portable(path), "sha256": digest}


def portable(path: Path) -> str:
    """Name a path without the machine's own folders where that can be done."""
    for root in (Path.cwd(), Path(__file__).resolve().parent.parent):
        if path.resolve().is_relative_to(root.resolve()):
            return path.resolve().relative_to(root.resolve()).as_posix()
    return path.as_posix()


def _command() -> str:
    """Return the command line; inside a notebook kernel, the one that the runner left in the environment."""
    return os.environ.get("ALICE_REPRO_COMMAND") or shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _device() -> str:
    torch = sys.modules.get("torch")  # only a process that computes with torch has a device to report
    if torch is not None and torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return f"cpu, {os.cpu_count()} cores"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep two processes that finish at once from losing each other's entry."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
