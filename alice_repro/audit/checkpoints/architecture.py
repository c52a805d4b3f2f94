"""The architecture that the tensors of a network imply, beside what its config.json and the papers state.

Widths, depths and inner widths are sides of matrices. The number of heads is not: all heads of Wan's attention are rows
of one matrix, and its norms are as wide as the whole. It comes from the config alone, except where a norm is as wide as
one head. A printed number of parameters must round to the count, or be a nominal size good to `NOMINAL` (see
`limits_size`); it is compared with each network, for all experts together are never one model's active size.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from alice_repro.audit.checkpoints.layouts import HIGH, LOW, Checkpoint, Network
from alice_repro.audit.checkpoints.matching import block_of
from alice_repro.audit.findings import Record
from alice_repro.audit.interval import Interval, may_hold
from alice_repro.audit.limits_size import NOMINAL
from alice_repro.audit.stated import stated
from alice_repro.papers import Model, Paper

# What is compared -> the config's keys (diffusers', original Wan's), and the record's name of the quantity.
_CONFIG = {
    "layers": ("num_layers",), "hidden": ("dim", "hidden_size"), "heads": ("num_attention_heads", "num_heads"),
    "mlp": ("ffn_dim",), "latent_channels": ("in_channels", "in_dim"), "out_channels": ("out_channels", "out_dim"),
    "patch": ("patch_size",), "text_width": ("text_dim",), "time_width": ("freq_dim",),
}  # fmt: skip
_ABOUT = {"layers": "architecture.blocks", "hidden": "architecture.hidden", "heads": "architecture.heads",
          "mlp": "architecture.mlp"}  # fmt: skip
WORDS = {
    "layers": "blocks", "hidden": "width", "heads": "heads", "mlp": "MLP", "latent_channels": "latent channels",
    "out_channels": "output channels", "patch": "patch", "text_width": "text width", "time_width": "time width",
    "parameters": "parameters", "experts": "experts",
}  # fmt: skip
HEADS_UNTOLD = "shapes alone do not tell the number of heads"


@dataclass(frozen=True)
class Architecture:
    """Sizes of one network; None where its tensors do not tell.

    head_width: of one head, where a norm of queries is as wide as that; dtypes: safetensors' name -> parameters.
    """

    network: str
    parameters: int
    tensors: int
    dtypes: Mapping[str, int]
    layers: int | None = None
    hidden: int | None = None
    heads: int | None = None
    mlp: int | None = None
    latent_channels: int | None = None
    out_channels: int | None = None
    patch: tuple[int, ...] | None = None
    text_width: int | None = None
    time_width: int | None = None
    gated: bool = False
    image_attention: bool = False


@dataclass(frozen=True)
class Comparison:
    """One stated size against the tensors'. agrees: None if the tensors do not tell; by: what `found` comes from."""

    network: str
    field: str
    stated: str
    found: str
    agrees: bool | None
    by: str = "tensors"
    quote: str = ""


@dataclass(frozen=True)
class Statement:
    """What one source states of one architecture, compared. source: config.json, or a document's id."""

    source: str
    model: str
    place: str
    comparisons: tuple[Comparison, ...]

    @property
    def fits(self) -> bool:
        """Whether something could be compared and nothing disagrees."""
        told = [c.agrees for c in self.comparisons if c.agrees is not None]
        return bool(told) and all(told)

    @property
    def disagreements(self) -> tuple[Comparison, ...]:
        return tuple(c for c in self.comparisons if c.agrees is False)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self) | {"fits": self.fits}


def architecture_of(network: Network) -> Architecture:
    """Sizes from the shapes of a network's tensors, under diffusers' names."""
    shapes = {name: tensor.shape for name, tensor in network.tensors.items()}
    first = {name.split(".", 2)[-1]: s for name, s in reversed(shapes.items()) if block_of(name)}
    blocks = Counter(stack for stack, _ in {b for b in map(block_of, shapes) if b})
    patch = shapes.get("patch_embedding.weight", ())
    query, inner, norm = (
        first.get(key, ()) for key in ("attn1.to_q.weight", "ffn.net.0.proj.weight", "attn1.norm_q.weight")
    )
    hidden = patch[0] if patch else query[0] if query else None
    outer = first.get("ffn.net.2.weight", ())
    cells = math.prod(patch[2:]) if len(patch) > 2 else None
    end = shapes.get("proj_out.weight", ())
    return Architecture(
        network=network.name,
        parameters=network.size,
        tensors=len(shapes),
        dtypes=_dtypes(network),
        layers=blocks.get("blocks") or (max(blocks.values()) if blocks else None),
        hidden=hidden,
        heads=query[0] // norm[0] if query and norm and norm[0] < query[0] else None,
        mlp=outer[1] if outer else inner[0] if inner else None,
        latent_channels=patch[1] if len(patch) > 2 else None,
        out_channels=end[0] // cells if end and cells and end[0] % cells == 0 else None,
        patch=tuple(patch[2:]) or None,
        text_width=_side(shapes, "condition_embedder.text_embedder.linear_1.weight"),
        time_width=_side(shapes, "condition_embedder.time_embedder.linear_1.weight"),
        gated=bool(inner and outer and inner[0] == 2 * outer[1]),
        image_attention="attn2.add_k_proj.weight" in first,
    )


