"""Facts that the limits of the hardware are computed from: models, timed runs, training budgets, GPUs.

Quantities that a paper prints are references to them (ids or cells, see `expressions`), never typed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from alice_repro.files import read_toml
from alice_repro.papers.checks import Malformed, check_keys, numbers, references
from alice_repro.papers.expressions import Node

_HARDWARE = Path(__file__).parent / "hardware.toml"


@dataclass(frozen=True)
class Gpu:
    """A GPU: memory in GB (10^9 bytes), bandwidth in GB/s, peaks: precision -> dense TFLOP/s."""

    id: str
    name: str
    memory: float
    bandwidth: float
    peaks: Mapping[str, float]
    source: str


@dataclass(frozen=True)
class Model:
    """A transformer as someone states it; 0 or () where the source is silent.

    layers, hidden, heads, mlp (inner width): of the blocks; patch: (frames, height, width) in latent cells;
    stride: pixels per latent cell likewise; text_tokens: length of the cross-attended text; experts: networks
    of this size, of which one is active; parameters: reference to the printed count; basis: "stated" by the
    document, or "public" (the public config of a model that the document names); like: id of the model whose
    kind of block the document says that it shares, "" if it says nothing.
    """

    id: str
    name: str
    place: str
    basis: str
    layers: int = 0
    hidden: int = 0
    heads: int = 0
    mlp: int = 0
    latent_channels: int = 0
    patch: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    text_tokens: int = 0
    experts: int = 1
    parameters: Node | None = None
    like: str = ""


@dataclass(frozen=True)
class Timing:
    """A timed generation: `steps` sampling steps of `model` for one clip took `seconds`.

    gpus: ids that the text admits, () if it names none; frames: every admissible reading of the clip's
    length; evaluations: network evaluations a step under every admissible reading of guidance; half_rate:
    how many of the steps run on half the frames; precision: as the text states it for this run, "" if it does not.
    """

    id: str
    model: str
    place: str
    gpus: tuple[str, ...]
    width: int
    height: int
    frames: tuple[int, ...]
    steps: Node
    seconds: Node
    evaluations: tuple[int, ...] = (1,)
    half_rate: int = 0
    precision: str = ""


@dataclass(frozen=True)
class Stage:
    """A part of a budget: `steps` updates on `batch` clips of this size; batch 1 and steps = clips for sampling.

    frames: readings; evaluations: the least forward passes a clip and step (a backward pass counts as two).
    """

    steps: Node
    batch: Node
    width: int
    height: int
    frames: tuple[int, ...]
    evaluations: float


@dataclass(frozen=True)
class Budget:
    """GPU-hours that a document states for `stages`, on one of `gpus`; precision: as stated, "" if it is not."""

    id: str
    model: str
    place: str
    gpus: tuple[str, ...]
    hours: Node
    stages: tuple[Stage, ...]
    precision: str = ""


@dataclass(frozen=True)
class Overhead:
    """The printed cost of a forward-mode derivative of `model` on such a clip, in forward passes (`ratio`).

    frames: readings; quote: the sentence.
    """

    id: str
    model: str
    place: str
    quote: str
    ratio: Node
    width: int
    height: int
    frames: tuple[int, ...]


@cache
def gpus() -> Mapping[str, Gpu]:
    """The GPUs of hardware.toml by id, for example "h100-sxm-80gb"."""
    return {key: Gpu(key, **entry) for key, entry in read_toml(_HARDWARE).items()}


def read_model(raw: dict[str, Any], where: str) -> Model:
    """Check a [[model]] entry."""
    sizes = dict.fromkeys(("layers", "hidden", "heads", "mlp", "latent_channels", "text_tokens", "experts"), int)
    lists = {"patch": list, "stride": list}
    required = {"id": str, "name": str, "place": str, "basis": str}
    fields = check_keys(raw, where, required, sizes | lists | {"parameters": str, "like": str})
    if fields["basis"] not in ("stated", "public"):
        raise Malformed(f"{where}.basis", f"{fields['basis']!r} is neither 'stated' nor 'public'")
    fields |= {key: numbers(fields[key], f"{where}.{key}") for key in lists if key in fields}
    return Model(**fields | references(fields, where, "parameters"))


def read_timing(raw: dict[str, Any], where: str) -> Timing:
    """Check a [[timing]] entry."""
    required = {"id": str, "model": str, "place": str, "gpus": list, "width": int, "height": int, "frames": list}
    fields = check_keys(
        raw, where, required | {"steps": str, "seconds": str}, {"evaluations": list, "half_rate": int, "precision": str}
    )
    fields |= {key: numbers(fields[key], f"{where}.{key}") for key in ("frames", "evaluations") if key in fields}
    return Timing(**fields | {"gpus": _known_gpus(fields, where)} | references(fields, where, "steps", "seconds"))


def read_budget(raw: dict[str, Any], where: str) -> Budget:
    """Check a [[budget]] entry."""
    required = {"id": str, "model": str, "place": str, "gpus": list, "hours": str, "stages": list}
    fields = check_keys(raw, where, required, {"precision": str})
    stages = tuple(_stage(stage, f"{where}.stages[{i}]") for i, stage in enumerate(fields["stages"]))
    fields |= {"gpus": _known_gpus(fields, where), "stages": stages}
    return Budget(**fields | references(fields, where, "hours"))


def read_overhead(raw: dict[str, Any], where: str) -> Overhead:
    """Check an [[overhead]] entry."""
    required = {"id": str, "model": str, "place": str, "quote": str, "ratio": str, "width": int, "height": int}
    fields = check_keys(raw, where, required | {"frames": list}, {})
    fields["frames"] = numbers(fields["frames"], f"{where}.frames")
    return Overhead(**fields | references(fields, where, "ratio"))


def _stage(raw: Any, where: str) -> Stage:
    sizes = {"width": int, "height": int, "frames": list, "evaluations": int | float}
    fields = check_keys(raw, where, {"steps": str, "batch": str} | sizes, {})
    fields["frames"] = numbers(fields["frames"], f"{where}.frames")
    return Stage(**fields | references(fields, where, "steps", "batch"))


def _known_gpus(fields: dict[str, Any], where: str) -> tuple[str, ...]:
    for gpu in fields["gpus"]:
        if gpu not in gpus():
            raise Malformed(f"{where}.gpus", f"unknown {gpu!r}; known: {', '.join(gpus())}")
    return tuple(fields["gpus"])
