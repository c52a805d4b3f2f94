"""LAION's aesthetic head on CLIP ViT-L/14: one linear map, from the published sa_0_4_vit_l_14_linear.pth."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from alice_repro.models.backbones.public_weights import load_public, read_state

FEATURES = 768


def load_aesthetic(path: str | Path) -> nn.Linear:
    """The head with the weights of a file: CLIP features of unit length (N, 768) to ratings (N, 1), about 1 to 10.

    Raises:
        UserError: the file is not the weights of the head.
    """
    with torch.device("meta"):
        head = nn.Linear(FEATURES, 1)
    return load_public(head, read_state(path), path, "LAION's aesthetic head for CLIP ViT-L/14")
