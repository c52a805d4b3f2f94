"""EfficientNet-Lite0's features (arXiv:1905.11946 without squeeze-and-excitation, with ReLU6), ImageNet weights.

The public weights were converted from TensorFlow: "same" padding, which is uneven where a stride leaves one pixel
over, and batch norms with epsilon 0.001. Module names are those of the public file's keys.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from alice_repro.models.backbones.public_weights import load_public, read_state

# (blocks, kernel, stride of the first, expansion, channels out)
STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip
STEM, HEAD, CLASSES = 32, 1280, 1000
EPSILON = 1e-3


class SameConv(nn.Conv2d):
    """A convolution that gives ceil(size / stride), with the odd pixel of padding at the right and below."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padding = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            padding += [total // 2, total - total // 2]
        return super().forward(F.pad(x, padding))


class Block(nn.Module):
    """An inverted residual: widen, filter each channel in space, narrow; added to its input where sizes agree."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inside * expansion
        if expansion > 1:
            self._expand_conv, self._bn0 = SameConv(inside, wide, 1, bias=False), nn.BatchNorm2d(wide, EPSILON)
        self._depthwise_conv = SameConv(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = nn.BatchNorm2d(wide, EPSILON)
        self._project_conv, self._bn2 = SameConv(wide, outside, 1, bias=False), nn.BatchNorm2d(outside, EPSILON)
        self.expands, self.adds = expansion > 1, stride == 1 and inside == outside

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


class EfficientNetLite0(nn.Module):
    """Images (N, 3, H, W) in [-1, 1] to features (N, 1280), averaged over places."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = SameConv(3, STEM, 3, 2, bias=False), nn.BatchNorm2d(STEM, EPSILON)
        blocks, inside = [], STEM
        for count, kernel, stride, expansion, outside in STAGES:
            for number in range(count):
                blocks.append(Block(inside, outside, kernel, 1 if number else stride, expansion))
                inside = outside
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = SameConv(inside, HEAD, 1, bias=False), nn.BatchNorm2d(HEAD, EPSILON)
        self._fc = nn.Linear(HEAD, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = F.relu6(self._bn0(self._conv_stem(images)))
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._bn1(self._conv_head(x))).mean(dim=(2, 3))


def load_efficientnet(path: Path) -> EfficientNetLite0:
    """The network with the weights of a file.

    Raises:
        UserError: the file does not hold EfficientNet-Lite0.
    """
    with torch.device("meta"):
        network = EfficientNetLite0()
    return load_public(network, read_state(path), path, "EfficientNet-Lite0")
