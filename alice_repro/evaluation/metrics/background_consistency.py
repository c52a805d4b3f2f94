"""VBench's background consistency: how little CLIP's features of a frame change."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from alice_repro.evaluation.metrics.frame_similarity import FrameSimilarity
from alice_repro.evaluation.preprocess import clip_input


class BackgroundConsistency(FrameSimilarity):
    """Similarity of CLIP ViT-B/32 image features to the previous and to the first frame, 0..1, 1 = nothing changes.

    Of the central square of the whole frame, subject and background alike: the name is VBench's. Cuts and changes of
    scene lower it, camera motion a little, small motion hardly; a frozen clip has 1. The network runs in float32; on a
    GPU the official package runs it in float16, which moves its scores in about the fourth digit.
    """

    name = "background_consistency"
    measures = ("background_consistency",)
    weighted_by = {"background_consistency": "pairs"}
    weights = ("clip-vitb32",)
    features = "clip-vitb32"

    def prepare(self, frame: np.ndarray) -> Tensor:
        return clip_input(frame)
