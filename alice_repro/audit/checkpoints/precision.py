"""What a stored dtype can hold: rounding to it, the spacing of its values, and the coarsest dtype that values fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch


class Format(NamedTuple):
    """A binary floating-point format. label: in words; bits: of the fraction; smallest: exponent of normal numbers."""

    torch_name: str
    label: str
    bits: int
    smallest: int


# From fine to coarse. Fraction bits and smallest normal exponents: IEEE 754, bfloat16, and OCP FP8 (2023).
FORMATS: Mapping[str, Format] = {
    "F64": Format("float64", "fp64", 52, -1022),
    "F32": Format("float32", "fp32", 23, -126),
    "F16": Format("float16", "fp16", 10, -14),
    "BF16": Format("bfloat16", "bf16", 7, -126),
    "F8_E4M3": Format("float8_e4m3fn", "fp8 e4m3", 3, -6),
    "F8_E5M2": Format("float8_e5m2", "fp8 e5m2", 2, -14),
}
FEW = 1 << 12  # values that are tried first: most formats fail on them
CASTS = ("F16", "BF16", "F8_E4M3", "F8_E5M2")
# Rounded twice: now and then another neighbour than rounding once gives.
DOUBLE_CASTS = (
    ("F16", "BF16"),
    ("BF16", "F16"),
    ("BF16", "F8_E4M3"),
    ("F16", "F8_E4M3"),
    ("BF16", "F8_E5M2"),
    ("F16", "F8_E5M2"),
)


def cast(x: torch.Tensor, dtype: str) -> torch.Tensor:
    """Round `x` to a format and back to its own dtype, through fp32 as files are cast; overflow of e4m3 saturates."""
    import torch

    form = FORMATS[dtype]
    x32 = x.to(torch.float32)
    if dtype == "F8_E4M3":
        x32 = x32.clamp(-448.0, 448.0)
    elif dtype == "F8_E5M2":
        x32 = x32.clamp(-57344.0, 57344.0)
    return x32.to(getattr(torch, form.torch_name)).to(x.dtype) if dtype != "F64" else x


def spacing(x: torch.Tensor, dtype: str) -> torch.Tensor:
    """The distance between neighbours in the format at each value: 2^(exponent - fraction bits)."""
    import torch

    form = FORMATS.get(dtype, FORMATS["F32"])
    _, exponent = torch.frexp(x)  # x = f 2^exponent with f in [0.5, 1)
    exponent = (exponent - 1).clamp(min=form.smallest)
    return torch.ldexp(torch.ones_like(x), exponent - form.bits)


def stored(dtype: str) -> str:
    """The format of a stored dtype; integers are read as fp32."""
    return dtype if dtype in FORMATS else "F32"


def grain(x: torch.Tensor, dtype: str) -> str:
    """The coarsest format that holds every value exactly: a file's fp32 may carry values that went through bf16."""
    found = stored(dtype)
    order = list(FORMATS)
    few = x.flatten()[:FEW]
    for name in order[order.index(found) + 1 :]:
        if bool((cast(few, name) == few).all()) and bool((cast(x, name) == x).all()):
            found = name
    return found


def rounding_energy(x: torch.Tensor, dtype: str) -> float:
    """Expected sum of squares of rounding to the nearest: spacing^2 / 12 each; a value of 0 has next to none."""
    return float((spacing(x, dtype)[x != 0] ** 2).sum()) / 12.0
