"""VBench's aesthetic quality: what people who rated pictures would give each frame."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from alice_repro.evaluation.metrics.frame_quality import FrameQuality
from alice_repro.evaluation.preprocess import clip_input


class AestheticQuality(FrameQuality):
    """Mean over frames of the LAION aesthetic head on normalised CLIP ViT-L/14 features, divided by 10.

    Raters gave 1..10, so 0.1..1; the head is linear and not clipped, most videos lie in 0.4..0.7. Of the central square
    of each frame: layout, colour, contrast and subject move it, motion does not. In float32; on a GPU the official
    package runs CLIP in float16.
    """

    name = "aesthetic_quality"
    measures = ("aesthetic_quality",)
    weights = ("clip-vitl14", "laion-aesthetic")

    def prepare(self, frame: np.ndarray) -> Tensor:
        return clip_input(frame)

    def scores(self, images: Tensor) -> Tensor:
        features = F.normalize(self.run("clip-vitl14", images), dim=-1)
        return self.run("laion-aesthetic", features) / 10
