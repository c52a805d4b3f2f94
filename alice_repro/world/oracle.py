"""The oracle: does a clip show what its caption says (correct), and is it free of the world's defects (sound)?

It reads pixels and the caption, nothing else. Thresholds lie in ``oracle.toml``; ``validation.calibrate`` chose them
on clips that had gone through the codec and an mp4 file. A defect measure whose AUC is below 0.9 is not ``admitted``
there and does not enter ``sound``.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from alice_repro.errors import UserError
from alice_repro.files import read_toml
from alice_repro.world.captions import COLOURS, SHAPES, Caption, parse_caption
from alice_repro.world.defects import FLOOR_MOTIONS, FREE_MOTIONS
from alice_repro.world.physics import outline
from alice_repro.world.rendering import stylise
from alice_repro.world.scene import HUES, RADII
from alice_repro.world.tracking import Background, Track, chroma, estimate_background, track_block, track_object
from alice_repro.world.trajectory import (
    MIN_SEEN,
    STILL,
    classify_motion,
    jump,
    roughness,
    travel,
    turning,
    without_jump,
)  # fmt: skip

CONSTANTS = Path(__file__).with_name("oracle.toml")
SIZE = 64
BACKGROUND_STYLES = ("flat", "night", "pastel")  # those that show in the background
MOTIONS = ("fall", "bounce", "slide", "float", "orbit", "collide")
DEFECT_MEASURES = (
    "gravity_reversed", "teleport", "vanish", "interpenetration", "flicker", "colour_drift", "blur", "frozen",
)  # fmt: skip
_VANISH_WINDOW = 6  # frames
_CLEAREST = 2  # views from which the shape is read; between key positions a linear codec smears what moves
_COLOUR_REACH = 75.0  # 8-bit chroma units; the nearest two palette colours are 113 apart
_HUE_REACH = 16.0  # 8-bit units, about a fifth of a background's brightness
_SEARCH = 2  # pixels around the centroid in which a template may lie
_TILE = 33  # edge of a shape template, pixels


@dataclass(frozen=True)
class Measurement:
    """What the oracle sees in one clip.

    Attributes:
        object_shape, object_colour, motion: as seen, or None if nothing of the kind can be told; ``motion`` "none" is
        stillness.
        shape_correct, colour_correct, motion_correct: agreement with the caption; ``correct``: all three.
        shape_misfit: distance of the clearest views from the nearest shape's template, 1 - cosine.
        scores: one number per defect, higher is worse (see :func:`defect_scores`); None where the caption's motion
        cannot
            show the defect or the object is not seen.
        flags: defects whose score lies above its threshold, among the admitted measures.
        hue, side, size, spin: the attributes that captions leave open; None where not applicable or not measurable.
        multiple_objects: the object in the caption's colour and the grey block are both there.
        travel: diagonal of the box around the object's path, pixels.
        saturation: length of the object's chroma over that of its caption's colour, less 1: 0 = as drawn, above 0 =
        oversaturated; None if the object is not in that colour.
        style: "flat", "night" or "pastel", as the background's brightness and tone tell; None if it is like none.
        roughness: mean size of the path's second difference, pixels per frame squared; None if not seen long enough.
    """

    object_shape: str | None
    object_colour: str | None
    motion: str | None
    shape_correct: bool
    colour_correct: bool
    motion_correct: bool
    shape_misfit: float
    scores: dict[str, float | None]
    flags: tuple[str, ...]
    hue: str | None
    side: str | None
    size: str | None
    spin: str | None
    multiple_objects: bool
    travel: float
    saturation: float | None
    style: str | None
    roughness: float | None

    @property
    def correct(self) -> bool:
        return self.shape_correct and self.colour_correct and self.motion_correct

    @property
    def sound(self) -> bool:
        return not self.flags

    @property
    def endpoint(self) -> bool:
        """The lab's primary endpoint: correct and sound."""
        return self.correct and self.sound

    def as_row(self) -> dict[str, str | float | bool | None]:
        """One flat row: outcomes, defect scores by name, attributes."""
        names = ("object_shape", "object_colour", "motion", "shape_correct", "colour_correct", "motion_correct")
        outcomes = ("correct", "sound", "endpoint")
        rest = ("shape_misfit", "hue", "side", "size", "spin", "multiple_objects", "travel")
        rest += ("saturation", "style", "roughness")
        row = {name: getattr(self, name) for name in (*names, *outcomes)}
        row["flags"] = " ".join(self.flags)
        return row | self.scores | {name: getattr(self, name) for name in rest}