def compare_config(network: Network, found: Architecture) -> Statement | None:
    """The config.json beside a network's files against its tensors; None without a config of a transformer."""
    config = network.config
    if not config or network.name not in (HIGH, LOW):
        return None
    values = {name: next((config[k] for k in keys if k in config), None) for name, keys in _CONFIG.items()}
    if values["hidden"] is None and values["heads"] and config.get("attention_head_dim"):
        values["hidden"] = values["heads"] * config["attention_head_dim"]
    lines = []
    for name, value in values.items():
        if value is None:
            continue
        told = getattr(found, name)
        value = tuple(value) if isinstance(value, list) else value
        if name == "heads" and told is None and isinstance(value, int) and value and found.hidden:
            whole = found.hidden % value == 0
            text = f"{found.hidden} / {value} = {found.hidden / value:g} a head; {HEADS_UNTOLD}"
            lines.append(Comparison(network.name, name, str(value), text, None if whole else False))
        else:
            lines.append(
                Comparison(network.name, name, str(value), _text(told), None if told is None else told == value)
            )
    return Statement("config.json", str(config.get("_class_name") or config.get("model_type") or ""), "", tuple(lines))


def compare_stated(checkpoint: Checkpoint, records: Sequence[Record]) -> tuple[Statement, ...]:
    """Every architecture that the documents state against the checkpoint's transformers."""
    networks = [checkpoint.networks[name] for name in (HIGH, LOW) if name in checkpoint.networks]
    if not networks:
        return ()
    found = [architecture_of(network) for network in networks]
    heads = [_config_heads(network) for network in networks]
    return tuple(
        Statement(document.id, model.name, model.place, tuple(_compared(record, document, model, found, heads)))
        for record in records
        for document in record.documents
        for model in document.models
        if model.layers or model.hidden
    )


def experts(checkpoint: Checkpoint) -> int:
    """Number of transformers among which the noise level chooses: 1 or 2."""
    return sum(name in checkpoint.networks for name in (HIGH, LOW))


def _compared(
    record: Record, document: Paper, model: Model, found: Sequence[Architecture], heads: Sequence[int | None]
) -> Iterator[Comparison]:
    if model.experts > 1:
        yield Comparison("", "experts", str(model.experts), str(len(found)), model.experts == len(found), "files")
    for one, of_config in zip(found, heads, strict=True):
        for name in ("layers", "hidden", "heads", "mlp", "latent_channels", "patch"):
            value, told, by = getattr(model, name), getattr(one, name), "tensors"
            if not value:
                continue
            if name == "heads" and told is None:
                told, by = of_config, "config.json"
            agrees = None if told is None else tuple(value) == told if name == "patch" else value == told
            text = HEADS_UNTOLD if name == "heads" and told is None else _text(told)
            quote = _quote(document, model, name)
            yield Comparison(one.network, name, str(value), text, agrees, by, quote)
        if model.parameters is not None:
            facts = stated(record, document, model.parameters)
            printed, count = facts.interval(model.parameters), float(one.parameters)
            near = Interval(count * (1 - NOMINAL), count * (1 + NOMINAL))
            agrees = may_hold(count, "=", printed) or may_hold(near, "=", printed)
            text, quote = f"{one.parameters:,}", facts.quote(model.parameters)
            yield Comparison(one.network, "parameters", facts.shown(model.parameters), text, agrees, "tensors", quote)


def _quote(document: Paper, model: Model, name: str) -> str:
    """The sentence of the model's place that states this size, "" if the record has none."""
    about = _ABOUT.get(name)
    return next((q.quote for q in document.quantities if about and q.about == about and q.place == model.place), "")


def _config_heads(network: Network) -> int | None:
    value = next((network.config[k] for k in _CONFIG["heads"] if k in (network.config or {})), None)
    return value if isinstance(value, int) else None


def _dtypes(network: Network) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for tensor in network.tensors.values():
        counts[tensor.dtype] += tensor.size
    return dict(counts.most_common())


def _side(shapes: Mapping[str, tuple[int, ...]], name: str) -> int | None:
    return shapes[name][1] if len(shapes.get(name, ())) == 2 else None


def _text(value: object) -> str:
    return "not told by the tensors" if value is None else str(value)
