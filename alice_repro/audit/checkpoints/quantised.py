"""Companions of quantised tensors, where a public convention says what they mean: value = stored * scale.

Conventions (suffixes of the tensor and of its scale; the scale is one number, one a row, or one a block):
ComfyUI `.weight`, `.scale_weight`; compressed-tensors and LightX2V `.weight`, `.weight_scale`; DeepSeek `.weight`,
`.weight_scale_inv` (a factor, despite its name, for blocks of 128 x 128); optimum-quanto `.weight._data`,
`.weight._scale`; bitsandbytes' int8 `.weight`, `.SCB` (the largest magnitude of a row, which is stored as 127).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from alice_repro.audit.checkpoints.tensors import Scale, Tensor

QUANTISED = ("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I8")
_BLOCK = 128
# suffix of the scale -> (suffix of the tensor, suffix of its name without quantisation, factor, whose)
_CONVENTIONS = {
    ".scale_weight": (".weight", ".weight", 1.0, "ComfyUI"),
    ".weight_scale": (".weight", ".weight", 1.0, "compressed-tensors"),
    ".weight_scale_inv": (".weight", ".weight", 1.0, "DeepSeek"),
    ".weight._scale": (".weight._data", ".weight", 1.0, "optimum-quanto"),
    ".SCB": (".weight", ".weight", 1.0 / 127.0, "bitsandbytes"),
}
# Scales of what a layer gets at run time, markers, and descriptions of a format: no part of the weights.
_BESIDE = (".scale_input", ".input_scale", "._input_scale", "._output_scale", ".input_scale._data", ".output_scale",
           ".comfy_quant", ".weight_format", "scaled_fp8")  # fmt: skip


def with_scales(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors by stored name without the companions, which become scales of theirs; and notes on what was seen."""
    found: dict[str, tuple[str, Scale]] = {}
    used: set[str] = set()
    unknown = []
    for name, tensor in tensors.items():
        for suffix, (of, plain, factor, convention) in _CONVENTIONS.items():
            owner = tensors.get(name.removesuffix(suffix) + of) if name.endswith(suffix) else None
            if owner is None or owner.dtype not in QUANTISED:
                continue
            block = _block_of(owner, tensor)
            if block is None:
                unknown.append(f"{name} {tensor.shape} of {owner.stored_name} {owner.shape}")
                continue
            scale = Scale(tensor, factor, block, convention)
            found[owner.stored_name] = (name.removesuffix(suffix) + plain, scale)
            used.add(name)
    beside = [name for name in tensors if name.endswith(_BESIDE) and name not in used]
    named = {}
    for name, tensor in tensors.items():
        if name in used or name in beside:
            continue
        plain, scale = found.get(name, (name, None))
        named[plain] = replace(tensor, name=plain, scale=scale)
    return named, _notes(named, beside, unknown)


def _block_of(owner: Tensor, scale: Tensor) -> tuple[int, ...] | None:
    """() for one scale, or one a row; the block's sides for a 2-D grid of scales; None if it fits neither."""
    if scale.size in (1, owner.row_count) and (scale.size == 1 or scale.row_count == owner.row_count):
        return ()
    if len(owner.shape) == 2 and scale.shape == tuple(-(-side // _BLOCK) for side in owner.shape):
        return _BLOCK, _BLOCK
    if len(owner.shape) == 2 == len(scale.shape) and all(
        small and side % small == 0 for side, small in zip(owner.shape, scale.shape, strict=True)
    ):
        return tuple(side // small for side, small in zip(owner.shape, scale.shape, strict=True))
    return None


def _notes(named: Mapping[str, Tensor], beside: list[str], unknown: list[str]) -> list[str]:
    notes = []
    scaled: dict[str, int] = {}
    for tensor in named.values():
        if tensor.scale:
            key = f"{tensor.dtype} with scales in the way of {tensor.scale.convention}"
            scaled[key] = scaled.get(key, 0) + 1
    notes += [f"{count} tensors are {what}, and are read multiplied by them" for what, count in scaled.items()]
    bare = [t for t in named.values() if t.dtype in QUANTISED and t.scale is None]
    if bare:
        kinds = ", ".join(sorted({t.dtype for t in bare}))
        notes.append(f"{len(bare)} tensors are stored as {kinds} without a scale that is known: read as they are")
    if beside:
        notes.append(f"{len(beside)} tensors hold scales of activations or markers ({beside[0]} ...): not weights")
    if unknown:
        notes.append(f"{len(unknown)} scales fit no known convention ({unknown[0]} ...): compared as they are stored")
    return notes
