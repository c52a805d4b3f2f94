"""RAFT (Teed and Deng 2020): optical flow, from the published raft-things.pth; VBench's dynamic degree.

The parts are torchvision's, whose parameters have other names; the loop is our own, so that a frame's features serve
the pair before and the pair after it, and only the last of the flows is brought to full size.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import nn
from torchvision.models.optical_flow import raft_large

from alice_repro.models.backbones.correlation import Correlation, pixel_grid, require_size
from alice_repro.models.backbones.public_weights import check_layout, fill, read_state

ITERATIONS = 20
RADIUS = 4
HIDDEN = 128
TABLE_BYTES = int(1.1 * 2**30)  # of correlations: all that a pair at 720p has, a part of those at 1080p
ENCODED_PIXELS = 2 * 2**20  # of frames that are encoded together: at 1080p one takes 0.7 GiB

# torchvision's names -> the published ones, applied in order.
NAMES = (
    (r"^feature_encoder\.", "fnet."),
    (r"^context_encoder\.", "cnet."),
    (r"^([fc]net)\.convnormrelu\.0", r"\1.conv1"),
    (r"^([fc]net)\.convnormrelu\.1", r"\1.norm1"),
    (r"^([fc]net)\.conv\.", r"\1.conv2."),
    (r"convnormrelu(\d)\.0", r"conv\1"),
    (r"convnormrelu(\d)\.1", r"norm\1"),
    (r"motion_encoder\.conv(corr|flow)(\d)\.0", lambda m: f"encoder.conv{m[1][0]}{m[2]}"),
    (r"motion_encoder\.conv\.0", "encoder.conv"),
    (r"recurrent_block\.convgru(\d)\.(conv.)", r"gru.\2\1"),
    (r"^mask_predictor\.convrelu\.0", "update_block.mask.0"),
    (r"^mask_predictor\.conv\.", "update_block.mask.2."),
)
# The published file holds the norm of a shortcut under a second name too.
SHORTCUT, TWIN = ".downsample.1.", ".norm3."


def load_raft(path: str | Path) -> Raft:
    """The network with the weights of a file; see `Raft.forward`.

    Raises:
        UserError: the file is not the weights of RAFT (the large one).
    """
    with torch.device("meta"):
        network = Raft()
    shapes = {_published(name): value.shape for name, value in network.net.state_dict().items()}
    shapes |= {name.replace(SHORTCUT, TWIN): shape for name, shape in shapes.items() if SHORTCUT in name}
    state = read_state(path)
    # How many batches the norms have seen: not used, and not in files of every torch.
    counts = {name: torch.tensor(0) for name in shapes if name.endswith("num_batches_tracked")}
    state = counts | state
    check_layout(state, shapes, path, "RAFT")
    fill(network.net, {name: state[_published(name)] for name in network.net.state_dict()})
    return network.eval()


def _published(name: str) -> str:
    for pattern, replacement in NAMES:
        name = re.sub(pattern, replacement, name)
    return name


class Raft(nn.Module):
    """Flow by repeated look-ups in the correlation of two frames' features."""

    def __init__(self, iterations: int = ITERATIONS) -> None:
        super().__init__()
        self.net = raft_large(weights=None)
        self.iterations = iterations

    @torch.no_grad()
    def features(self, frames: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in 0 .. 255 to (N, 256, H/8, W/8); the same for a frame as the first or second of a pair."""
        together = max(1, ENCODED_PIXELS // frames[0, 0].numel())
        return torch.cat([self.net.feature_encoder(_scaled(part)) for part in frames.split(together)])

    @torch.no_grad()
    def forward(
        self,
        first: torch.Tensor,
        second: torch.Tensor,
        features: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Flow from the first frame to the second, (N, 2, H, W): x and y in pixels.

        Args:
            first, second: (N, 3, H, W) in 0 .. 255, both sides multiples of 8 and at least 128 (pad before).
            features: of the two, if they were computed before.

        Raises:
            UserError: the frames are too small.
        """
        require_size(*first.shape[-2:], "RAFT")
        ours, theirs = features or (self.features(first), self.features(second))
        together = max(1, TABLE_BYTES * 3 // (16 * ours[0, 0].numel() ** 2))
        parts = zip(first.split(together), ours.split(together), theirs.split(together), strict=True)
        return torch.cat([self._flow(*part) for part in parts])

    def _flow(self, frames: torch.Tensor, ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
        # Before the tables are there: the encoder takes as much for itself.
        state, context = self.net.context_encoder(_scaled(frames)).split(HIDDEN, dim=1)
        correlation = Correlation(ours, theirs, RADIUS, TABLE_BYTES)
        state, context = state.tanh(), context.relu()
        start = pixel_grid(*ours.shape[-2:], ours.device)
        flow = torch.zeros_like(start).expand(len(frames), -1, -1, -1)
        for _ in range(self.iterations):
            state, change = self.net.update_block(state, context, correlation(start + flow), flow)
            flow = flow + change
        return upsample(flow, self.net.mask_predictor(state))


def upsample(flow: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Eight times larger: each fine pixel a weighted mean of its 3 x 3 coarse ones, times 8.

    Args:
        flow: (N, 2, h, w).
        mask: logits of the weights, (N, 9 * 64, h, w).
    """
    n, _, h, w = flow.shape
    weights = mask.view(n, 1, 9, 8, 8, h, w).softmax(dim=2)
    around = nn.functional.unfold(8 * flow, 3, padding=1).view(n, 2, 9, 1, 1, h, w)
    fine = torch.stack([(weights[:, 0] * part).sum(1) for part in around.unbind(1)], dim=1)
    return fine.permute(0, 1, 4, 2, 5, 3).reshape(n, 2, 8 * h, 8 * w)


def _scaled(frames: torch.Tensor) -> torch.Tensor:
    return 2 * (frames / 255.0) - 1.0
