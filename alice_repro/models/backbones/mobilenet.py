"""MobileNetV2's features (arXiv:1801.04381), from torchvision's ImageNet weights."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import nn

from alice_repro.errors import UserError


def load_mobilenet(path: Path) -> nn.Module:
    """The network without its classifier: ImageNet-normalised (N, 3, H, W) -> (N, 1280), averaged over places.

    Raises:
        UserError: the file does not hold torchvision's MobileNetV2.
    """
    from torchvision.models import mobilenet_v2

    network = mobilenet_v2()
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (pickle.UnpicklingError, RuntimeError, TypeError, AttributeError, EOFError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{path} does not hold torchvision's MobileNetV2 ({reason})") from error
    network.classifier = nn.Identity()
    return network.eval().requires_grad_(False)