def measure(frames: np.ndarray, caption: str) -> Measurement:
    """Measure one clip.

    Args:
        frames: uint8 (T, 64, 64, 3) RGB, T >= 9, static camera, flat style.
        caption: a caption of the world.

    Raises:
        UserError: the frames have another form, or the caption asks for what the oracle does not judge.
    """
    wanted = _judged_caption(caption)
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != (SIZE, SIZE, 3) or len(frames) < 9:
        raise UserError(f"the oracle wants uint8 frames (T >= 9, {SIZE}, {SIZE}, 3), not {frames.dtype} {frames.shape}")
    limits = _constants()["threshold"]
    frames = frames.astype(np.float32)
    background = estimate_background(frames)
    thing = track_object(frames, background)
    block = track_block(frames, background)
    path = thing.position
    if jump(path) > limits["teleport"]:
        path = without_jump(path)
    motion = classify_motion(path, _block_moved(block))
    shape, size, misfit = _shape(thing)
    shape = shape if misfit <= limits["shape_misfit"] else None
    colour = _palette_colour(thing)
    scores = defect_scores(wanted, background, thing)
    admitted = _constants()["admitted"]
    flags = tuple(name for name in admitted if scores[name] is not None and scores[name] > limits[name])
    return Measurement(
        object_shape=shape,
        object_colour=colour,
        motion=motion,
        shape_correct=shape == wanted.shape,
        colour_correct=colour == wanted.colour,
        motion_correct=motion == wanted.motion,
        shape_misfit=misfit,
        scores=scores,
        flags=flags,
        hue=_hue(background),
        side=_side(thing),
        size=size if shape else None,
        spin=_spin(path, motion, wanted.motion),
        multiple_objects=_block_there(block) and colour == wanted.colour,
        travel=travel(path),
        saturation=_saturation(thing, wanted.colour) if colour == wanted.colour else None,
        style=_style(background),
        roughness=roughness(thing.position),
    )


def defect_scores(caption: Caption, background: Background, thing: Track) -> dict[str, float | None]:
    """One score per defect, higher is worse.

    - gravity_reversed: how far the path goes against its caption's vertical direction from where it starts, less how
      far it goes along it; pixels. Only for what gravity or buoyancy alone moves.
    - teleport: largest leap from the local course; pixels.
    - vanish: share of the object's area that is missing over its worst six frames; 0..1.
    - interpenetration: largest area of the object more than two pixels below the floor's edge; square pixels. Only for
      motions that touch the floor.
    - flicker: mean change of the background's brightness from frame to frame; natural logarithm.
    - colour_drift: largest chroma distance from the object's first colour; 8-bit units.
    - blur: standard deviation of the Gaussian that would blur a sharp edge as much as the object's sharper frames or
      the floor's edge, whichever is sharper; pixels. A soft object before a sharp scene is not this defect.
    - frozen: 8 / (8 + travel in pixels); 1 = motionless.
    """
    seen = thing.visible
    scores: dict[str, float | None] = dict.fromkeys(DEFECT_MEASURES)
    scores["flicker"] = float(np.abs(np.diff(np.log(np.maximum(background.gain, 0.05)))).mean())
    scores["vanish"] = _missing_area(thing)
    if seen.sum() < MIN_SEEN:
        return scores
    if caption.motion in FREE_MOTIONS:
        y = thing.position[seen, 1]
        upward = (y[0] - y.min()) - (y.max() - y[0])
        scores["gravity_reversed"] = float(-upward if caption.motion == "float" else upward)
    scores["teleport"] = jump(thing.position)
    if caption.motion in FLOOR_MOTIONS:
        scores["interpenetration"] = _area_below(thing, background.floor)
    tone = thing.chroma[seen]
    middle = np.median(np.stack([tone[:-2], tone[1:-1], tone[2:]]), axis=0)
    scores["colour_drift"] = float(np.sqrt(((middle - middle[0]) ** 2).sum(axis=1)).max())
    scores["blur"] = float(min(np.quantile(thing.softness[seen], 0.25), background.softness))
    scores["frozen"] = 8.0 / (8.0 + travel(thing.position))
    return scores


def _judged_caption(text: str) -> Caption:
    try:
        caption = parse_caption(text)
    except ValueError as error:
        raise UserError(str(error)) from error
    if caption.motion not in MOTIONS or caption.camera != "static" or caption.style != "flat":
        raise UserError(
            f"{text!r}: the oracle judges a static camera, the flat style and the motions {', '.join(MOTIONS)}"
        )
    return caption


def _area_below(thing: Track, floor: float) -> float:
    return float(thing.mask[:, round(floor) + 2 :].sum(axis=(1, 2)).max())


def _missing_area(thing: Track) -> float:
    if thing.visible.sum() < MIN_SEEN:
        return 1.0
    lack = (1.0 - thing.area / np.median(thing.area[thing.visible])).clip(0, 1)
    window = min(_VANISH_WINDOW, len(lack))
    return float(np.convolve(lack, np.full(window, 1 / window), "valid").max())


