"""From a video's frame to a network's input, exactly as VBench 0.1.5 does it (utils.py of vbench, vbench2_beta_i2v).

Frames come as uint8 (H, W, 3) RGB, inputs leave as float32 (1, 3, h, w). VBench resizes frames as float tensors without
antialiasing, so that large frames alias; its image-to-video part leaves antialiasing to torchvision, which applies it
since its release 0.17.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as images

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
IMAGING_MODES = ("longer", "shorter", "shorter_centercrop", "None")
_MUSIQ_SIDE = 512


def to_tensor(frame: np.ndarray) -> Tensor:
    """Float32 (1, 3, H, W) on 0..255."""
    return torch.tensor(frame).permute(2, 0, 1)[None].float()


def dino_input(frame: np.ndarray) -> Tensor:
    """For subject consistency: short side to 224, bilinear, no crop; ImageNet's normalisation."""
    return images.normalize(images.resize(to_tensor(frame), 224, antialias=False) / 255.0, *IMAGENET)


def clip_input(frame: np.ndarray) -> Tensor:
    """For background consistency and aesthetic quality: short side to 224, bicubic, not clipped; centre crop."""
    small = images.resize(to_tensor(frame), 224, InterpolationMode.BICUBIC, antialias=False)
    return images.normalize(images.center_crop(small, 224) / 255.0, *CLIP)


def musiq_input(frame: np.ndarray, mode: str) -> Tensor:
    """For imaging quality, on 0..1: the longer or the shorter side to 512 if it is more, bilinear; or as it is.

    Args:
        mode: one of IMAGING_MODES; VBench's default is "longer".
    """
    image = to_tensor(frame)
    height, width = image.shape[-2:]
    side = max(height, width) if mode == "longer" else min(height, width)
    if mode != "None" and side > _MUSIQ_SIDE:
        scale = _MUSIQ_SIDE / side
        image = images.resize(image, [int(scale * height), int(scale * width)], antialias=False)
        if mode == "shorter_centercrop":
            image = images.center_crop(image, _MUSIQ_SIDE)
    return image / 255.0


def i2v_dino_input(frame: np.ndarray | Image.Image) -> Tensor:
    """For i2v subject: short side to 256, bicubic, antialiased, crop 224; ImageNet's normalisation.

    The input image, a PIL image, is resized by PIL on 0..255 integers; a frame as a float tensor.
    """
    return images.normalize(_fraction(images.center_crop(_resize(frame, 256), 224)), *IMAGENET)


def dreamsim_input(frame: np.ndarray | Image.Image) -> Tensor:
    """For i2v background: to 224 x 224 whatever the shape, bicubic, antialiased, on 0..1."""
    return _fraction(_resize(frame, [224, 224]))


def flow_input(frame: np.ndarray) -> Tensor:
    """For RAFT: on 0..255, edges repeated so that both sides divide by 8."""
    return pad(to_tensor(frame), 8)


def interpolation_input(frame: np.ndarray) -> Tensor:
    """For AMT: on 0..1, edges repeated so that both sides divide by 16."""
    return pad(to_tensor(frame) / 255.0, 16)


def pad(image: Tensor, multiple: int) -> Tensor:
    """(N, C, H, W) with edges repeated, half at each side, until both sides divide by `multiple`."""
    height, width = image.shape[-2:]
    down, right = -height % multiple, -width % multiple
    return F.pad(image, [right // 2, right - right // 2, down // 2, down - down // 2], mode="replicate")


def unpad(image: Tensor, height: int, width: int) -> Tensor:
    """The middle height x width of a padded (N, C, H, W)."""
    top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
    return image[..., top : top + height, left : left + width]


def _resize(frame: np.ndarray | Image.Image, size: int | list[int]) -> Tensor | Image.Image:
    image = frame if isinstance(frame, Image.Image) else to_tensor(frame)
    return images.resize(image, size, InterpolationMode.BICUBIC, antialias=True)


def _fraction(image: Tensor | Image.Image) -> Tensor:
    return images.to_tensor(image)[None] if isinstance(image, Image.Image) else image / 255.0
