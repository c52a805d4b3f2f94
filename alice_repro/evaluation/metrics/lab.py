"""The lab protocol as a metric: the oracle judges a clip of the lab's world by its pixels and its caption alone."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from alice_repro.errors import UserError
from alice_repro.evaluation.lab import LAB_CONTINUOUS, LAB_MEASURES, score_measurement
from alice_repro.evaluation.metric import Clip, Metric, Result, Watcher
from alice_repro.evaluation.metrics.temporal_flickering import TemporalFlickering
from alice_repro.files import sha256_file
from alice_repro.world.oracle import CONSTANTS, SIZE, measure

LONGEST = 512  # frames that are held; the lab's own clips have 17


class Lab(Metric):
    """Clips of the lab's world: the primary endpoint and its parts, defects, modes, and what VBench's names ask.

    Only for captions of the lab's world; a clip of another size is refused before it is held in memory.
    """

    name = "lab"
    measures = LAB_MEASURES
    binary = tuple(name for name in LAB_MEASURES if not name.startswith(LAB_CONTINUOUS))
    reads_caption = True
    code = (
        "alice_repro.evaluation.lab",
        "alice_repro.evaluation.metrics.temporal_flickering",
        "alice_repro.world.oracle",
        "alice_repro.world.tracking",
        "alice_repro.world.trajectory",
    )

    @cached_property
    def identity(self) -> str:
        """Also of the oracle's thresholds."""
        return f"{super().identity} {sha256_file(CONSTANTS)[:8]}"

    def watch(self, clip: Clip) -> Watcher:
        if clip.caption is None:
            raise UserError("the lab protocol needs a caption")
        if (clip.height, clip.width) != (SIZE, SIZE):
            raise UserError(f"a clip of the lab's world is {SIZE} x {SIZE}, not {clip.width} x {clip.height}")
        flickering = TemporalFlickering(self.tools).watch(clip)
        return _Watcher(clip.caption, flickering)


class _Watcher:
    def __init__(self, caption: str, flickering: Watcher) -> None:
        self.caption, self.flickering = caption, flickering
        self.frames: list[np.ndarray] = []

    def see(self, frame: np.ndarray) -> None:
        if len(self.frames) == LONGEST:
            raise UserError(f"a clip of the lab's world has a few frames, this one more than {LONGEST}")
        self.frames.append(frame)
        self.flickering.see(frame)

    def result(self) -> Result:
        row = score_measurement(measure(np.stack(self.frames), self.caption), self.caption)
        return Result(row | self.flickering.result().values)
