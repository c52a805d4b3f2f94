"""Opening a checkpoint: which networks a folder or file holds, under canonical names, whatever its layout.

Layouts: a diffusers pipeline (model_index.json and a folder a part); one diffusers component (config.json and its
weights); original Wan (the same files with Wan's own tensor names; two experts in high_noise_model/ and
low_noise_model/, as Wan2.2-A14B and Alice are released); plain safetensors files under any names, with the prefixes
that trainers write. The high-noise expert is diffusers' `transformer`, the low-noise one `transformer_2`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alice_repro.audit.checkpoints.files import (
    INDEX,
    FileSet,
    Opening,
    file_sets,
    read_set,
    refuse_folder,
    single_file,
    without_variants,
)
from alice_repro.audit.checkpoints.keymaps import canonical_names
from alice_repro.audit.checkpoints.quantised import with_scales
from alice_repro.audit.checkpoints.tensors import PICKLES, Tensor, refuse_pickle
from alice_repro.errors import UserError, nearest
from alice_repro.files import read_json

HIGH, LOW = "transformer", "transformer_2"
_EXPERT_FOLDERS = {"high_noise_model": HIGH, "low_noise_model": LOW}
_EXPERT_IN_NAME = {HIGH: re.compile(r"high[-_]?noise", re.I), LOW: re.compile(r"low[-_]?noise", re.I)}
_CLASSES = {"vae": re.compile("Autoencoder"), "text_encoder": re.compile("Encoder(Model)?$|T5")}

__all__ = ["HIGH", "LOW", "Checkpoint", "Network", "Tensor", "open_checkpoint"]


@dataclass(frozen=True)
class Network:
    """The tensors of one network by canonical name. config: its config.json, if there is one.

    layout: whose names its file has: "diffusers", "original Wan", "other"; complete: false if shards were missing or
    files cut short.
    """

    name: str
    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any] | None = None
    layout: str = "diffusers"
    complete: bool = True

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(tensor.size for tensor in self.tensors.values())

    @property
    def byte_count(self) -> int:
        """Bytes in the files."""
        return sum(tensor.byte_count for tensor in self.tensors.values())


@dataclass(frozen=True)
class Checkpoint:
    """What a path holds. notes: what was seen and not read, for the user."""

    path: Path
    layout: str
    networks: Mapping[str, Network]
    notes: tuple[str, ...] = ()


def open_checkpoint(path: str | Path, partial: bool = False) -> Checkpoint:
    """Read the headers of a checkpoint; no tensor is read yet.

    Args:
        partial: of a checkpoint with missing shards or truncated files, take what is there, with a note.

    Raises:
        UserError: nothing there, nothing to read, a pickle, a broken or truncated file, a missing shard.
    """
    path = Path(path)
    if not path.exists():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = nearest(path.name, siblings)
        raise UserError(f"{path}: no such file or folder" + (f"; did you mean {near!r}?" if near else ""))
    opening = Opening(partial)
    layout, networks = _open_folder(path, opening) if path.is_dir() else _open_file(path, opening)
    return Checkpoint(path, layout, networks, tuple(opening.notes))


def _open_file(path: Path, opening: Opening) -> tuple[str, dict[str, Network]]:
    if path.name.endswith(INDEX):
        sets = [one for one in file_sets(path.parent, opening) if one.index == path]
        if not sets:
            raise refuse_folder(path.parent)
        return _component(sets, path.parent, opening)
    if path.suffix != ".safetensors":
        with open(path, "rb") as stream:
            refuse_pickle(path, stream.read(8))
        raise UserError(f"{path}: not a .safetensors file; other formats are not read here")
    return _component([single_file(path, opening)], path.parent, opening)


def _open_folder(folder: Path, opening: Opening) -> tuple[str, dict[str, Network]]:
    if (folder / "model_index.json").is_file():
        return "diffusers pipeline", _pipeline(folder, opening)
    experts = {name: folder / sub for sub, name in _EXPERT_FOLDERS.items() if (folder / sub).is_dir()}
    if experts:
        for sub, name in _EXPERT_FOLDERS.items():
            if name not in experts:
                opening.lacking(
                    f"{folder / sub}: one of two experts is missing", "fetch it, or name the other's folder"
                )
        return "two experts in folders", {name: _only_network(name, sub, opening) for name, sub in experts.items()}
    sets = file_sets(folder, opening)
    if sets:
        return _component(without_variants(sets, opening), folder, opening)
    parts = [name for name in (HIGH, LOW) if (folder / name).is_dir()]
    if parts:
        opening.notes.append(f"{folder}: has no model_index.json; taken for a pipeline by its folders")
        return "diffusers pipeline", {name: _only_network(name, folder / name, opening) for name in parts}
    raise refuse_folder(folder)


def _pipeline(folder: Path, opening: Opening) -> dict[str, Network]:
    """Networks of a pipeline: the parts that have weights. A transformer that is listed must be there."""
    index = read_json(folder / "model_index.json")
    if not isinstance(index, dict):
        raise UserError(f"{folder / 'model_index.json'}: is not a table of parts")
    networks = {}
    for part, entry in index.items():
        if not isinstance(entry, list) or not entry or entry[0] is None:
            continue
        holds = (folder / part).is_dir() and any((folder / part).glob("*.safetensors*"))
        if holds:
            networks[part] = _only_network(part, folder / part, opening)
        elif part in (HIGH, LOW):
            pickled = (folder / part).is_dir() and any(p.suffix in PICKLES for p in (folder / part).iterdir())
            if pickled:
                raise refuse_folder(folder / part)
            opening.lacking(f"{folder / part}: named by model_index.json, and without weights", "fetch it")
        elif (folder / part).is_dir() and any(p.suffix in PICKLES for p in (folder / part).iterdir()):
            opening.notes.append(f"{folder / part}: not read, its weights are pickles")
    if not networks:
        raise refuse_folder(folder)
    return networks


def _only_network(name: str, folder: Path, opening: Opening) -> Network:
    """The one network of a part's folder, under the part's name."""
    sets = without_variants(file_sets(folder, opening), opening)
    if not sets:
        raise refuse_folder(folder)
    tensors: dict[str, Tensor] = {}
    for one in sets:
        tensors |= read_set(one, opening)
    return _network(name, tensors, _config(folder), opening)


def _component(sets: list[FileSet], folder: Path, opening: Opening) -> tuple[str, dict[str, Network]]:
    """Files of one folder: two experts by their files' names, or one network, or several under prefixes."""
    config = _config(folder)
    by_expert: dict[str, list[FileSet]] = {}
    for one in sets:
        found = [name for name, pattern in _EXPERT_IN_NAME.items() if pattern.search(one.stem)]
        by_expert.setdefault(found[0] if len(found) == 1 else "", []).append(one)
    if set(by_expert) == {HIGH, LOW}:
        networks = {name: _network(name, _read_all(by_expert[name], opening), config, opening) for name in (HIGH, LOW)}
        return "two experts in files", networks
    tensors = _read_all(sets, opening)
    parts = _by_prefix(tensors)
    if len(parts) == 1:
        name = _name_of(folder, config, next(iter(by_expert)))
        network = _network(name, next(iter(parts.values())), config, opening)
        return f"{network.layout} names" if config is None else f"{network.layout} component", {name: network}
    return "several networks in one file", {
        name: _network(name, held, config if name == HIGH else None, opening) for name, held in parts.items()
    }


