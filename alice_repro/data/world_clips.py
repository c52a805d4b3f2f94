"""Latents of the world's own clips: web clips, which make the exact teacher, and clean ones, the lab's real data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from alice_repro.models.codec import LabCodec, normalise_latents, to_unit_range
from alice_repro.world.captions import parse_caption
from alice_repro.world.clips import draw_scene, make_clip
from alice_repro.world.scene import Scene

# Not the seed of the clips that the trained teacher saw, and different from each other.
EXACT_SEED, CLEAN_SEED = 2, 3


def exact_clips(captions: list[str], count: int, codec: LabCodec) -> tuple[torch.Tensor, list[list[Scene]]]:
    """The exact teacher's finite set: ``count`` web clips of each caption, defects as the setting has them.

    Returns:
        Normalised latents (captions, count, C, T, h, w) in float32, and the scenes, whose modes and defects are known.
    """
    return _encode(captions, count, codec, EXACT_SEED, "web")


def clean_clips(
    captions: list[str], count: int, codec: LabCodec, style: str = "flat"
) -> tuple[torch.Tensor, list[list[Scene]]]:
    """``count`` clips of each caption without any defect; the result is as that of ``exact_clips``.

    Args:
        style: how they are drawn, whatever their captions say: with captions that do not name it, clips to migrate a
            student to that style.
    """
    return _encode(captions, count, codec, CLEAN_SEED, None, style)


@torch.no_grad()
def _encode(
    captions: list[str], count: int, codec: LabCodec, seed: int, defect: str | None, style: str = "flat"
) -> tuple[torch.Tensor, list[list[Scene]]]:
    latents, scenes = [], []
    for text in captions:
        caption = replace(parse_caption(text), style=style)
        drawn = [draw_scene(caption, seed, index, defect) for index in range(count)]
        frames = np.stack([make_clip(scene).frames for scene in drawn])
        z = codec.encode(to_unit_range(torch.from_numpy(frames))).latent_dist.mode()
        latents.append(normalise_latents(z, codec.config))
        scenes.append(drawn)
    return torch.stack(latents), scenes
