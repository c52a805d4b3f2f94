"""Names of tensors: those of original Wan and of trainers, to diffusers' own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from alice_repro.audit.checkpoints.tensors import Tensor, renamed

# What trainers and wrappers put before every name; stripped as often as all the names have it.
PREFIXES = (
    "model.diffusion_model.", "diffusion_model.", "module.", "_orig_mod.", "_fsdp_wrapped_module.", "net_ema.", "net.",
    "generator_ema.", "generator.", "student.", "ema.", "model.", "transformer.", "dit.", "first_stage_model.", "vae.",
    "cond_stage_model.", "text_encoders.",
)  # fmt: skip
# What wrappers of activation checkpointing, compilation and sharding put into the middle of names.
_WITHIN = re.compile(r"(?<=\.)(_checkpoint_wrapped_module|_fsdp_wrapped_module|_orig_mod)\.")
_ORIGINAL = re.compile(r"(^|\.)blocks\.\d+\.(self_attn|cross_attn)\.")
_ORIGINAL_VAE = re.compile(r"(^|\.)(encoder|decoder)\.(downsamples|upsamples|middle)\.\d+\.")
_DIFFUSERS = re.compile(r"(^|\.)blocks\.\d+\.attn[12]\.")


def canonical_names(tensors: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """Tensors under diffusers' names, with the layout that their own names have.

    Returns:
        "diffusers", "original Wan", or "other"; tensors by canonical name. Names of no known layout stay as they
        are, without the prefixes. A name that two tensors would share stays as stored for the second.
    """
    plain = _stripped(tensors)
    if any(_ORIGINAL.search(name) for name in plain):
        return "original Wan", _converted(plain, "convert_wan_transformer_to_diffusers")
    if any(_ORIGINAL_VAE.search(name) for name in plain) and "conv1.weight" in plain:
        return "original Wan", _converted(plain, "convert_wan_vae_to_diffusers")
    layout = "diffusers" if any(_DIFFUSERS.search(name) for name in plain) else "other"
    return layout, {name: renamed(tensor, name) for name, tensor in plain.items()}


def _stripped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    names = {name: _WITHIN.sub("", name) for name in tensors}
    while True:
        prefix = next((p for p in PREFIXES if all(name.startswith(p) for name in names.values())), None)
        if prefix is None:
            break
        names = {stored: name.removeprefix(prefix) for stored, name in names.items()}
    if len(set(names.values())) < len(names):
        return dict(tensors)
    return {names[stored]: tensor for stored, tensor in tensors.items()}


def _converted(tensors: Mapping[str, Tensor], converter: str) -> dict[str, Tensor]:
    """Names through diffusers' own converter, which is run on tensors' places in the file instead of their values."""
    from diffusers.loaders import single_file_utils

    converted = getattr(single_file_utils, converter)({name: _Place(t) for name, t in tensors.items()})
    return {name: place.tensor(name) for name, place in converted.items()}


@dataclass(frozen=True)
class _Place:
    """Stands for a tensor in a converter: knows its shape, and can be cut along the first dimension."""

    stored: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stored.shape

    def __getitem__(self, key: Any) -> _Place:
        if isinstance(key, slice):  # half of a fused projection
            start, stop, _ = key.indices(self.stored.row_count)
            offset = self.stored.offset + start * self.stored.row_bytes
            return _Place(replace(self.stored, shape=(stop - start, *self.shape[1:]), offset=offset))
        if key == (0, slice(None), 0, 0) and self.stored.size == self.shape[1]:  # a bias with idle dimensions
            return _Place(replace(self.stored, shape=(self.shape[1],)))
        raise TypeError(f"a converter asks for part {key} of {self.stored.stored_name}")

    def tensor(self, name: str) -> Tensor:
        return renamed(self.stored, name)