def _read_all(sets: list[FileSet], opening: Opening) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for one in sets:
        held = read_set(one, opening)
        for name in held.keys() & tensors.keys():
            raise UserError(
                f"tensor {name!r} is in both {tensors[name].file} and {held[name].file.name}: "
                "name the file that is meant"
            )
        tensors |= held
    return tensors


# What stands before the names of a whole network in files of several: single-file checkpoints, trainers' averages.
_PARTS = {
    "model.diffusion_model.": HIGH, "first_stage_model.": "vae", "vae.": "vae", "text_encoders.": "text_encoder",
    "cond_stage_model.": "text_encoder", "net_ema.": "transformer_ema", "ema.": "transformer_ema",
    "generator_ema.": "transformer_ema", "net.": HIGH, "generator.": HIGH, "module.": HIGH, "model.": HIGH,
    "diffusion_model.": HIGH, "transformer.": HIGH, "dit.": HIGH, "_orig_mod.": HIGH,
}  # fmt: skip


def _by_prefix(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Networks of one file by the prefixes of its names; one network if not all names have a known prefix."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        part = next((part for prefix, part in _PARTS.items() if name.startswith(prefix)), None)
        if part is None:
            return {HIGH: dict(tensors)}
        parts.setdefault(part, {})[name] = tensor
    return parts


def _network(name: str, tensors: Mapping[str, Tensor], config: Any, opening: Opening) -> Network:
    """A network under canonical names; companions of quantised tensors become their scales."""
    if not tensors:
        raise UserError(f"network {name!r}: its files hold no tensor")
    weights, notes = with_scales(tensors)
    opening.notes += notes
    layout, named = canonical_names(weights)
    return Network(name, named, config, layout, opening.complete)


def _name_of(folder: Path, config: Mapping[str, Any] | None, expert: str) -> str:
    """What a network by itself is: an expert by its file's or folder's name, else by its config's class."""
    if expert or folder.name in _EXPERT_FOLDERS:
        return expert or _EXPERT_FOLDERS[folder.name]
    kind = str((config or {}).get("_class_name") or (config or {}).get("architectures", ""))
    if "Transformer" in kind or not kind:
        return LOW if folder.name == LOW else HIGH
    return next((name for name, pattern in _CLASSES.items() if pattern.search(kind.strip("[]'"))), HIGH)


def _config(folder: Path) -> Mapping[str, Any] | None:
    path = folder / "config.json"
    content = read_json(path) if path.is_file() else None
    return content if isinstance(content, dict) else None
