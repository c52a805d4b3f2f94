"""MobileNetV2's features (arXiv:1801.04381), from torchvision's ImageNet weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from alice_repro.models.backbones.public_weights import load_public, read_state


def load_mobilenet(path: Path) -> nn.Module:
    """The network without its classifier: ImageNet-normalised (N, 3, H, W) -> (N, 1280), averaged over places.

    Raises:
        UserError: the file does not hold torchvision's MobileNetV2.
    """
    from torchvision.models import mobilenet_v2

    with torch.device("meta"):
        network = mobilenet_v2()
    network = load_public(network, read_state(path), path, "torchvision's MobileNetV2")
    network.classifier = nn.Identity()
    return network
