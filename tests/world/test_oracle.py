"""The oracle on clips whose truth is known, as drawn: what it must see, what it must refuse, what must not move it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alice_repro.errors import UserError
from alice_repro.files import read_toml
from alice_repro.world.captions import COLOURS, Caption, all_captions, parse_caption
from alice_repro.world.clips import draw_scene, make_clip
from alice_repro.world.defects import applicable_defects
from alice_repro.world.oracle import CONSTANTS, DEFECT_MEASURES, MOTIONS, measure
from alice_repro.world.tracking import estimate_background, track_object
from alice_repro.world.trajectory import classify_motion, jump, travel, turning, without_jump

SHAPES = ("ball", "box", "triangle")
CAPTIONS = all_captions(SHAPES, tuple(COLOURS), MOTIONS)
SAMPLE = [CAPTIONS[i] for i in range(3, len(CAPTIONS), 31)]


def clean(caption: Caption, index: int = 0):
    return make_clip(draw_scene(caption, 21, index, None))


def test_clean_clips_are_correct_and_sound_and_their_modes_are_seen():
    for i, caption in enumerate(SAMPLE):
        clip = clean(caption, i)
        seen = measure(clip.frames, str(caption))
        assert (seen.object_shape, seen.object_colour, seen.motion) == (caption.shape, caption.colour, caption.motion)
        assert seen.endpoint and seen.flags == (), caption
        assert (seen.hue, seen.side, seen.size) == (clip.scene.hue, clip.scene.side, clip.scene.size)
        assert seen.spin == (clip.scene.spin if caption.motion == "orbit" else None)
        assert seen.multiple_objects == (caption.motion == "collide")


@pytest.mark.parametrize("defect", DEFECT_MEASURES)
def test_each_defect_raises_its_own_score_and_its_flag(defect):
    found = []
    for i, caption in enumerate([c for c in SAMPLE if defect in applicable_defects(c.motion)][:6]):
        damaged = measure(make_clip(draw_scene(caption, 21, i, defect)).frames, str(caption))
        whole = measure(clean(caption, i).frames, str(caption))
        assert damaged.scores[defect] > whole.scores[defect], caption
        found.append(defect in damaged.flags)
        assert damaged.sound == (not damaged.flags)
    assert np.mean(found) >= 0.75


def test_a_measure_that_is_not_admitted_leaves_sound_alone(monkeypatch):
    caption = Caption("red", "box", "slide", "studio")
    frames = make_clip(draw_scene(caption, 21, 0, "flicker")).frames
    assert not measure(frames, str(caption)).sound
    constants = read_toml(CONSTANTS)
    constants["admitted"].remove("flicker")
    monkeypatch.setattr("alice_repro.world.oracle._constants", lambda: constants)
    assert measure(frames, str(caption)).sound


def test_wrong_captions_are_not_correct():
    rights = 0
    for i, caption in enumerate(SAMPLE):
        other = SAMPLE[(i + 5) % len(SAMPLE)]
        seen = measure(clean(caption, i).frames, str(other))
        same = (caption.shape, caption.colour, caption.motion) == (other.shape, other.colour, other.motion)
        assert seen.correct == same
        rights += seen.correct
    assert rights == 0


@pytest.mark.parametrize("word", ["colour", "shape", "motion"])
def test_one_wrong_word_is_enough(word):
    caption = Caption("red", "ball", "slide", "studio")
    wrong = {"colour": "purple", "shape": "box", "motion": "fall"}[word]
    other = Caption(**{**{n: getattr(caption, n) for n in ("colour", "shape", "motion", "setting")}, word: wrong})
    seen = measure(clean(caption).frames, str(other))
    marks = {"colour": seen.colour_correct, "shape": seen.shape_correct, "motion": seen.motion_correct}
    assert [name for name, right in marks.items() if not right] == [word] and not seen.correct


def test_collide_without_its_block_is_a_slide():
    caption = Caption("cyan", "box", "slide", "studio")
    seen = measure(clean(caption).frames, "a cyan box collides in the studio")
    assert seen.motion == "slide" and not seen.correct and not seen.multiple_objects


def test_an_empty_scene_and_noise_are_neither_correct_nor_sound():
    caption = Caption("red", "ball", "fall", "studio")
    empty = np.repeat(clean(caption).frames[-1:, :, ::-1][:, :, :24].repeat(3, axis=2)[:, :, :64], 17, axis=0)
    seen = measure(empty, str(caption))
    assert not seen.endpoint
    noise = np.random.default_rng(0).integers(0, 256, (17, 64, 64, 3), dtype=np.uint8)
    assert not measure(noise, str(caption)).endpoint
    flat = np.full((17, 64, 64, 3), 90, np.uint8)
    blank = measure(flat, str(caption))
    assert blank.object_shape is None and blank.scores["vanish"] == 1.0 and not blank.sound


def test_half_an_object_and_two_pieces_are_no_shape():
    caption = Caption("red", "box", "slide", "studio")
    clip = clean(caption)
    background = estimate_background(clip.frames.astype(np.float32))
    for broken in ("gap", "sliver"):
        frames = clip.frames.copy()
        track = track_object(frames.astype(np.float32), background)
        for t, (left, top, right, bottom) in enumerate(track.box.astype(int)):
            columns = slice(left + 5, right - 5) if broken == "gap" else slice(left + 6, right)
            frames[t, top:bottom, columns] = background.rows[top:bottom, None].round()
        assert not measure(frames, str(caption)).shape_correct, broken


def test_moderate_softness_is_not_the_blur_defect():
    import cv2

    caption = Caption("yellow", "ball", "float", "studio")
    frames = clean(caption).frames
    soft = np.stack([cv2.GaussianBlur(f, (0, 0), 1.0) for f in frames])
    assert measure(soft, str(caption)).endpoint


@pytest.mark.parametrize("frames", [np.zeros((17, 32, 32, 3), np.uint8), np.zeros((17, 64, 64, 3), np.float32)])
def test_other_forms_of_frames_are_refused(frames):
    with pytest.raises(UserError, match="oracle wants"):
        measure(frames, "a red ball falls in the studio")


@pytest.mark.parametrize(
    "caption", ["a cat", "a red ball rolls in the gym", "a red ball falls in the gym, the camera pans"]
)
def test_captions_that_it_cannot_judge_are_refused(caption):
    with pytest.raises(UserError):
        measure(np.zeros((17, 64, 64, 3), np.uint8), caption)


def test_the_track_follows_the_truth():
    caption = Caption("green", "ball", "orbit", "studio")
    clip = clean(caption)
    frames = clip.frames.astype(np.float32)
    track = track_object(frames, estimate_background(frames))
    assert track.visible.all()
    assert np.abs(track.position - clip.path.position).max() < 0.3
    assert track.area == pytest.approx(np.pi * clip.scene.radius**2, rel=0.05)


def paths():
    time = np.arange(17.0)
    flat, zero = np.full(17, 40.0), np.zeros(17)
    return {
        "fall": np.stack([20 + 0.5 * time, np.minimum(12 + 0.3 * time**2, 44)], axis=1),
        "bounce": np.stack([20 + 0.5 * time, 44 - 30 * np.abs(np.cos(time / 4))], axis=1),
        "float": np.stack([20 + 0.2 * time, 44 - 1.9 * time], axis=1),
        "slide": np.stack([14 + 3.5 * time - 0.1 * time**2, flat], axis=1),
        "orbit": np.stack([32 + 13 * np.cos(time / 2.6), 27 + 13 * np.sin(time / 2.6)], axis=1),
        "none": np.stack([20 + zero, flat + 0.1 * time], axis=1),
    }


@pytest.mark.parametrize("motion", paths())
def test_motion_rules_on_closed_forms(motion):
    path = paths()[motion]
    assert classify_motion(path, block_moved=False) == motion
    assert classify_motion(path + np.random.default_rng(0).normal(0, 0.4, path.shape), block_moved=False) == motion


def test_a_pushed_block_makes_a_slide_a_collision():
    assert classify_motion(paths()["slide"], block_moved=True) == "collide"
    assert classify_motion(paths()["fall"], block_moved=True) == "fall"


def test_path_features_on_closed_forms():
    orbit = paths()["orbit"]
    assert (
        turning(orbit) == pytest.approx(16 / 2.6, rel=0.05)
        and turning(orbit[:, [0]] * [1, 0] + [0, 64] - orbit * [0, 1]) < 0
    )
    assert travel(np.full((17, 2), 5.0)) == 0.0
    slide = paths()["slide"]
    leapt = slide.copy()
    leapt[9:, 0] -= 20
    assert jump(slide) < 2.0 and jump(leapt) == pytest.approx(20, abs=1.0)
    assert without_jump(leapt) == pytest.approx(slide, abs=1.0)
    hidden = paths()["fall"]
    hidden[10:] = np.nan
    assert classify_motion(hidden, block_moved=False) == "fall"


def test_a_row_is_flat():
    row = measure(clean(parse_caption("a red ball falls in the gym")).frames, "a red ball falls in the gym").as_row()
    assert set(DEFECT_MEASURES) <= set(row) and not any(isinstance(v, dict | list | tuple) for v in row.values())


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.25])
def test_saturation_is_relative_to_the_colour_as_drawn(factor):
    """On a sharp drawing, where nothing of the chroma is lost; colours pushed away from grey by a factor."""
    caption = "a green ball falls in the studio"
    frames = make_clip(draw_scene(parse_caption(caption), 5, 0, defect=None)).frames.astype(float)
    grey = frames.mean(-1, keepdims=True)
    pushed = np.clip(grey + factor * (frames - grey), 0, 255).astype(np.uint8)
    seen = measure(pushed, caption).saturation
    assert 0.93 * (1 + seen) == pytest.approx(factor, abs=0.06)


@pytest.mark.parametrize("style", ["flat", "night", "pastel"])
def test_a_style_shows_in_the_background(style):
    caption = parse_caption("a red box slides in the gym")
    for index in range(6):
        frames = make_clip(draw_scene(replace(caption, style=style), 5, index, defect=None)).frames
        assert measure(frames, str(caption)).style == style
