"""What was set to 0 before something was added: single values, the smallest ones, or whole rows and columns.

Setting a value to 0 instead of leaving it takes a^2 - 2ab from the squared difference (b - a)^2. Whatever B has on top
of an unpruned A, these gains are negative but for chance; of pruned values they are positive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SOME = 0.005  # of the values at least, and
MOST = 0.8  # of them at most: a B that has little in common with A "loses" nearly all;
MOST_KNOWN = 0.95  # of those that are 0 in b or the smallest in a, which tell pruning apart
GAIN = 0.25  # share of the energy of b - a that it must take
SIDE = 16  # in fewer values of a row or column, noise alone may look like it
SORTED = 1 << 15  # values that are sorted to find a threshold
BETWEEN = 0.2  # of the fewer of both heaps may lie between them
EMPTY = 0.25  # of a row's energy may still point along a


def kept(a: torch.Tensor, b: torch.Tensor) -> tuple[str, torch.Tensor] | None:
    """Which values of a (rows, n) were not set to 0, boolean, and in words which were; None if none were."""
    energy = float(((b - a) ** 2).sum())
    gains = a * a - 2 * a * b
    masks = [("here and there", MOST_KNOWN, lambda: b != 0)]
    if min(a.shape) >= SIDE:
        masks += [
            ("the smallest", MOST_KNOWN, lambda: _large(a, gains)),
            ("whole rows", MOST, lambda: ~_empty(a, gains, 1)),
            ("whole columns", MOST, lambda: ~_empty(a, gains, 0)),
            ("here and there", MOST, lambda: _apart(a, b)),
        ]
    for what, most, masked in masks:
        mask = masked()
        gone = ~mask & (a != 0)
        share, gain = float(gone.double().mean()), float(gains[gone].sum())
        if SOME <= share <= most and gain >= GAIN * energy:
            return what, mask
    return None


def _large(a: torch.Tensor, gains: torch.Tensor) -> torch.Tensor:
    """Where |a| is above the threshold under which setting to 0 gains most, as some of the values tell it."""
    import torch

    every = max(1, a.numel() // SORTED)
    sizes, order = a.abs().flatten()[::every].sort()
    total = gains.flatten()[::every][order].cumsum(0)
    best = int(total.argmax())
    return a.abs() > sizes[best] if float(total[best]) > 0 else torch.ones_like(a, dtype=torch.bool)


def _apart(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Where b is nearer to a than to 0, if its large values are either the one or the other and hardly ever between."""
    import torch

    ratio = torch.where(a != 0, b / a, 1.0)
    large = ratio[a.abs() > (a * a).mean().sqrt()]
    low, high = int((large < 0.25).sum()), int((large > 0.75).sum())
    between = len(large) - low - high
    parted = low >= SIDE and between <= BETWEEN * min(low, high)
    return ratio > 0.5 if parted else torch.ones_like(a, dtype=torch.bool)


def _empty(a: torch.Tensor, gains: torch.Tensor, axis: int) -> torch.Tensor:
    """Rows (axis 1) or columns (axis 0) in which b has next to nothing of a, broadcast to the shape of a."""
    return (gains.sum(axis, keepdim=True) > (1 - 2 * EMPTY) * (a * a).sum(axis, keepdim=True)).expand_as(a)
