"""What interpolated sampling costs: tokens that the network really saw, and the operations that these predict."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from alice_repro.models.flops import forward_flops
from alice_repro.models.interpolator import FrameInterpolator
from alice_repro.papers import Model


@contextmanager
def tokens_seen(transformer: nn.Module) -> Iterator[list[int]]:
    """Yield a list that gets, for each call of a video transformer, the tokens of a clip that entered its first block.

    Counted by a hook where the work is done, so that tokens added by padding count too.
    """
    seen: list[int] = []
    hook = transformer.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    try:
        yield seen
    finally:
        hook.remove()


def sampling_flops(model: Model, tokens: Sequence[int]) -> float:
    """Least operations of one clip's steps, given the tokens of each: a sum of ``models.flops.forward_flops``."""
    return sum(forward_flops(model, n) for n in tokens)


def interpolation_flops(interpolator: FrameInterpolator, frames: int, height: int, width: int) -> float:
    """Operations of the UNet's convolutions on one clip of so many latent frames, counted by torch without data."""
    twin = copy.deepcopy(interpolator).to("meta")
    clip = torch.empty(1, interpolator.config.channels, frames, height, width, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        twin.interpolate(clip)
    return float(counter.get_total_flops())
