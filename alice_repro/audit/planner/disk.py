"""Files that an experiment leaves, by what the code writes and keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence

from alice_repro.audit.planner.memory import FLOAT, HALF, Part, checkpoint_bytes
from alice_repro.audit.planner.network import Network
from alice_repro.audit.planner.work import update_calls
from alice_repro.config import Recipe, Scale

BITS_A_PIXEL = 0.6  # of an mp4 at the quality that `media.write_video` asks for (CRF 8), good to a factor of 3


def snapshots(recipe: Recipe) -> int:
    """How many snapshots of the student a run keeps."""
    return len({round(share * recipe.updates) for share in recipe.snapshots})


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
    checkpoints, students = [], []
    for recipe, runs in recipes:
        critic = any(update_calls(recipe, stage).has_critic for stage in recipe.stages)
        checkpoints.append((runs, checkpoint_bytes(network.parameters, critic)))
        students.append(runs * (1 + snapshots(recipe)))
    runs = sum(count for count, _ in checkpoints)
    parts.append(Part(f"checkpoints of {runs} run(s)", sum(count * one for count, one in checkpoints)))
    parts.append(
        Part("a checkpoint's successor while it is written", max((one for _, one in checkpoints), default=0.0))
    )
    parts.append(Part(f"students and snapshots, {sum(students)}", sum(students) * network.parameters * FLOAT))
    if arms_sampled:
        videos = arms_sampled * scale.prompts.evaluate * scale.prompts.seeds
        pixels = videos * network.frames * network.width * network.height
        parts.append(Part(f"{videos:,} videos (mp4)", pixels * BITS_A_PIXEL / 8, rough=True))
    return parts
