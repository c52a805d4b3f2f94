"""Sums over every value of a pair of tensors, in one pass over the files.

The bound is the memory's speed and not the arithmetic: values are widened into buffers that are kept from chunk to
chunk (fresh ones would be cleared page by page first), and numpy does what torch does slowly on booleans.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from alice_repro.audit.checkpoints.explanations import Explanation
from alice_repro.audit.checkpoints.matching import Pair
from alice_repro.audit.checkpoints.precision import cast
from alice_repro.audit.checkpoints.samples import plane
from alice_repro.audit.checkpoints.tensors import Tensor

if TYPE_CHECKING:
    import torch


@dataclass
class Sums:
    """Running totals over chunks.

    equal: values that are the same in both; zeroed: how many more are 0 in b; explained: that the formula gives; aa,
    bb, ab, dd: sums of products of a, b and d = b - a; rows: that hold a value that is not explained; columns: (n,)
    which ones do.
    """

    equal: int = 0
    zeroed: int = 0
    not_finite: int = 0
    explained: int = 0
    aa: float = 0.0
    bb: float = 0.0
    ab: float = 0.0
    dd: float = 0.0
    rows: int = 0
    columns: Any = None

    @property
    def columns_changed(self) -> int:
        """How many columns hold a value that is not explained."""
        return 0 if self.columns is None else int(np.count_nonzero(self.columns))


def stream(pair: Pair, anchors: Sequence[Tensor], explain: Callable[[], Explanation | None]) -> Sums:
    """Read both tensors once. explain: gives the formula whose values are counted, where the first bits differ."""
    sums, wide = Sums(), plane(pair.b.shape)[1]
    best, differ = None, False
    buffers: list[torch.Tensor] = []
    for start, stop in pair.b.chunks():
        stored = pair.rows(start, stop)
        if not buffers:
            buffers = [_empty(stored[0].numel()) for _ in range(3)]
        if stored[0].dtype == stored[1].dtype and _same_bits(*stored):
            (a,) = _wide(stored[:1], buffers)
            energy = float(a @ a)
            sums.aa, sums.ab, sums.bb = sums.aa + energy, sums.ab + energy, sums.bb + energy
            sums.equal, sums.explained = sums.equal + a.numel(), sums.explained + a.numel()
            continue
        if not differ:
            best, differ = explain(), True
        a, b = _wide(stored, buffers)
        matched = np.equal(a.numpy(), b.numpy()).reshape(-1, wide)
        sums.equal += int(np.count_nonzero(matched))
        if best is not None and best.kind != "identical":
            others = [pair.placed(anchor, start, stop).reshape(-1, wide) for anchor in anchors]
            matched |= _matches(best, a.reshape(-1, wide), b.reshape(-1, wide), others).numpy()
        sums.explained += int(np.count_nonzero(matched))
        missed = np.logical_not(matched, out=matched)
        sums.rows += int(np.count_nonzero(missed.any(1)))
        touched = missed.any(0)
        sums.columns = touched if sums.columns is None else sums.columns | touched
        _add(sums, a, b, buffers[2][: a.numel()])
    return sums


def _add(sums: Sums, a: torch.Tensor, b: torch.Tensor, d: torch.Tensor) -> None:
    """Sums of products and numbers of zeros; d: room for the difference."""
    import torch

    torch.sub(b, a, out=d)
    energy = float(d @ d)
    if not np.isfinite(energy):
        keep = torch.isfinite(d)
        sums.not_finite += int((~keep).sum())
        a, b, d = a[keep], b[keep], d[keep]
        energy = float(d @ d)
    here, common = float(a @ a), float(a @ d)
    sums.dd, sums.aa, sums.ab = sums.dd + energy, sums.aa + here, sums.ab + here + common
    sums.bb += float(b @ b)
    if zeros := int(np.count_nonzero(np.equal(b.numpy(), 0))):
        sums.zeroed += max(zeros - int(np.count_nonzero(np.equal(a.numpy(), 0))), 0)


def _wide(stored: Sequence[torch.Tensor], buffers: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Stored values, flat, as float32 in the buffers."""
    return [buffer[: part.numel()].copy_(part.reshape(-1)) for part, buffer in zip(stored, buffers, strict=False)]


def _empty(count: int) -> torch.Tensor:
    import torch

    return torch.empty(count, dtype=torch.float32)


def _matches(best: Explanation, a: torch.Tensor, b: torch.Tensor, anchors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Where the formula holds. One factor for all is tried in fp32 first, and only what it misses in fp64."""
    x, y = (b, a) if best.reverse else (a, b)
    if best.kind in ("cast", "pruned"):
        return best.matches(x, y, anchors)
    if "factor" in (best.numbers or {}):
        matched = cast(x * best.numbers["factor"], best.numbers["dtype"]) == y
        missed = ~matched
        matched[missed] = best.matches(x[missed].double(), y[missed].double(), ())
        return matched
    return best.matches(x.double(), y.double(), [c.double() for c in anchors])


def _same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    import torch

    return torch.equal(a.flatten().view(torch.uint8), b.flatten().view(torch.uint8)) if a.numel() else True
