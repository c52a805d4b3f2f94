"""Which safetensors files make up one network: single files, shards with or without an index, variants beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from alice_repro.audit.checkpoints.tensors import CONVERT, PICKLES, Tensor, read_header
from alice_repro.errors import UserError
from alice_repro.files import read_json

INDEX = ".safetensors.index.json"
_SHARD = re.compile(r"(?P<stem>.*?)-?(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors")


@dataclass
class Opening:
    """How a checkpoint is being opened. partial: let missing parts pass, with a note; notes: what was left out.

    complete: false as soon as a part was found to be missing.
    """

    partial: bool = False
    notes: list[str] = field(default_factory=list)
    complete: bool = True

    def lacking(self, problem: str, fix: str) -> None:
        """Something is missing: an error, or a note if the user asked for what is there."""
        if not self.partial:
            raise UserError(f"{problem}: {fix}, or give --partial to compare what is there")
        self.notes.append(problem)
        self.complete = False


@dataclass(frozen=True)
class FileSet:
    """Files that hold one network's tensors together. stem: their common name; index: the JSON that lists them."""

    stem: str
    files: tuple[Path, ...]
    index: Path | None = None


def file_sets(folder: Path, opening: Opening) -> list[FileSet]:
    """The sets of safetensors files of a folder (not below it), sorted by stem; pickles beside them are noted.

    Raises:
        UserError: a shard that the index names, or the count in the others' names, is absent.
    """
    sets = []
    files = sorted(p for p in folder.iterdir() if p.suffix == ".safetensors")
    for index in sorted(folder.glob(f"*{INDEX}")):
        weights = read_index(index)
        named = sorted({folder / file for file in weights.values()})
        found = [file for file in named if file.is_file()]
        for file in named:
            if not file.is_file():
                opening.lacking(f"{file}: a shard that {index.name} names is missing", "fetch it")
        if found:
            sets.append(FileSet(index.name.removesuffix(INDEX), tuple(found), index))
        files = [file for file in files if file not in named]
    by_stem: dict[str, list[Path]] = {}
    for file in files:
        shard = _SHARD.fullmatch(file.name)
        if shard:
            by_stem.setdefault(f"{shard['stem']} of {shard['count']}", []).append(file)
        else:
            sets.append(FileSet(file.stem, (file,)))
    for shards in by_stem.values():
        sets.append(FileSet(_SHARD.fullmatch(shards[0].name)["stem"], tuple(shards)))
        _check_count(shards, opening)
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in PICKLES and p.is_file())
    if sets and pickles:
        opening.notes.append(f"{folder}: not read, because they are pickles: {', '.join(pickles)}")
    return sorted(sets, key=lambda one: one.stem)


def single_file(path: Path, opening: Opening) -> FileSet:
    """One file that the user named.

    Raises:
        UserError: it is one shard of several.
    """
    shard = _SHARD.fullmatch(path.name)
    if shard and int(shard["count"]) > 1:
        opening.lacking(f"{path} is one of {int(shard['count'])} shards", "name its folder")
    return FileSet(path.stem, (path,))


def read_set(files: FileSet, opening: Opening) -> dict[str, Tensor]:
    """The tensors of a set by stored name.

    Raises:
        UserError: a broken file; a tensor in two files, or not in the file that the index puts it in.
    """
    tensors: dict[str, Tensor] = {}
    for file in files.files:
        held, problems = read_header(file, opening.partial)
        opening.notes += problems
        opening.complete &= not problems
        for name, tensor in held.items():
            if name in tensors:
                raise UserError(
                    f"tensor {name!r} is in both {tensors[name].file} and {file.name}: "
                    "keep one, or name the file that is meant"
                )
            tensors[name] = tensor
    if files.index is not None:
        _check_index(files, tensors, opening)
    return tensors


def read_index(index: Path) -> dict[str, str]:
    """Tensor name -> file name, as an index states it.

    Raises:
        UserError: it has no weight_map of names, or one that leads out of its folder.
    """
    content = read_json(index)
    weights = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(file, str) for file in weights.values()):
        raise UserError(f"{index}: has no weight_map from tensors to files; fetch or write it again")
    for file in weights.values():
        if Path(file).name != file:
            raise UserError(f"{index}: names {file!r}, which is not a file beside it")
        if not file.endswith(".safetensors"):
            raise UserError(f"{index}: names {file!r}, which is not a safetensors file; {CONVERT}")
    return weights


def without_variants(sets: list[FileSet], opening: Opening) -> list[FileSet]:
    """Drop diffusers' variants (NAME.fp16 beside NAME): the same weights a second time."""
    stems = {one.stem for one in sets}
    kept = [one for one in sets if not any(one.stem.startswith(f"{stem}.") for stem in stems)]
    for one in sets:
        if one not in kept:
            opening.notes.append(f"{one.files[0]}: not read, a variant of files beside it; name it to compare it")
    return kept


def refuse_folder(folder: Path, known: Iterable[str] = ()) -> UserError:
    """The error for a folder without anything to read: says what is there instead."""
    pickles = sorted(p.name for p in folder.rglob("*") if p.suffix.lower() in PICKLES and p.is_file())
    below = sorted({p.parent.relative_to(folder).as_posix() for p in folder.rglob("*.safetensors")})
    if below:
        return UserError(f"{folder}: no layout that is known; name one of its folders: {', '.join(below[:12])}")
    if pickles:
        return UserError(
            f"{folder}: holds only pickles ({', '.join(pickles[:5])}), which can run code when they are opened and are "
            f"not read here; {CONVERT}"
        )
    return UserError(f"{folder}: nothing to read: no .safetensors file in it or below")


def _check_count(shards: list[Path], opening: Opening) -> None:
    match = _SHARD.fullmatch(shards[0].name)
    count, there = int(match["count"]), {int(_SHARD.fullmatch(s.name)["number"]) for s in shards}
    missing = sorted(set(range(1, count + 1)) - there)
    if missing:
        gone = ", ".join(f"{n:05}-of-{count:05}" for n in missing[:5]) + (" ..." if len(missing) > 5 else "")
        opening.lacking(f"{shards[0].parent}: of {count} shards, {gone} missing", "fetch what is missing")


def _check_index(files: FileSet, tensors: Mapping[str, Tensor], opening: Opening) -> None:
    weights = read_index(files.index)
    there = {file.name for file in files.files}
    for name, file in weights.items():
        tensor = tensors.get(name)
        if file in there and (tensor is None or tensor.file.name != file):
            held = f"; it is in {tensor.file.name}" if tensor else ""
            opening.lacking(f"{files.index}: puts tensor {name!r} in {file}, which lacks it{held}", "fetch both again")
    extra = sorted(set(tensors) - set(weights))
    if extra:
        opening.notes.append(f"{files.index}: does not list {len(extra)} tensors that its files hold ({extra[0]} ...)")
