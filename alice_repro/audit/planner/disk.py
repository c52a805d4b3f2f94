"""Files that an experiment leaves, by what the code writes and keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence

from alice_repro.audit.planner.memory import FLOAT, HALF, Part, checkpoint_bytes
from alice_repro.audit.planner.network import Network
from alice_repro.audit.planner.work import update_calls
from alice_repro.config import Recipe, Scale

BITS_A_PIXEL = 0.6  # of an mp4 at the quality that `media.write_video` asks for (CRF 8), good to a factor of 3


def files(
    scale: Scale, network: Network, clips: int, recipes: Sequence[tuple[Recipe, int]], arms_sampled: int
) -> list[Part]:
    """Bytes by what they are.

    Args:
        clips: of training data.
        recipes: each with its training runs.
        arms_sampled: folders of videos.
    """
    parts = (
        [Part("weights of the teacher's pipeline", scale.model.download_gb * 1e9)] if scale.model.download_gb else []
    )
    if clips:
        parts.append(Part(f"latents of {clips:,} training clips, float16", clips * math.prod(network.latents) * HALF))
    for recipe, runs in recipes:
        critic = any(update_calls(recipe, stage).has_critic for stage in recipe.stages)
        one = checkpoint_bytes(network.parameters, critic)
        snapshots = len({round(share * recipe.updates) for share in recipe.snapshots})
        parts.append(Part(f"checkpoint of {runs} run(s) {recipe.name}", runs * one))
        parts.append(Part("and its successor while it is written", one))
        parts.append(
            Part(
                f"student and {snapshots} snapshot(s), {runs} run(s)",
                runs * (1 + snapshots) * network.parameters * FLOAT,
            )
        )
    if arms_sampled:
        videos = arms_sampled * scale.prompts.evaluate * scale.prompts.seeds
        pixels = videos * network.frames * network.width * network.height
        parts.append(Part(f"{videos:,} videos (mp4)", pixels * BITS_A_PIXEL / 8, rough=True))
    return parts
