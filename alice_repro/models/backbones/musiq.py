"""MUSIQ (Ke et al. 2021): image quality from patches of three sizes of an image; VBench's imaging quality.

The network and names of the parameters are those of the published musiq_spaq_ckpt-358bb6af.pth, trained on SPAQ.
Images of one size all have the same patches, so the empty ones that the published code adds and masks are left out.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from alice_repro.models.backbones.attention import attend
from alice_repro.models.backbones.public_weights import load_public, read_state

PATCH = 32
LONGER_SIDES = (224, 384)  # of the two resized images; the third is the image itself
POSITIONS = 10  # a side of the grid of positions that patches of any image are spread over


def load_musiq(path: str | Path) -> Musiq:
    """The network with the weights of a file: images (N, 3, H, W) in [0, 1] to quality (N,), about 0 to 100.

    Raises:
        UserError: the file is not the weights of MUSIQ with one output.
    """
    with torch.device("meta"):
        network = Musiq()
    return load_public(network, read_state(path), path, "MUSIQ (SPAQ)")


class Musiq(nn.Module):
    """A residual stem on each patch, then a transformer over all patches of all sizes."""

    def __init__(self, width: int = 384, hidden: int = 1152, heads: int = 6, depth: int = 14) -> None:
        super().__init__()
        self.conv_root = _StandardisedConv(3, 64, 7, 2)
        self.gn_root = nn.GroupNorm(32, 64, eps=1e-6)
        self.block1 = _Bottleneck(64, 256)
        self.embedding = nn.Linear(256 * (PATCH // 4) ** 2, width)
        self.transformer_encoder = _Encoder(width, hidden, heads, depth)
        self.head = nn.Linear(width, 1)

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in [0, 1] to (N,)."""
        patches, positions, sizes = multiscale_patches(2 * images - 1)
        x = F.relu(self.gn_root(self.conv_root(patches.flatten(0, 1))))
        x = self.block1(F.max_pool2d(_pad_same(x, 3, 2), 3, 2))
        # The embedding was trained on channels last.
        x = self.embedding(x.permute(0, 2, 3, 1).flatten(1)).unflatten(0, patches.shape[:2])
        return self.head(self.transformer_encoder(x, positions, sizes)).squeeze(-1)


def multiscale_patches(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cut images (N, 3, H, W) and their two resized forms into patches of 32 x 32, padded with zeros around.

    Returns:
        patches (N, L, 3, 32, 32), and for each of the L its cell in the grid of positions and its size's number.
    """
    longer = max(images.shape[-2:])
    resized = []
    for side in LONGER_SIDES:
        shape = [round(length * (side / longer)) for length in images.shape[-2:]]
        resized.append(F.interpolate(images, shape, mode="bicubic", align_corners=False))
    patches, positions, sizes = [], [], []
    for number, image in enumerate([*resized, images]):
        cut = F.unfold(_pad_same(image, PATCH, PATCH), PATCH, stride=PATCH)
        patches.append(cut.transpose(1, 2).unflatten(2, (3, PATCH, PATCH)))
        rows, columns = (_spread(-(-length // PATCH)) for length in image.shape[-2:])
        positions.append((POSITIONS * rows[:, None] + columns).flatten())
        sizes.append(torch.full_like(positions[-1], number))
    return torch.cat(patches, 1), torch.cat(positions).to(images.device), torch.cat(sizes).to(images.device)


def _spread(count: int) -> torch.Tensor:
    """The grid's cell of each of `count` patches along a side, by torch's nearest-neighbour rule."""
    cells = torch.arange(POSITIONS, dtype=torch.float32)
    return F.interpolate(cells[None, None], count, mode="nearest")[0, 0].long()


def _pad_same(x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """Zeros around (N, C, H, W) so that ceil(length / stride) windows fit, the odd one at the end (TensorFlow's)."""
    pads = []
    for length in reversed(x.shape[-2:]):
        total = max(0, (-(-length // stride) - 1) * stride + kernel - length)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


class _StandardisedConv(nn.Conv2d):
    """Convolution whose filters have mean 0 and deviation 1."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        deviation, mean = torch.std_mean(self.weight, dim=(1, 2, 3), keepdim=True)
        weight = (self.weight - mean) / (deviation + 1e-5)
        return F.conv2d(_pad_same(x, self.kernel_size[0], self.stride[0]), weight, stride=self.stride)


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = _StandardisedConv(inputs, inputs, 1)
        self.gn1 = nn.GroupNorm(32, inputs, eps=1e-4)
        self.conv2 = _StandardisedConv(inputs, inputs, 3)
        self.gn2 = nn.GroupNorm(32, inputs, eps=1e-4)
        self.conv3 = _StandardisedConv(inputs, outputs, 1)
        self.gn3 = nn.GroupNorm(32, outputs, eps=1e-4)
        self.conv_proj = _StandardisedConv(inputs, outputs, 1)
        self.gn_proj = nn.GroupNorm(32, outputs, eps=1e-4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.gn1(self.conv1(x)))
        y = F.relu(self.gn2(self.conv2(y)))
        return F.relu(self.gn3(self.conv3(y)) + self.gn_proj(self.conv_proj(x)))


class _Encoder(nn.Module):
    def __init__(self, width: int, hidden: int, heads: int, depth: int) -> None:
        super().__init__()
        self.posembed_input = nn.ParameterDict({"position_emb": torch.zeros(1, POSITIONS**2, width)})
        self.scaleembed_input = nn.ParameterDict({"scale_emb": torch.zeros(1 + len(LONGER_SIDES), width)})
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        self.encoder_norm = nn.LayerNorm(width, eps=1e-6)
        blocks = {f"encoderblock_{i}": _Block(width, hidden, heads) for i in range(depth)}
        self.transformer = nn.ModuleDict(blocks)

    def forward(self, x: torch.Tensor, positions: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        x = x + self.posembed_input["position_emb"][:, positions] + self.scaleembed_input["scale_emb"][sizes]
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], dim=1)
        for block in self.transformer.values():
            x = block(x)
        return self.encoder_norm(x[:, 0])


class _Block(nn.Module):
    def __init__(self, width: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value", "out")})
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, hidden), "fc2": nn.Linear(hidden, width)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm1(x)
        query, key, value = (self.attention[name](y) for name in ("query", "key", "value"))
        x = x + self.attention["out"](attend(query, key, value, self.heads))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))
