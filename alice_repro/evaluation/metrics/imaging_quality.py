"""VBench's imaging quality: distortions of each frame, as MUSIQ sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from alice_repro.errors import unknown_name
from alice_repro.evaluation.metrics.frame_quality import FrameQuality
from alice_repro.evaluation.preprocess import IMAGING_MODES, musiq_input


@dataclass(frozen=True)
class Options:
    """Attributes: preprocessing: "longer" (VBench's default), "shorter", "shorter_centercrop" or "None"."""

    preprocessing: str = "longer"

    def __post_init__(self) -> None:
        if self.preprocessing not in IMAGING_MODES:
            raise unknown_name("preprocessing of imaging_quality", self.preprocessing, IMAGING_MODES)


class ImagingQuality(FrameQuality):
    """Mean over frames of MUSIQ (trained on SPAQ, 0..100) divided by 100, so 0..1; the network does not clip.

    The official result file has 0..100 for a video and 0..1 for the folder; here both are 0..1. Blur, noise, blocks and
    bad exposure lower it. Frames whose longer side is over 512 pixels are made smaller first, without antialiasing.
    """

    name = "imaging_quality"
    measures = ("imaging_quality",)
    weights = ("musiq-spaq",)
    Options = Options

    def prepare(self, frame: np.ndarray) -> Tensor:
        return musiq_input(frame, self.options.preprocessing)

    def scores(self, images: Tensor) -> Tensor:
        return self.run("musiq-spaq", images) / 100
