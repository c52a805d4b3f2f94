"""DINO's ViT-B/16 (Caron et al. 2021), image encoder of VBench's subject consistency.

Names of the parameters are those of the published dino_vitbase16_pretrain.pth.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from alice_repro.models.backbones.attention import attend
from alice_repro.models.backbones.public_weights import load_public, read_state


def load_dino(path: str | Path) -> DinoViT:
    """The network with the weights of a file: images (N, 3, H, W), ImageNet-normalised, to features (N, 768).

    Raises:
        UserError: the file is not the weights of DINO ViT-B/16.
    """
    with torch.device("meta"):
        network = DinoViT()
    return load_public(network, read_state(path), path, "DINO ViT-B/16")


class DinoViT(nn.Module):
    """Vision transformer whose answer is its normalised class token.

    Args:
        grid: patches along a side of the training images; positions for other sizes are interpolated.
    """

    def __init__(self, width: int = 768, depth: int = 12, heads: int = 12, patch: int = 16, grid: int = 14) -> None:
        super().__init__()
        self.patch, self.grid = patch, grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid**2, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch)})
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) of any size of at least a patch to (N, width); rows and columns beyond whole patches drop."""
        patches = self.patch_embed["proj"](images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(images), -1, -1), patches], dim=1)
        x = x + self.positions(*images.shape[-2:])
        for block in self.blocks:
            x = block(x)
        return self.norm(x[:, 0])

    def positions(self, height: int, width: int) -> torch.Tensor:
        """Embeddings of position (1, 1 + patches, width) for images of a size.

        As in DINO: bicubic, by factors that carry an offset of 0.1 against rounding (and so shift the samples a
        little), and untouched for square images of the training grid.
        """
        rows, columns = height // self.patch, width // self.patch
        if rows * columns == self.grid**2 and height == width:
            return self.pos_embed
        grid = self.pos_embed[:, 1:].unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 2)
        factors = ((rows + 0.1) / self.grid, (columns + 0.1) / self.grid)
        grid = F.interpolate(grid, scale_factor=factors, mode="bicubic")
        return torch.cat([self.pos_embed[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn["proj"](attend(*self.attn["qkv"](self.norm1(x)).chunk(3, dim=-1), self.heads))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))
