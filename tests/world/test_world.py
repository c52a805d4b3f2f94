"""The world itself: reproducible, splits without leaks, rates as stated, defects that can be seen."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from alice_repro.world.captions import (
    CAMERAS,
    COLOURS,
    MOTIONS,
    SETTINGS,
    SHAPES,
    STYLES,
    Caption,
    all_captions,
    parse_caption,
    vocabulary,
)
from alice_repro.world.clips import draw_scene, make_clip
from alice_repro.world.defects import DEFECTS, applicable_defects, draw_defect
from alice_repro.world.scene import ATTRIBUTES, draw_attributes

LAB_MOTIONS = ("fall", "bounce", "slide", "float", "orbit", "collide")
LAB = all_captions(("ball", "box", "triangle"), tuple(COLOURS), LAB_MOTIONS)


def within_binomial(count: int, n: int, p: float) -> bool:
    """Four standard deviations: a fair draw fails once in 16,000 times."""
    return abs(count - n * p) <= 4 * np.sqrt(n * p * (1 - p)) + 1e-9


def test_every_caption_survives_the_round_trip():
    captions = all_captions(SHAPES, tuple(COLOURS), tuple(MOTIONS), cameras=tuple(CAMERAS), styles=tuple(STYLES))
    texts = {str(caption) for caption in captions}
    assert len(texts) == len(captions) == 4 * 6 * 7 * 6 * 5 * 4
    words = set(vocabulary())
    for caption in captions:
        assert parse_caption(str(caption)) == caption
        assert set(str(caption).replace(",", " ,").split()) <= words


@pytest.mark.parametrize(
    "text", ["a red ball", "a pink ball falls in the gym", "a red ball falls in the gym, the camera flies"]
)
def test_foreign_captions_are_refused(text):
    with pytest.raises(ValueError, match="not a caption|unknown"):
        parse_caption(text)


def test_held_out_tuples_are_new_and_their_words_are_not():
    def tuples(captions):
        return {(c.shape, c.colour, c.motion) for c in captions}

    train, held_out = [c for c in LAB if not c.held_out], [c for c in LAB if c.held_out]
    assert held_out and not tuples(train) & tuples(held_out)
    assert {w for c in train for w in str(c).split()} == {w for c in LAB for w in str(c).split()}
    for pair in itertools.product(("ball", "box", "triangle"), COLOURS):  # pairs are seen, only their motion is new
        assert any((c.shape, c.colour) == pair for c in train)


def test_a_clip_depends_on_its_seed_alone():
    captions = [LAB[5], LAB[200], LAB[400]]
    forward = [make_clip(draw_scene(c, 3, i)).frames for c in captions for i in range(2)]
    jobs = [(c, i) for c in captions for i in range(2)]
    backward = [make_clip(draw_scene(c, 3, i)).frames for c, i in reversed(jobs)][::-1]
    assert all((a == b).all() for a, b in zip(forward, backward, strict=True))
    assert (forward[0] != make_clip(draw_scene(captions[0], 4, 0)).frames).any()


def test_clean_objects_are_in_sight_and_palettes_keep_headroom():
    for i in range(0, len(LAB), 11):
        clip = make_clip(draw_scene(LAB[i], 5, i, None))
        assert clip.frames.min() > 0 and clip.frames.max() < 255
        inside = ((clip.path.position > 3) & (clip.path.position < 61)).all(axis=1)
        assert inside[0] and inside.mean() > 0.8


@pytest.mark.parametrize("setting", SETTINGS)
def test_defects_come_at_the_rate_of_the_setting(setting):
    n, rng = 3000, np.random.default_rng(1)
    drawn = [draw_defect("fall", SETTINGS[setting], rng) for _ in range(n)]
    assert within_binomial(sum(d is not None for d in drawn), n, SETTINGS[setting])


def test_web_scenes_carry_the_rates_and_fifteen_percent_are_frozen():
    scenes = [draw_scene(caption, 7, index) for caption in LAB for index in range(4)]
    for setting, rate in SETTINGS.items():
        defects = [s.defect is not None for s in scenes if s.caption.setting == setting]
        assert within_binomial(sum(defects), len(defects), rate)
    frozen = np.mean([s.defect == "frozen" for s in scenes])
    assert 0.13 < frozen < 0.17


def test_attributes_come_at_their_probabilities():
    n, rng = 5000, np.random.default_rng(2)
    drawn = [draw_attributes(rng) for _ in range(n)]
    for name, probabilities in ATTRIBUTES.items():
        assert sum(probabilities.values()) == pytest.approx(1.0)
        for mode, p in probabilities.items():
            assert within_binomial(sum(d[name] == mode for d in drawn), n, p)


@pytest.mark.parametrize("motion", LAB_MOTIONS)
def test_each_defect_differs_from_its_clean_twin_and_only_where_it_applies(motion):
    caption = Caption("green", "box", motion, "cave")
    clean = make_clip(draw_scene(caption, 11, 0, None))
    for defect in DEFECTS:
        if defect not in applicable_defects(motion):
            continue
        twin = make_clip(draw_scene(caption, 11, 0, defect))
        assert {n: getattr(twin.scene, n) for n in ATTRIBUTES} == {n: getattr(clean.scene, n) for n in ATTRIBUTES}
        changed = (twin.frames.astype(int) - clean.frames).any(axis=(1, 2, 3))
        assert changed.any(), defect
