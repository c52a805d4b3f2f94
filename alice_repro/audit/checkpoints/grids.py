"""Quantised and back: values of one tensor that lie on a grid of a few levels, each the level nearest to the other's.

A symmetric integer grid has the step max|b| / 127 (8 bits) or / 7 (4 bits); an asymmetric one with an integer zero
point has (max b - min b) / 255 or / 15, or one step more or less, and also passes through 0. A scale is shared by a
tensor, by a row (an output channel), or by a group of neighbours in a row. Scaled fp8 values have at most 8 (e4m3) or
4 (e5m2) different mantissas, whatever the scale, because rounding does not depend on the power of two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alice_repro.audit.checkpoints.precision import FORMATS, spacing

if TYPE_CHECKING:
    import torch

GROUPS = (16, 32, 64, 128, 256)
SHARE = 0.999  # of the values that can tell must lie on the grid, and of all values be the nearest level
TELLING = 64  # values whose own spacing is far below the step; fewer cannot tell a grid from chance (0.26^64)
SEEN = 1 << 17  # values, in whole rows, on which a grid is looked for
FEW = 1 << 12  # values that are tried first
MOST = 300  # levels on either side of 0, and a margin: 8 bits give 255
FINE = 8.0  # "far below": the step is at least so many spacings of the stored dtype
# (by the range, divisor, bits), the coarser first: some finer ones contain them
_LEVELS = ((False, 7.0, 4), (False, 8.0, 4), (True, 15.0, 4), (False, 127.0, 8), (False, 128.0, 8), (True, 255.0, 8))
_AROUND = (0.0, -1.0, 1.0)  # steps more: a zero point that is rounded may leave a level out at the end, or add one


@dataclass(frozen=True)
class Grid:
    """A grid that values lie on. what: "int8", "int4", "fp8 e4m3", "fp8 e5m2"; per: "tensor", "row", "group of 64".

    divisor: the step is max|b| / divisor, or the range / divisor where `ranged`; step: of a tensor-wide grid.
    """

    what: str
    per: str
    divisor: float = 0.0
    ranged: bool = False
    group: int = 0
    step: float = 0.0

    @property
    def label(self) -> str:
        return f"{self.what}, a scale per {self.per}"

    def nearest(self, fine: torch.Tensor, b: torch.Tensor, dtype: str) -> torch.Tensor:
        """Where b (rows, n) lies on the grid and is the level nearest to `fine`: boolean."""
        if self.what.startswith("fp8"):
            bits = 3 if self.what.endswith("e4m3") else 2
            least = b.abs()[b != 0].min() if bool((b != 0).any()) else 0.0
            return (fine - b).abs() <= 1.02 * (2.0 ** -(bits + 1) * b.abs() + least / 2) + spacing(b, dtype)
        step = self.steps(b)
        error = spacing(b, dtype)
        off = (b - step * (b / step).round()).abs()
        on = (off <= _slack(b, step, error, dtype)) | (error * FINE > step)
        near = (fine - b).abs() <= step * (0.5 + 2.0**-7) + 1.05 * error
        if self.ranged:
            near |= self._clipped(fine, b, step, error)
        return (on & near) | (fine == b)

    def _clipped(self, fine: torch.Tensor, b: torch.Tensor, step: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        """Where b is the last level and `fine` up to a step beyond it: a zero point that was rounded moves the ends."""
        grouped = b.reshape(len(b), -1, self.group or b.shape[1])
        low, high = (x.repeat_interleave(grouped.shape[2], 1) for x in (grouped.amin(-1), grouped.amax(-1)))
        beyond = ((b <= low + error) & (fine < b)) | ((b >= high - error) & (fine > b))
        return beyond & ((fine - b).abs() <= step + 1.05 * error)

    def steps(self, b: torch.Tensor) -> torch.Tensor:
        """The step at each value of b (rows, n), broadcastable."""
        import torch

        if self.what.startswith("fp8"):
            return b.abs() * 2.0 ** -(3 if self.what.endswith("e4m3") else 2)
        if self.step:
            return torch.tensor(self.step, dtype=b.dtype)
        grouped = b.reshape(len(b), -1, self.group or b.shape[1])
        if self.ranged:
            step = self._around(grouped)
        else:
            step = (grouped.abs().amax(-1) / self.divisor).clamp(min=1e-30)
        return step.repeat_interleave(grouped.shape[2], 1)

    def _around(self, grouped: torch.Tensor) -> torch.Tensor:
        """Steps (rows, groups) of values (rows, groups, n): their range over whichever number of steps fits best."""
        import torch

        size = (grouped.amax(-1) - grouped.amin(-1)).clamp(min=1e-30)
        steps = torch.stack([size / (self.divisor + more) for more in _AROUND])
        level = grouped / steps[..., None]
        best = (level - level.round()).abs().mean(-1).argmin(0, keepdim=True)
        return steps.gather(0, best)[0]


def find_grid(b: torch.Tensor, fine: torch.Tensor, dtype: str) -> Grid | None:
    """The grid that b (rows, n), float64, lies on while `fine` does not; None if there is none.

    dtype: in which b is effectively stored: its rounding loosens the grid.
    """
    b, fine = (x[: max(1, SEEN // x.shape[1])] for x in (b, fine))
    few = b[: -(-FEW // b.shape[1])]  # rows that are tried first: nearly every grid fails on them
    error, error_few, error_fine = spacing(b, dtype), spacing(few, dtype), spacing(fine, dtype)
    for grids in (_tensor_grids(b, few), *_row_grids(b.shape[1])):
        for grid in _on(grids, few, error_few, dtype):
            if _on([grid], b, error, dtype) and not _on([grid], fine, error_fine, dtype):
                return grid
    return _fp8_grid(b, fine)


def _on(grids: Sequence[Grid], b: torch.Tensor, error: torch.Tensor, dtype: str) -> list[Grid]:
    """Those of the grids that b lies on; together, since a few values take less time than calling for them."""
    import torch

    if not grids:
        return []
    step = torch.stack([grid.steps(b).expand_as(b) for grid in grids])
    tells = (error * FINE <= step) & (b != 0)
    level = b / step
    off = (b - step * level.round()).abs()
    hit = (off <= _slack(b, step, error, dtype)) & tells
    count, hits = (x.flatten(1).sum(1) for x in (tells, hit))
    enough = count >= (TELLING if b.numel() > TELLING * 64 else TELLING // 4)
    good = enough & (hits >= SHARE * count) & (level.flatten(1).abs().amax(1) < MOST)
    return [grid for grid, fits in zip(grids, good.tolist(), strict=True) if fits]


def _slack(b: torch.Tensor, step: torch.Tensor, error: torch.Tensor, dtype: str) -> torch.Tensor:
    """How far from its level a value may be: it was rounded, and so was the largest one, from which the step comes."""
    return 0.55 * error + 1.05 * 2.0 ** -(FORMATS[dtype].bits + 1) * b.abs() + 2e-3 * step


def _row_grids(n: int) -> Iterator[list[Grid]]:
    """Grids with a scale a row, then a group: those of one size together."""
    for group in (0, *(g for g in GROUPS if g < n and n % g == 0)):
        per = f"group of {group}" if group else "row"
        yield [Grid(f"int{bits}", per, divisor, ranged, group) for ranged, divisor, bits in _LEVELS]


def _tensor_grids(b: torch.Tensor, few: torch.Tensor) -> list[Grid]:
    """One step for all: the smallest magnitude is one, two or three steps; then refined by least squares."""
    import torch

    if len(torch.unique(few.abs())) > MOST:
        return []
    values = torch.unique(b.abs())
    values = values[values > 0]
    if not 4 <= len(values) <= MOST:
        return []
    found = []
    gap = float((values[1:33] - values[: len(values[1:33])]).median())
    for first in (float(values[0]), float(values[0]) / 2, float(values[0]) / 3, gap):
        low = values[values <= 40 * first]
        levels = (low / first).round()
        step = float((levels * low).sum() / (levels**2).sum().clamp(min=1))
        top = float(values[-1]) / step if step else 1e9
        if top < MOST:
            found.append(Grid("int4" if top <= 15.5 else "int8", "tensor", step=step))
    return found


def _fp8_grid(b: torch.Tensor, fine: torch.Tensor) -> Grid | None:
    if b.shape[1] < 64 or min(int((x[0] != 0).sum()) for x in (b, fine)) < 48 or _mantissas(fine[0]) < 24:
        return None
    by_row = max(_mantissas(row) for row in b[:4])
    for what, most in (("fp8 e5m2", 4), ("fp8 e4m3", 8)):
        if by_row <= most and _mantissas(b.flatten()) <= most:
            return Grid(what, "tensor")
        if by_row <= most and len(b) > 1 and max(_mantissas(row) for row in b[:: max(1, len(b) // 32)]) <= most:
            return Grid(what, "row")
    return None


def _mantissas(values: torch.Tensor) -> int:
    """How many different mantissas the values have, to 5 digits."""
    import torch

    mantissa, _ = torch.frexp(values[values != 0])
    return len(torch.unique((mantissa.abs() * 1e5).round()))
