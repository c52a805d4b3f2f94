"""AMT-S (Li et al. 2023): the frame half-way between two, from the published amt-s.pth; VBench's motion smoothness.

Names of the parameters are those of the file. Flows to both frames are refined from coarse to fine, at three scales
with a look-up in the frames' correlation; three candidates of the middle frame are blended.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from alice_repro.models.backbones.correlation import LEVELS, Correlation, pixel_grid, require_size
from alice_repro.models.backbones.public_weights import load_public, read_state

CHANNELS = (20, 32, 44, 56)
SIDE_CHANNELS = 20
CANDIDATES = 3
RADIUS = 3
TABLE_BYTES = 80 * 2**20  # of each direction; three look-ups do not repay larger tables
STRIP, HALO = 128, 8  # rows that convolutions of large maps see at a time, and how far their answer looks
MIDDLE = 0.5  # the time of the frame that is asked for


def load_amt(path: str | Path) -> Amt:
    """The network with the weights of a file; see `Amt.forward`.

    Raises:
        UserError: the file is not the weights of AMT-S.
    """
    with torch.device("meta"):
        network = Amt()
    return load_public(network, read_state(path, inside="state_dict"), path, "AMT-S")


class Amt(nn.Module):
    """Interpolates the middle of two frames."""

    def __init__(self) -> None:
        super().__init__()
        c1, c2, c3, c4 = CHANNELS
        self.feat_encoder = _MatchingEncoder(84)
        self.encoder = _Pyramid()
        self.decoder4 = _Decoder(2 * c4 + 1, 2 * c4, c3 + 4)
        self.decoder3 = _Decoder(3 * c3 + 4, 3 * c3, c2 + 4)
        self.decoder2 = _Decoder(3 * c2 + 4, 3 * c2, c1 + 4)
        self.decoder1 = _Decoder(3 * c1 + 4, 3 * c1, 8 * CANDIDATES)
        self.update4, self.update3, self.update2 = _Update(c3), _Update(c2), _Update(c1)
        self.comb_block = nn.Sequential(
            nn.Conv2d(3 * CANDIDATES, 6 * CANDIDATES, 3, padding=1),
            nn.PReLU(6 * CANDIDATES),
            nn.Conv2d(6 * CANDIDATES, 3, 3, padding=1),
        )

    @torch.no_grad()
    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """The middle frame (N, 3, H, W) in [0, 1].

        Args:
            first, second: (N, 3, H, W) in [0, 1], both sides multiples of 16 and at least 128 (pad before).

        Raises:
            UserError: the frames are too small.
        """
        require_size(*first.shape[-2:], "AMT")
        mean = torch.cat([first, second], dim=2).mean(dim=(1, 2, 3), keepdim=True)
        first, second = first - mean, second - mean
        ours, theirs = self.feat_encoder(first), self.feat_encoder(second)
        there = Correlation(ours, theirs, RADIUS, TABLE_BYTES)
        back = Correlation(theirs, ours, RADIUS, TABLE_BYTES)
        maps = list(zip(self.encoder(first), self.encoder(second), strict=True))  # from fine to coarse

        time = torch.full_like(maps[3][0][:, :1], MIDDLE)
        flows, features = self.decoder4(torch.cat([*maps[3], time], dim=1)).tensor_split([4], dim=1)
        flows, features = self.update4(features, flows, 1, there, back)
        for decoder, update, pair, scale in (
            (self.decoder3, self.update3, maps[2], 2),
            (self.decoder2, self.update2, maps[1], 4),
        ):
            change, features = decoder(_aligned(features, pair, flows)).tensor_split([4], dim=1)
            flows, features = update(features, change + 2 * _resize(flows, 2), scale, there, back)
        seen = _aligned(features, maps[0], flows)
        del there, back, ours, theirs, maps, features  # what is not needed at full size, where memory peaks
        out = _in_strips(self.decoder1, seen, 2)
        del seen
        return self._blend(out, 2 * _resize(flows, 2), first, second, mean)

    def _blend(
        self, out: torch.Tensor, flows: torch.Tensor, first: torch.Tensor, second: torch.Tensor, mean: torch.Tensor
    ) -> torch.Tensor:
        """The mean of the candidates and what the last layers make of all of them.

        Args:
            out: (N, 8 * CANDIDATES, H, W): changes of the flow to the first frame (x and y of each candidate), to the
                second, the logit of the first frame's share, and a residue in three colours.
            flows: (N, 4, H, W), to both frames.
        """
        k = CANDIDATES
        to_first, to_second, shares, residues = out.split([2 * k, 2 * k, k, 3 * k], dim=1)
        candidates = []
        for i in range(k):
            share = shares[:, i : i + 1].sigmoid()
            one = _warp(first, to_first[:, 2 * i : 2 * i + 2] + flows[:, :2])
            two = _warp(second, to_second[:, 2 * i : 2 * i + 2] + flows[:, 2:])
            candidates.append(share * one + (1 - share) * two + mean + residues[:, 3 * i : 3 * i + 3])
        middle = sum(candidates[1:], start=candidates[0]) / k
        return (middle + _in_strips(self.comb_block, torch.cat(candidates, dim=1), 1)).clamp(0, 1)


def _aligned(features: torch.Tensor, pair: tuple[torch.Tensor, torch.Tensor], flows: torch.Tensor) -> torch.Tensor:
    """What a decoder sees: features, both frames' maps pulled to the middle, and the flows that did it."""
    return torch.cat([features, _warp(pair[0], flows[:, :2]), _warp(pair[1], flows[:, 2:]), flows], dim=1)


