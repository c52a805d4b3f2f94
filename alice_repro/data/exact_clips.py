"""The finite set of clips that the exact teacher is made of: web clips of each caption, encoded by the lab's codec."""

from __future__ import annotations

import numpy as np
import torch

from alice_repro.models.codec import LabCodec, normalise_latents, to_unit_range
from alice_repro.world.captions import parse_caption
from alice_repro.world.clips import draw_scene, make_clip
from alice_repro.world.scene import Scene

WORLD_SEED = 2  # not the seed of the clips that the trained teacher saw


@torch.no_grad()
def exact_clips(captions: list[str], count: int, codec: LabCodec) -> tuple[torch.Tensor, list[list[Scene]]]:
    """Encode ``count`` web clips of each caption.

    Returns:
        Normalised latents (captions, count, C, T, h, w) in float32, and the scenes, whose modes and defects are known.
    """
    latents, scenes = [], []
    for text in captions:
        drawn = [draw_scene(parse_caption(text), WORLD_SEED, index) for index in range(count)]
        frames = np.stack([make_clip(scene).frames for scene in drawn])
        z = codec.encode(to_unit_range(torch.from_numpy(frames))).latent_dist.mode()
        latents.append(normalise_latents(z, codec.config))
        scenes.append(drawn)
    return torch.stack(latents), scenes