def _shape(thing: Track) -> tuple[str | None, str | None, float]:
    """Shape and size of the template that fits the clearest views best, and its misfit: 1 - cosine, 0 = perfect."""
    frames = np.flatnonzero(thing.visible)
    if len(frames) < MIN_SEEN:
        return None, None, 1.0
    names, templates = _templates()
    reach = _TILE // 2 + _SEARCH
    tiles = np.stack([_tile(thing.mask[t], thing.position[t], reach) for t in frames])
    windows = sliding_window_view(tiles, (_TILE, _TILE), axis=(1, 2)).reshape(len(frames), -1, _TILE * _TILE)
    length = np.sqrt(np.einsum("fwp,fwp->fw", windows, windows))[..., None]
    misfit = (1.0 - windows @ templates.T / length).min(axis=1)
    clearest = np.argsort(misfit.min(axis=1))[:_CLEAREST]
    total = misfit[clearest].mean(axis=0)
    return *names[int(np.argmin(total))], float(total.min())


def _tile(mask: np.ndarray, position: np.ndarray, reach: int) -> np.ndarray:
    """The square of a mask around a position, (2 reach + 1) on a side, zero outside the frame."""
    x, y = (int(c) for c in position)
    return np.pad(mask, reach)[y : y + 2 * reach + 1, x : x + 2 * reach + 1]


@cache
def _templates() -> tuple[list[tuple[str, str]], np.ndarray]:
    """Names (shape, size) and unit-length masks (N, 33 * 33): every shape, both sizes, sharp to soft, centred."""
    fine = 8
    names, masks = [], []
    for shape, (size, radius), blur in itertools.product(SHAPES, RADII.items(), (0.5, 1.5, 2.5, 3.5)):
        corners = outline(shape, radius)
        if shape == "triangle":
            corners = corners - [0.0, radius / 3]
        canvas = np.zeros((_TILE * fine, _TILE * fine), np.uint8)
        cv2.fillPoly(canvas, [np.round((corners + _TILE / 2) * fine).astype(np.int32)], 255)
        mask = cv2.GaussianBlur(cv2.resize(canvas, (_TILE, _TILE), interpolation=cv2.INTER_AREA) / 255.0, (0, 0), blur)
        names.append((shape, size))
        masks.append(mask.ravel() / np.linalg.norm(mask))
    return names, np.stack(masks).astype(np.float32)


def _palette_colour(thing: Track) -> str | None:
    """The palette colour that most frames are nearest to, in chroma; None if none is near."""
    if thing.visible.sum() < MIN_SEEN:
        return None
    palette = chroma(np.array(list(COLOURS.values()), float))
    distance = np.linalg.norm(thing.chroma[thing.visible][:, None] - palette, axis=-1)
    best = int(np.argmax(np.bincount(distance.argmin(axis=1), minlength=len(palette))))
    return list(COLOURS)[best] if np.median(distance[:, best]) < _COLOUR_REACH else None


def _saturation(thing: Track, colour: str) -> float:
    drawn = np.linalg.norm(chroma(np.array(COLOURS[colour], float)))
    seen = np.median(np.linalg.norm(thing.chroma[thing.visible], axis=-1))
    return float(seen / (_constants()["chroma_kept"] * drawn) - 1.0)


def _style(background: Background) -> str | None:
    """The style whose rendering of some background hue is nearest, if it is near."""
    drawn = {
        (style, hue): stylise(np.array(rgb, float), style) for style in BACKGROUND_STYLES for hue, rgb in HUES.items()
    }
    distance = {key: float(np.linalg.norm(background.colour - tone)) for key, tone in drawn.items()}
    best = min(distance, key=distance.__getitem__)
    return best[0] if distance[best] < _HUE_REACH else None


def _block_there(block: Track) -> bool:
    return int(block.visible.sum()) >= len(block.visible) // 2


def _block_moved(block: Track) -> bool:
    x = block.position[block.visible, 0]
    return _block_there(block) and abs(float(np.median(x[-3:]) - np.median(x[:3]))) > STILL


def _hue(background: Background) -> str | None:
    """The nearest background colour, if one is near (brightness apart by at most a fifth)."""
    distance = {name: float(np.linalg.norm(background.colour - rgb)) for name, rgb in HUES.items()}
    best = min(distance, key=distance.__getitem__)
    return best if distance[best] < _HUE_REACH else None


def _side(thing: Track) -> str | None:
    early = thing.position[:3, 0][thing.visible[:3]]
    return None if len(early) == 0 else ("left" if early[0] < SIZE / 2 else "right")


def _spin(path: np.ndarray, motion: str | None, wanted: str) -> str | None:
    if not (motion == wanted == "orbit"):
        return None
    return "clockwise" if turning(path) > 0 else "counterclockwise"


@cache
def _constants() -> dict:
    return read_toml(CONSTANTS)
