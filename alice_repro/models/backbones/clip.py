"""The image tower of OpenAI's CLIP (Radford et al. 2021), from the published ViT-B-32.pt and ViT-L-14.pt.

Always in float32: the published halves are widened, as the official code does on a CPU (on a GPU it computes in half).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from alice_repro.errors import UserError
from alice_repro.models.backbones.attention import attend
from alice_repro.models.backbones.public_weights import load_public, read_state
from alice_repro.models.backbones.torchscript import is_torchscript, read_torchscript

TOWER = "visual."
HEAD_WIDTH = 64


def load_clip(path: str | Path) -> ClipImageTower:
    """The tower with the weights of a file: images (N, 3, 224, 224), CLIP-normalised, to features, not normalised.

    ViT-B/32 gives (N, 512), ViT-L/14 (N, 768). The published files are TorchScript archives, whose programs are not
    run; a plain state dict with the same names does too.

    Raises:
        UserError: the file holds no vision transformer of a CLIP.
    """
    state = read_torchscript(path) if is_torchscript(path) else read_state(path)
    # Scalars are sizes that the archive notes beside the weights.
    state = {name.removeprefix(TOWER): x for name, x in state.items() if name.startswith(TOWER) and x.ndim}
    with torch.device("meta"):
        network = ClipImageTower(**_sizes(state, path))
    return load_public(network, state, path, "CLIP's image transformer")


def _sizes(state: Mapping[str, torch.Tensor], path: str | Path) -> dict[str, int]:
    try:
        width, _, _, patch = state["conv1.weight"].shape
        grid = round((len(state["positional_embedding"]) - 1) ** 0.5)
        depth = 1 + max(int(name.split(".")[2]) for name in state if name.startswith("transformer.resblocks."))
        return {"width": width, "depth": depth, "patch": patch, "grid": grid, "output": state["proj"].shape[1]}
    except (KeyError, ValueError, IndexError) as error:
        reason = f"{TOWER}{error.args[0]} is missing" if isinstance(error, KeyError) else "its tensors do not fit"
        raise UserError(f"{path}: not the weights of CLIP's image transformer: {reason}") from error


class ClipImageTower(nn.Module):
    """Vision transformer with a norm before its blocks and a projection of its class token."""

    def __init__(self, width: int, depth: int, patch: int, grid: int, output: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(1 + grid**2, width))
        self.ln_pre = nn.LayerNorm(width)
        blocks = nn.ModuleList(_Block(width) for _ in range(depth))
        self.transformer = nn.ModuleDict({"resblocks": blocks})
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.zeros(width, output))

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) of the training size, 224 for both published files, to (N, output)."""
        patches = self.conv1(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(images), 1, -1), patches], dim=1)
        x = self.ln_pre(x + self.positional_embedding)
        for block in self.transformer["resblocks"]:
            x = block(x)
        return self.ln_post(x[:, 0]) @ self.proj


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = _Attention(width)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.ln_1(x))
        hidden = self.mlp["c_fc"](self.ln_2(x))
        return x + self.mlp["c_proj"](hidden * torch.sigmoid(1.702 * hidden))  # CLIP's quick GELU


class _Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.in_proj_weight = nn.Parameter(torch.zeros(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        qkv = nn.functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        return self.out_proj(attend(*qkv.chunk(3, dim=-1), self.heads))
