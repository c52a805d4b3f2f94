"""VBench's subject consistency: how little DINO's features of a frame change."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from alice_repro.evaluation.metrics.frame_similarity import FrameSimilarity
from alice_repro.evaluation.preprocess import dino_input


class SubjectConsistency(FrameSimilarity):
    """Similarity of DINO ViT-B/16 features to the previous and to the first frame, 0..1, 1 = nothing changes.

    Frames go in with their short side at 224 and their shape kept. The whole frame counts, not the subject alone: any
    motion, cut, or change of light lowers it, and a frozen clip has 1. It says nothing of whether the subject is right.
    """

    name = "subject_consistency"
    measures = ("subject_consistency",)
    weighted_by = {"subject_consistency": "pairs"}
    weights = ("dino-vitb16",)
    features = "dino-vitb16"

    def prepare(self, frame: np.ndarray) -> Tensor:
        return dino_input(frame)
