"""Small networks that stand in for the public ones, the same in both environments: weights from numpy, by name.

They are there to show every difference in what goes in and out of a network, not to measure anything.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
import torch.nn.functional as F


def weights(name: str, *shape: int) -> torch.Tensor:
    """Standard normal float32, from a seed that the name gives."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return torch.from_numpy(np.random.Generator(np.random.Philox(seed)).standard_normal(shape, dtype=np.float32))


class Features(torch.nn.Module):
    """(N, 3, H, W) -> (N, 768): patches of 16, squashed, averaged; a remainder is dropped, as a ViT's patches do."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.patches = weights(f"{name} patches", 24, 3, 16, 16) / 10
        self.out = weights(f"{name} out", 768, 24)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.sin(3 * F.conv2d(images, self.patches, stride=16)).mean(dim=(2, 3)) @ self.out.T

    encode_image = embed = forward


class Head(torch.nn.Module):
    """(N, 768) -> (N, 1): near 5, as the aesthetic head."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = weights("head", 768, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return 5 + features @ self.weight


class Quality(torch.nn.Module):
    """(N, 3, H, W) on 0..1 -> (N,) on 0..100."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = weights("quality", 8, 3, 5, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 50 + 50 * torch.sin(F.conv2d(images, self.filters, stride=2)).mean(dim=(1, 2, 3))


class Interpolator(torch.nn.Module):
    """Two frames on 0..1 -> one between, not quite in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = weights("interpolator", 3, 3, 3, 3) / 100

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return 0.43 * left + 0.56 * right + F.conv2d(left - right, self.filters, padding=1)


class Flow(torch.nn.Module):
    """Two frames on 0..255 -> (N, 2, H, W), large where they differ."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = weights("flow", 2, 3, 3, 3) / 40

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return F.conv2d(second - first, self.filters, padding=1)
