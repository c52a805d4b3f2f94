"""A small discriminator on the features of a video transformer: a logit a clip, high for the data (DMD2, FastGen)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from alice_repro.models.velocity import NetworkVelocity

SHARES = (0.5, 0.75, 1.0)  # the depths whose blocks are read; FastGen reads blocks 15, 22 and 29 of Wan's 30


class Head(nn.Module):
    """The trained part: for each block that is read, a norm and two layers on every token, then the mean of them all.

    Args:
        width: of the transformer's tokens.
        blocks: how many blocks are read.
        hidden: width of the layer between.
    """

    def __init__(self, width: int, blocks: int = len(SHARES), hidden: int = 64) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, 1))
            for _ in range(blocks)
        )

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Logits (B,) of features (B, tokens, width), one tensor a block."""
        return torch.stack([branch(x).mean((1, 2)) for branch, x in zip(self.branches, features, strict=True)]).mean(0)


class Discriminator:
    """D(x_t, t, caption) -> logits (B,): a head on the features of ``network``, which may be frozen or trained."""

    def __init__(self, network: NetworkVelocity, head: nn.Module) -> None:
        self.network, self.head, self.evaluations = network, head, 1

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, caption: torch.Tensor) -> torch.Tensor:
        return self.head(self.network.features(x_t, t, caption, SHARES))
