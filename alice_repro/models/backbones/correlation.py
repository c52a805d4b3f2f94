"""Correlation of each pixel of a feature map with a window of another, at four scales: the heart of RAFT and AMT.

The published code keeps the correlation of every pixel with every other: at 1080p 4.2 GB for a pair of frames. Pooling
and interpolation are linear, so the same numbers come from the pooled second map; where the full table of a scale
would be large, only the windows that are asked for are computed: more exact, slower.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from alice_repro.errors import UserError

LEVELS = 4
SMALLEST = 8 * 2**LEVELS  # pixels; at less the coarsest of the maps, an eighth in size, is one pixel or none
CHUNK_BYTES = 32 * 2**20  # of windows gathered together


def require_size(height: int, width: int, network: str) -> None:
    """Refuse frames for which the published network answers NaN.

    Raises:
        UserError: a side is below 128 pixels, after padding.
    """
    if min(height, width) < SMALLEST:
        raise UserError(
            f"{network} needs frames of {SMALLEST} x {SMALLEST} pixels or more after padding, "
            f"not {height} x {width}: its coarsest map would be a point, and the published network gives NaN"
        )


def pixel_grid(height: int, width: int, device: torch.device) -> torch.Tensor:
    """(1, 2, h, w): x and y of each pixel."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return torch.stack([x, y])[None].float()


class Correlation:
    """Inner products of feature maps (N, C, h, w), divided by sqrt(C).

    Args:
        radius: of the windows, in pixels of each scale.
        table_bytes: that tables may take; the coarse scales, small and often looked up, are served first.
    """

    def __init__(self, first: torch.Tensor, second: torch.Tensor, radius: int, table_bytes: int) -> None:
        first = first / first.shape[1] ** 0.5
        maps = [second]
        while len(maps) < LEVELS:
            maps.append(F.avg_pool2d(maps[-1], 2))
        self.levels: list[_Table | _Windows] = []
        for pooled in reversed(maps):
            size = 4 * len(first) * first[0, 0].numel() * pooled[0, 0].numel()
            kept = size <= table_bytes
            table_bytes -= size if kept else 0
            self.levels.insert(0, _Table(first, pooled, radius) if kept else _Windows(first, pooled, radius))

    def __call__(self, centres: torch.Tensor) -> torch.Tensor:
        """Look up windows of (2 radius + 1)^2 around positions in the second map, zero beyond its edges.

        Args:
            centres: x and y (N, 2, h, w) at the finest scale, for each pixel of the first map.

        Returns:
            (N, 4 (2 radius + 1)^2, h, w): scales from fine to coarse, in each x-major.
        """
        n, _, h, w = centres.shape
        points = centres.permute(0, 2, 3, 1).reshape(n, h * w, 2)
        found = [level.look_up(points / 2**i) for i, level in enumerate(self.levels)]
        return torch.cat(found, dim=2).transpose(1, 2).unflatten(2, (h, w))


class _Table:
    """A scale of which all correlations are kept."""

    def __init__(self, first: torch.Tensor, second: torch.Tensor, radius: int) -> None:
        self.size = second.shape[-2:]
        self.table = first.flatten(2).transpose(1, 2) @ second.flatten(2)
        steps = torch.arange(-radius, radius + 1, device=first.device).float()
        self.offsets = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1)  # x varies slowest

    def look_up(self, points: torch.Tensor) -> torch.Tensor:
        """(N, P, 2) to (N, P, side * side)."""
        n, p, _ = points.shape
        h, w = self.size
        grid = points.reshape(n * p, 1, 1, 2) + self.offsets
        grid = 2 * grid / torch.tensor([w - 1, h - 1], device=grid.device) - 1
        found = F.grid_sample(self.table.reshape(n * p, 1, h, w), grid, align_corners=True)
        return found.reshape(n, p, -1)


class _Windows:
    """A scale of which correlations are computed where they are looked up."""

    def __init__(self, first: torch.Tensor, second: torch.Tensor, radius: int) -> None:
        self.radius, self.size = radius, second.shape[-2:]
        self.side = 2 * radius + 2  # whole pixels that a window between pixels touches
        self.first = first.flatten(2).transpose(1, 2)
        padded = F.pad(second, [self.side] * 4)  # a window wholly outside finds zeros
        self.columns = padded.shape[-1]
        self.second = padded.flatten(2).transpose(1, 2).contiguous()

    def look_up(self, points: torch.Tensor) -> torch.Tensor:
        """(N, P, 2) to (N, P, (side - 1) * (side - 1))."""
        size = max(1, CHUNK_BYTES // (4 * self.side**2 * self.first.shape[-1]))
        rows = []
        for first, second, where in zip(self.first, self.second, points, strict=True):
            parts = zip(first.split(size), where.split(size), strict=True)
            rows.append(torch.cat([self._windows(a, second, b) for a, b in parts]))
        return torch.stack(rows)

    def _windows(self, first: torch.Tensor, second: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        h, w = self.size
        whole = points.floor()
        x, y = points[:, 0] - whole[:, 0], points[:, 1] - whole[:, 1]
        corner = whole - self.radius
        left = corner[:, 0].clamp(-self.side, w).long() + self.side
        top = corner[:, 1].clamp(-self.side, h).long() + self.side
        steps = torch.arange(self.side, device=points.device)
        pixels = (top[:, None, None] + steps[:, None]) * self.columns + left[:, None, None] + steps
        at_pixels = (second[pixels.flatten(1)] @ first[:, :, None]).reshape(-1, self.side, self.side)
        x, y = x[:, None, None], y[:, None, None]
        between = torch.lerp(at_pixels[:, :, :-1], at_pixels[:, :, 1:], x)
        between = torch.lerp(between[:, :-1], between[:, 1:], y)
        return between.transpose(1, 2).flatten(1)
