"""Weights and pictures that are the same in every environment: from names and shapes, by numpy's Philox alone."""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def uniform(name: str, shape) -> np.ndarray:
    """Float32 in [-1, 1), drawn from a seed that the name gives."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    draw = np.random.Generator(np.random.Philox(seed)).random(tuple(shape), dtype=np.float32)
    return 2 * draw - 1


def weights(shapes) -> dict[str, torch.Tensor]:
    """A state dict for name -> shape, scaled so that activations neither vanish nor explode through many layers."""
    return {name: torch.from_numpy(_values(name, tuple(shape))) for name, shape in shapes.items()}


# Last layers of flows and pictures: small, so that flows stay inside the frame and colours inside [0, 1].
LAST = ("flow_head.conv2", "flow_head.2", "convblock.2", "comb_block.2")


def _values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    if not shape:
        return np.zeros(shape, dtype=np.int64)  # batches that a norm has seen
    # Two names for one tensor get one value.
    draw = uniform(name.replace(".norm3.", ".downsample.1."), shape)
    if shape[0] == 1 or name.endswith(("emb", "embedding")):
        return np.float32(0.5) * draw
    if len(shape) > 1:
        gain = 0.1 if any(last in name for last in LAST) else 1
        return draw * np.float32(gain * (3 / np.prod(shape[1:])) ** 0.5)  # variance 1 / inputs
    if name.endswith(("weight", "running_var")):
        return 1 + np.float32(0.3) * draw
    return np.float32(0.1) * draw


def picture(name: str, n: int, height: int, width: int) -> torch.Tensor:
    """(N, 3, H, W) in [0, 1]: a few waves, each frame a little on, with some noise."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    frames = []
    for i in range(n):
        waves = [uniform(f"{name} wave {k}", (3, 4)) for k in range(3)]
        image = np.stack(
            [
                sum(np.sin(0.2 * (w[c, 0] * (x - 2 * i) + w[c, 1] * (y + i)) + 3 * w[c, 2]) for w in waves)
                for c in range(3)
            ]
        )
        frames.append(0.5 + 0.15 * image + 0.03 * uniform(f"{name} noise {i}", image.shape))
    return torch.from_numpy(np.stack(frames).clip(0, 1).astype(np.float32))
