"""Stored clips, the only data that students see: one safetensors file of latents and their captions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from alice_repro.errors import UserError
from alice_repro.files import atomic_path

SAMPLES = "samples.safetensors"


@dataclass(frozen=True)
class TrainingClips:
    """Latents (N, C, T, h, w) float32, ``caption`` (N,) rows of ``captions``, network evaluations spent on a clip.

    They are the teacher's samples, or clean clips of the world, which cost no evaluation.
    """

    latents: torch.Tensor
    caption: torch.Tensor
    captions: list[str]
    evaluations: int

    def save(self, folder: Path) -> None:
        """Write the clips to ``folder``/samples.safetensors, latents as float16."""
        metadata = {"captions": json.dumps(self.captions), "evaluations": str(self.evaluations)}
        tensors = {"latents": self.latents.half().contiguous(), "caption": self.caption.contiguous()}
        with atomic_path(folder / SAMPLES) as temporary:
            save_file(tensors, temporary, metadata=metadata)

    @staticmethod
    def load(folder: Path) -> TrainingClips:
        """Read stored clips.

        Raises:
            UserError: the file is missing, truncated, of another kind, or holds a number that is not finite.
        """
        path = folder / SAMPLES
        if not path.exists():
            raise UserError(f"{path} does not exist: make the training clips first (alice-repro training-clips)")
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata()
                latents, caption = file.get_tensor("latents").float(), file.get_tensor("caption")
                captions, evaluations = json.loads(metadata["captions"]), int(metadata["evaluations"])
        except (SafetensorError, OSError, TypeError, KeyError) as error:
            raise UserError(
                f"{path} is truncated or not a file of training clips ({error}); delete it and make it again"
            ) from error
        if not torch.isfinite(latents).all():
            raise UserError(f"{path} holds numbers that are not finite; delete it and make it again")
        return TrainingClips(latents, caption, captions, evaluations)
