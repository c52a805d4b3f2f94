"""What a caption can say: the world's vocabulary, the caption grammar, and the train / held-out split.

A caption names a colour, a shape, a motion and a setting; camera and style are named unless they are the plain ones.
The *setting* is the caption's category: it fixes how often web clips carry a defect that the caption does not mention.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

COLOURS = {
    "red": (205, 60, 55),
    "green": (60, 175, 75),
    "blue": (60, 95, 215),
    "yellow": (215, 200, 65),
    "purple": (165, 65, 200),
    "cyan": (65, 195, 205),
}
SHAPES = ("ball", "box", "triangle", "cross")
MOTIONS = {
    "fall": "falls",
    "bounce": "bounces",
    "slide": "slides",
    "float": "floats",
    "orbit": "orbits",
    "collide": "collides",
    "roll": "rolls",
}
# Setting -> share of web clips with a defect.
SETTINGS = {"studio": 0.0, "gym": 0.1, "yard": 0.3, "harbour": 0.5, "cave": 0.7, "rooftop": 0.9}
CAMERAS = {
    "static": "",
    "pan": ", the camera pans",
    "zoom": ", the camera zooms",
    "roll": ", the camera rolls",
    "shake": ", the camera shakes",
}
STYLES = {"flat": "", "outline": ", outline style", "night": ", night style", "pastel": ", pastel style"}

_PATTERN = re.compile(
    r"^a (?P<colour>\w+) (?P<shape>\w+) (?P<verb>\w+) in the (?P<setting>\w+)"
    r"(?P<camera>, the camera \w+)?(?P<style>, \w+ style)?$"
)


@dataclass(frozen=True, order=True)
class Caption:
    """One caption, taken apart. ``str(caption)`` is its text; :func:`parse_caption` is the inverse."""

    colour: str
    shape: str
    motion: str
    setting: str
    camera: str = "static"
    style: str = "flat"

    def __str__(self) -> str:
        return (
            f"a {self.colour} {self.shape} {MOTIONS[self.motion]} in the {self.setting}"
            f"{CAMERAS[self.camera]}{STYLES[self.style]}"
        )

    @property
    def defect_rate(self) -> float:
        """Share of web clips of this caption's category that carry a defect."""
        return SETTINGS[self.setting]

    @property
    def held_out(self) -> bool:
        """Whether the (shape, colour, motion) tuple is kept from training.

        A Latin pattern: each (shape, colour) pair loses about one motion in six, and every word is still seen in
            training.
        """
        index = SHAPES.index(self.shape) + list(COLOURS).index(self.colour) + list(MOTIONS).index(self.motion)
        return index % 6 == 0


def parse_caption(text: str) -> Caption:
    """Read a caption's text.

    Raises:
        ValueError: the text is not a caption of this world; the message names the word that is unknown.
    """
    match = _PATTERN.match(text.strip())
    if match is None:
        raise ValueError(f"not a caption of the lab's world: {text!r}")
    verbs = {verb: motion for motion, verb in MOTIONS.items()}
    cameras = {phrase: camera for camera, phrase in CAMERAS.items()}
    styles = {phrase: style for style, phrase in STYLES.items()}
    words = {
        "colour": (match["colour"], COLOURS),
        "shape": (match["shape"], SHAPES),
        "motion": (match["verb"], verbs),
        "setting": (match["setting"], SETTINGS),
        "camera": (match["camera"] or "", cameras),
        "style": (match["style"] or "", styles),
    }
    for kind, (word, known) in words.items():
        if word not in known:
            raise ValueError(f"unknown {kind} {word!r} in caption {text!r}")
    return Caption(
        match["colour"],
        match["shape"],
        verbs[match["verb"]],
        match["setting"],
        cameras[match["camera"] or ""],
        styles[match["style"] or ""],
    )


def all_captions(
    shapes: tuple[str, ...],
    colours: tuple[str, ...],
    motions: tuple[str, ...],
    settings: tuple[str, ...] = tuple(SETTINGS),
    cameras: tuple[str, ...] = ("static",),
    styles: tuple[str, ...] = ("flat",),
) -> list[Caption]:
    """Every caption over the given words, in a fixed order."""
    product = itertools.product(colours, shapes, motions, settings, cameras, styles)
    return [Caption(*words) for words in product]


def vocabulary() -> list[str]:
    """Every token (word or comma) that a caption can hold, in a fixed order; the tokenizer's vocabulary."""
    phrases = [*COLOURS, *SHAPES, *MOTIONS.values(), *SETTINGS, *CAMERAS.values(), *STYLES.values(), "a in the"]
    tokens = " ".join(phrases).replace(",", " , ").split()
    return list(dict.fromkeys(tokens))