def _in_strips(network: nn.Module, x: torch.Tensor, scale: int) -> torch.Tensor:
    """What convolutions make of (N, C, h, w), `scale` times larger, strip by strip: the same numbers in less memory."""
    h, strips = x.shape[2], []
    for top in range(0, h, STRIP):
        first, last = max(0, top - HALO), min(h, top + STRIP + HALO)
        strip = network(x[:, :, first:last])
        strips.append(strip[:, :, scale * (top - first) : scale * (min(h, top + STRIP) - first)])
    return torch.cat(strips, dim=2)


def _resize(x: torch.Tensor, factor: float) -> torch.Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def _warp(x: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Sample (N, C, H, W) at each pixel's place plus the flow (N, 2, H, W); beyond the edge, the edge."""
    h, w = x.shape[-2:]
    grid = (pixel_grid(h, w, x.device) + flow).permute(0, 2, 3, 1)
    grid = grid * torch.tensor([2 / (w - 1), 2 / (h - 1)], device=x.device) - 1
    return F.grid_sample(x, grid, padding_mode="border", align_corners=True)


def _conv_prelu(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.PReLU(outputs))


class _Pyramid(nn.Module):
    """Maps of a frame at 1/2, 1/4, 1/8 and 1/16."""

    def __init__(self) -> None:
        super().__init__()
        for level, (inputs, outputs) in enumerate(zip((3, *CHANNELS), CHANNELS, strict=False), start=1):
            block = nn.Sequential(_conv_prelu(inputs, outputs, 2), _conv_prelu(outputs, outputs))
            self.register_module(f"pyramid{level}", block)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        maps = []
        for block in self.children():
            x = block(x)
            maps.append(x)
        return maps


class _Decoder(nn.Module):
    """Twice the size, from features at one scale."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.convblock = nn.Sequential(
            _conv_prelu(inputs, width), _SideBlock(width), nn.ConvTranspose2d(width, outputs, 4, 2, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.convblock(x)


class _SideBlock(nn.Module):
    """A residual block that works on its last channels once more between its convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _conv_prelu(width, width), _conv_prelu(SIDE_CHANNELS, SIDE_CHANNELS)
        self.conv3, self.conv4 = _conv_prelu(width, width), _conv_prelu(SIDE_CHANNELS, SIDE_CHANNELS)
        self.conv5 = nn.Conv2d(width, width, 3, padding=1)
        self.prelu = nn.PReLU(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for whole, side in ((self.conv1, self.conv2), (self.conv3, self.conv4)):
            main, last = whole(y).tensor_split([-SIDE_CHANNELS], dim=1)
            y = torch.cat([main, side(last)], dim=1)
        return self.prelu(x + self.conv5(y))


class _Update(nn.Module):
    """Changes of features and flows (to both frames, 4 channels) from the correlation there, at 1/8 of the frame."""

    def __init__(self, width: int, hidden: int = 76) -> None:
        super().__init__()
        self.convc1 = nn.Conv2d(2 * LEVELS * (2 * RADIUS + 1) ** 2, 64, 1)
        self.convf1 = nn.Conv2d(4, 40, 7, padding=3)
        self.convf2 = nn.Conv2d(40, 20, 3, padding=1)
        self.conv = nn.Conv2d(84, 68, 3, padding=1)
        self.gru = _two_convs(68 + 4 + width, hidden, hidden)
        self.feat_head = _two_convs(hidden, hidden, width)
        self.flow_head = _two_convs(hidden, hidden, 4)

    def forward(
        self, features: torch.Tensor, flows: torch.Tensor, scale: int, there: Correlation, back: Correlation
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Flows and features at `scale` times the size of the correlated maps, improved."""
        coarse_flows, coarse = flows, features
        if scale != 1:
            coarse_flows, coarse = _resize(flows, 1 / scale) / scale, _resize(features, 1 / scale)
        # On a straight path, the flow from the middle to a frame is half of that from the other frame to it.
        grid = pixel_grid(*coarse.shape[-2:], coarse.device)
        found = there(grid + coarse_flows[:, 2:] / MIDDLE), back(grid + coarse_flows[:, :2] / (1 - MIDDLE))
        seen = _leaky(self.convc1(torch.cat(found, dim=1)))
        moved = _leaky(self.convf2(_leaky(self.convf1(coarse_flows))))
        x = _leaky(self.conv(torch.cat([seen, moved], dim=1)))
        x = self.gru(torch.cat([x, coarse_flows, coarse], dim=1))
        more, change = self.feat_head(x), self.flow_head(x)
        if scale != 1:
            more, change = _resize(more, scale), scale * _resize(change, scale)
        return flows + change, features + more


def _leaky(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, 0.1)


def _two_convs(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, hidden, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(hidden, outputs, 3, padding=1)
    )


class _MatchingEncoder(nn.Module):
    """Features at 1/8 that frames are matched by."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 7, 2, 3)
        self.layer1 = nn.Sequential(_Bottleneck(32, 32), _Bottleneck(32, 32))
        self.layer2 = nn.Sequential(_Bottleneck(32, 64, 2), _Bottleneck(64, 64))
        self.layer3 = nn.Sequential(_Bottleneck(64, 96, 2), _Bottleneck(96, 96))
        self.conv2 = nn.Conv2d(96, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(F.instance_norm(self.conv1(x)))
        return self.conv2(self.layer3(self.layer2(self.layer1(x))))


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs // 4, 1)
        self.conv2 = nn.Conv2d(outputs // 4, outputs // 4, 3, stride, 1)
        self.conv3 = nn.Conv2d(outputs // 4, outputs, 1)
        self.downsample = None
        if stride != 1:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride), nn.InstanceNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for conv in (self.conv1, self.conv2, self.conv3):
            y = F.relu(F.instance_norm(conv(y)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))
