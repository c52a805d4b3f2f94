"""Colour: closed forms, and what oversaturation moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alice_repro.errors import UserError
from alice_repro.evaluation.metric import Clip, Tools
from alice_repro.evaluation.metrics.colour import Colour, chroma, clipped_share, colourfulness, hsv_saturation

CLIP = Clip("a.mp4", Path("a.mp4"), None, 8.0, 16, 24)


def plain(*colour: int) -> np.ndarray:
    return np.full((16, 24, 3), colour, np.uint8)


@pytest.mark.parametrize(
    "colour, expected",
    [((255, 0, 0), 104.55), ((0, 255, 0), 119.78), ((0, 0, 255), 133.81), ((128, 128, 128), 0.0), ((0, 0, 0), 0.0)],
)
def test_chroma_of_srgb_primaries(colour, expected):
    """C*ab of the sRGB primaries under D65, as tables of colour conversion give it (red: a* 80.09, b* 67.20)."""
    assert chroma(plain(*colour)) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    "colour, expected", [((200, 100, 50), 0.75), ((10, 10, 10), 0.0), ((0, 0, 0), 0.0), ((0, 0, 3), 1.0)]
)
def test_hsv_saturation_is_the_range_over_the_maximum(colour, expected):
    assert hsv_saturation(plain(*colour)) == pytest.approx(expected)


def test_colourfulness_by_hand():
    """Half red, half blue: rg = 255 and 0, yb = 127.5 and -255."""
    frame = plain(255, 0, 0)
    frame[:, 12:] = (0, 0, 255)
    sigma, mu = np.hypot(127.5, 191.25), np.hypot(127.5, -63.75)
    assert colourfulness(frame) == pytest.approx(sigma + 0.3 * mu)
    assert colourfulness(plain(255, 0, 0)) == pytest.approx(0.3 * np.hypot(255, 127.5))
    assert colourfulness(plain(77, 77, 77)) == 0


def test_clipped_pixels_count_once():
    frame = plain(100, 100, 100)
    frame[0, 0], frame[0, 1], frame[0, 2] = (255, 0, 100), (254, 100, 100), (3, 100, 252)
    assert clipped_share(frame, 2) == pytest.approx(2 / frame[..., 0].size)
    assert clipped_share(frame, 0) == pytest.approx(1 / frame[..., 0].size)
    assert clipped_share(frame, 3) == pytest.approx(3 / frame[..., 0].size)


def test_a_video_has_the_mean_of_its_frames():
    watcher = Colour(Tools()).watch(CLIP)
    for colour in ((255, 0, 0), (128, 128, 128)):
        watcher.see(plain(*colour))
    values = watcher.result().values
    assert tuple(values) == Colour.measures
    assert values["chroma"] == pytest.approx(104.55 / 2, abs=0.03)
    assert values["hsv_saturation"] == values["clipped_share"] == pytest.approx(0.5)


def test_size_hardly_matters():
    import cv2

    rng = np.random.default_rng(0)
    large = cv2.GaussianBlur(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8), (0, 0), 8)
    large = np.clip((large.astype(float) - 127) * 12 + 127, 20, 230).astype(np.uint8)
    small = cv2.resize(large, (160, 120), interpolation=cv2.INTER_AREA)
    for measure in (chroma, hsv_saturation, colourfulness):
        assert measure(small) == pytest.approx(measure(large), rel=0.01)


def test_a_wrong_margin_is_told():
    with pytest.raises(UserError, match="margin must be 0 to 127"):
        Colour(Tools(), {"margin": 128})
