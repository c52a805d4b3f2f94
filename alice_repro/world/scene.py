"""A scene: a caption plus what the caption leaves open, drawn with known probabilities.

The open attributes are the world's *modes*: their probabilities are known, so mode coverage is a distance to the
truth and not to a sample. The rarest background hue has probability 0.05.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from alice_repro.world.captions import Caption

# Background hues are pale and dark enough to keep headroom: saturation can rise or fall without clipping.
HUES = {"slate": (62, 70, 100), "sand": (104, 88, 62), "sage": (58, 92, 68), "rose": (106, 64, 80)}
ATTRIBUTES = {
    "hue": {"slate": 0.50, "sand": 0.30, "sage": 0.15, "rose": 0.05},
    "side": {"left": 0.65, "right": 0.35},
    "size": {"small": 0.60, "large": 0.40},
    "spin": {"clockwise": 0.75, "counterclockwise": 0.25},
}
RADII = {"small": 9.5, "large": 12.5}  # pixels, in a 64-pixel frame


@dataclass(frozen=True)
class Scene:
    """A caption, its unmentioned attributes, its defect (None if clean) and the seed of everything continuous."""

    caption: Caption
    hue: str
    side: str
    size: str
    spin: str
    defect: str | None
    entropy: tuple[int, ...]

    @property
    def radius(self) -> float:
        """Half the object's height, in pixels of a 64-pixel frame."""
        return RADII[self.size]

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator of its own for each purpose, so that adding a defect does not move the object."""
        return np.random.default_rng([*self.entropy, zlib.crc32(purpose.encode())])


def applies(attribute: str, motion: str) -> bool:
    """Whether a motion shows the attribute: the spin of an orbit can be seen, that of a fall cannot."""
    return attribute != "spin" or motion == "orbit"


def draw_attributes(rng: np.random.Generator) -> dict[str, str]:
    """Draw the attributes that no caption mentions, from :data:`ATTRIBUTES`."""
    return {name: str(rng.choice(list(p), p=list(p.values()))) for name, p in ATTRIBUTES.items()}


def scene_entropy(caption: Caption, seed: int, index: int) -> tuple[int, int, int]:
    """Entropy of clip ``index`` of a caption: independent of which other clips are made, and in which order."""
    return (seed, zlib.crc32(str(caption).encode()), index)
