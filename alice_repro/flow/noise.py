"""Noise that belongs to a clip: each clip has a generator of its own, so results do not depend on the batch size."""

from __future__ import annotations

from collections.abc import Sequence

import torch


class ClipNoise:
    """Standard normal noise for a list of clips, each with its own seed.

    Args:
        seeds: one integer a clip; equal seeds give equal noise, whatever the batch they are in.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]

    def draw(self, shape: Sequence[int], device: torch.device | str = "cpu") -> torch.Tensor:
        """Next noise of every clip: (clips, *shape), float32, drawn on the CPU."""
        return torch.stack([torch.randn(*shape, generator=g) for g in self.generators]).to(device)


def clip_seed(base: int, prompt: int, seed: int) -> int:
    """Seed of the clip (prompt, seed): the same for every arm, so that arms are paired by their starting noise."""
    return (base * 1_000_003 + prompt) * 1_000_003 + seed
