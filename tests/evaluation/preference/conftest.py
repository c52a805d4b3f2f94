"""Two small arms of videos, and a study of them."""

from __future__ import annotations

import numpy as np
import pytest

import alice_repro.media as media
from alice_repro.evaluation.preference.opening import open_study

PROMPTS = ("a red ball falls", "a blue box slides", "a cat, “sitting”")


def moving(seed: int, frames: int = 8, size: int = 32) -> np.ndarray:
    """A bright bar that travels over a grey ground, uint8 (T, H, W, 3)."""
    clip = np.full((frames, size, size, 3), 40 + 20 * (seed % 5), dtype=np.uint8)
    for t in range(frames):
        clip[t, :, (4 * t + seed) % size] = (200, 80 + seed % 100, 60)
    return clip


@pytest.fixture(scope="session")
def two_arms(tmp_path_factory):
    """Folders `teacher` and `student`: three prompts, two seeds each, in VBench's names."""
    root = tmp_path_factory.mktemp("arms")
    for a, arm in enumerate(("teacher", "student")):
        for p, prompt in enumerate(PROMPTS):
            for seed in range(2):
                (root / arm).mkdir(exist_ok=True)
                media.write_video(root / arm / f"{prompt}-{seed}.mp4", moving(100 * a + 10 * p + seed), 8)
    return root / "teacher", root / "student"


@pytest.fixture
def study(two_arms, tmp_path):
    return open_study(two_arms, tmp_path / "out", votes=2)
