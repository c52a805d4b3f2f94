"""AVD's frame interpolator (Section 3.4, Appendix 8): a UNet that puts a latent frame between each two neighbours.

Layers and channels are those of the released code: one convolution a block and two max-pools, where the text has three
blocks that max-pooling follows. Frames whose sides are no multiples of 4 (720p: 90 x 160) are padded and cropped.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

from alice_repro.errors import UserError
from alice_repro.files import read_json
from alice_repro.models.loading import check_weights


class FrameInterpolator(ModelMixin, ConfigMixin):
    """UNet from two latent frames to the one between them; both frames are read as one image of 2C channels.

    Args:
        channels: C of a latent.
        widths: channels at full, half and quarter resolution.
    """

    @register_to_config
    def __init__(self, channels: int = 16, widths: tuple[int, ...] = (32, 64, 128)) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.encode_fine = _block(2 * channels, fine)
        self.encode_middle = _block(fine, middle)
        self.encode_coarse = _block(middle, coarse)
        self.to_middle = nn.ConvTranspose2d(coarse, middle, 2, stride=2)
        self.decode_middle = _block(2 * middle, middle)
        self.to_fine = nn.ConvTranspose2d(middle, fine, 2, stride=2)
        self.decode_fine = _block(2 * fine, fine)
        self.out = nn.Conv2d(fine, channels, 1)

    def forward(self, pair: torch.Tensor) -> torch.Tensor:
        """Frame (N, C, h, w) between the two frames of ``pair``, (N, 2C, h, w)."""
        height, width = pair.shape[-2:]
        fine = self.encode_fine(F.pad(pair, (0, -width % 4, 0, -height % 4), mode="replicate"))
        middle = self.encode_middle(F.max_pool2d(fine, 2))
        coarse = self.encode_coarse(F.max_pool2d(middle, 2))
        middle = self.decode_middle(torch.cat([self.to_middle(coarse), middle], dim=1))
        fine = self.decode_fine(torch.cat([self.to_fine(middle), fine], dim=1))
        return self.out(fine)[..., :height, :width]

    def between(self, frames: torch.Tensor) -> torch.Tensor:
        """The new frames alone: (B, C, F - 1, h, w) of ``frames`` (B, C, F, h, w), each from its two neighbours.

        Raises:
            UserError: the channels are not those that the network was built for.
        """
        if frames.shape[1] != self.config.channels:
            raise UserError(
                f"the interpolator is for latents of {self.config.channels} channels, these have {frames.shape[1]}: "
                "train one on this model's latents (alice-repro train-interpolator)"
            )
        pair = torch.cat([frames[:, :, :-1], frames[:, :, 1:]], dim=1).transpose(1, 2)
        return self(pair.flatten(0, 1)).unflatten(0, pair.shape[:2]).transpose(1, 2)

    def interpolate(self, frames: torch.Tensor) -> torch.Tensor:
        """(B, C, F, h, w) to (B, C, 2F - 1, h, w); frames 0, 2, 4 ... are copies of the originals, bit for bit."""
        b, c, count, h, w = frames.shape
        result = frames.new_empty(b, c, 2 * count - 1, h, w)
        result[:, :, ::2] = frames
        if count > 1:
            result[:, :, 1::2] = self.between(frames)
        return result


def load_interpolator(folder: Path) -> FrameInterpolator:
    """Load a trained interpolator, checked, in evaluation mode: its batch norms use the statistics of the training.

    Raises:
        UserError: no such folder, a folder of another model, or damaged weights.
    """
    folder = Path(folder)
    if not (folder / "config.json").exists():
        raise UserError(f"interpolator {folder} does not exist; make one: alice-repro train-interpolator")
    kind = read_json(folder / "config.json").get("_class_name")
    if kind != FrameInterpolator.__name__:
        raise UserError(f"{folder} holds a {kind}, not an interpolator: give the folder of train-interpolator")
    check_weights(folder)
    return FrameInterpolator.from_pretrained(folder).requires_grad_(False).eval()


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )
