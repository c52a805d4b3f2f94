"""Files that are whole or absent: atomic writes, checksums, strict JSON and TOML."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import secrets
import shutil
import socket
import tomllib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alice_repro.errors import UserError, nearest

TEMPORARY_PREFIX = ".tmp-"


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; move it onto `target` if the block succeeds.

    The temporary name ends in the target's name, so writers that look at the suffix behave. The file is
    flushed to disk before the rename; on any error it is removed and an older `target` stays as it was.

    Raises:
        UserError: the disk is full, or the block wrote nothing.
    """
    target = Path(target)
    temporary = _temporary(target)
    try:
        with _explain_full_disk(target):
            yield temporary
            if not temporary.exists():
                raise UserError(f"{target}: nothing was written")
            _fsync(temporary)
            os.replace(temporary, target)
            _fsync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: str | Path) -> Iterator[Path]:
    """Yield a new empty folder beside `target`; move it onto `target` if the block succeeds.

    An older `target` is set aside before the move and deleted after it, so the final name never holds a
    mixture. A kill between the two renames leaves the final name absent: never half, but the older
    folder is then gone too. What must survive a kill (training checkpoints) takes a new name each time.

    Raises:
        UserError: the disk is full.
    """
    target = Path(target)
    temporary = _temporary(target)
    older = _temporary(target)
    try:
        with _explain_full_disk(target):
            temporary.mkdir()
            yield temporary
            for path in temporary.rglob("*"):
                _fsync(path)
            if target.exists():
                os.replace(target, older)
            try:
                os.replace(temporary, target)
            except BaseException:
                if older.exists():
                    os.replace(older, target)
                raise
            _fsync(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _remove(older)


def atomic_write_text(target: str | Path, text: str) -> None:
    """Write `text` as UTF-8 to `target`, whole or not at all."""
    atomic_write_bytes(target, text.encode("utf-8"))


def atomic_write_bytes(target: str | Path, content: bytes) -> None:
    """Write `content` to `target`, whole or not at all."""
    with atomic_path(target) as path:
        path.write_bytes(content)


def write_csv(target: str | Path, table: Any) -> None:
    """Write a data frame as CSV without its index, lines ending in a line feed, whole or not at all."""
    with atomic_path(target) as path:
        table.to_csv(path, index=False, lineterminator="\n")


def write_json(target: str | Path, value: Any) -> None:
    """Write `value` as strict JSON (paths, dataclasses, sets and numpy scalars are converted).

    Raises:
        UserError: a number in `value` is not finite, for which JSON has no word.
    """
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    except ValueError as error:
        raise UserError(f"{target}: not written, a value in it is not finite ({error})") from error
    atomic_write_text(target, text + "\n")


def read_json(path: str | Path) -> Any:
    """Read strict JSON; a missing or damaged file is a UserError that names it."""
    try:
        return json.loads(_read_text(path), parse_constant=_refuse_constant)
    except ValueError as error:
        raise UserError(f"{path}: malformed JSON: {error}") from error


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read TOML; a missing or malformed file is a UserError that names the file and the line."""
    try:
        return tomllib.loads(_read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: malformed TOML: {error}") from error


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error


def sha256_folder(path: str | Path, ignore: Collection[str] = ("manifest.json",)) -> str:
    """Return one SHA-256 for a folder: its sorted relative names with the contents.

    Files whose name is in `ignore` do not count (a manifest holds times, which differ from run to run),
    nor do leftovers of writes that were killed.
    """
    digest = hashlib.sha256()
    for name, file in files_under(path):
        if file.name not in ignore:
            digest.update(f"{name}\0{sha256_file(file)}\n".encode())
    return digest.hexdigest()


def files_under(path: str | Path) -> list[tuple[str, Path]]:
    """Return (relative POSIX name, path) of each whole file below a folder, sorted by name."""
    root = Path(path)
    if not root.is_dir():
        raise UserError(f"{path}: no such folder")
    names = [file.relative_to(root) for file in root.rglob("*") if file.is_file()]
    whole = [n for n in names if not any(part.startswith(TEMPORARY_PREFIX) for part in n.parts)]
    return sorted((name.as_posix(), root / name) for name in whole)


def _temporary(target: Path) -> Path:
    """Choose a temporary path beside `target`, and clear those that a killed process left for it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    here = f"{TEMPORARY_PREFIX}{socket.gethostname()}-"
    for stale in target.parent.iterdir():
        if stale.name.startswith(here) and stale.name.endswith(f"={target.name}"):
            pid = stale.name.removeprefix(here).split("-")[0]
            if pid.isdigit() and not _alive(int(pid)):
                _remove(stale)
    return target.parent / f"{here}{os.getpid()}-{secrets.token_hex(4)}={target.name}"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explain_full_disk(target: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Compiled writers (safetensors, FFmpeg) wrap the system's error in one of their own.
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        if not full and "No space left on device" not in str(error):
            raise
        free = shutil.disk_usage(target.parent).free
        raise UserError(
            f"{target}: the disk is full ({free / 2**20:,.0f} MiB free on it); free some space and run again"
        ) from error


def _read_text(path: str | Path) -> str:
    path = Path(path)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = nearest(path.name, siblings)
        raise UserError(f"{path}: no such file" + (f"; did you mean {near!r}?" if near else "")) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error})") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return Path(value).as_posix()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    if getattr(value, "ndim", None) == 0:  # a numpy scalar or a tensor of one value
        return value.item()
    raise TypeError(f"cannot write a {type(value).__name__} as JSON")
