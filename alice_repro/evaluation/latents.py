"""Motion as AVD speaks of it, in latents: variance along time (Eq. 8), likeness of adjacent frames (Figure 15).

Latents are (B, C, T, h, w). Their scale is the autoencoder's, so that a variance, and AVD's cut-off for it, mean
something only among latents of one autoencoder, all normalised as its transformer sees them. AVD says that its
teacher's clips give a loss of about 1.5 in Wan2.1's latents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open

from alice_repro.errors import UserError
from alice_repro.models.codec import to_unit_range

EPSILON = 1e-6
# Where training switches the loss off: AVD section 9.1, and what the released code has.
CUTOFFS = {"paper": 0.6, "release": 0.8}


def temporal_variance(latents: torch.Tensor) -> torch.Tensor:
    """Population variance along time of each clip (B, C, T, h, w), the mean over channels and places: (B,).

    Raises:
        UserError: fewer than two latent frames, or another shape.
    """
    _check(latents)
    return latents.float().var(dim=2, unbiased=False).flatten(1).mean(1)


def temporal_loss(variance: torch.Tensor, cutoff: float | None = None) -> float:
    """AVD Eq. 8 of clips with these variances (B,): -log(mean + 1e-6); high where nothing moves.

    As printed it is the logarithm of an expectation, so clips are averaged before it; the text's extraction has a mark
    after the bracket that may be an exponent (check the PDF), and the released code has none. ``cutoff`` gives what
    training sees, 0 below it (``CUTOFFS``); for measuring, leave it out.
    """
    loss = float(-torch.log(variance.double().mean() + EPSILON))
    return loss if cutoff is None or loss >= cutoff else 0.0


def adjacent_similarity(clips: torch.Tensor) -> torch.Tensor:
    """AVD Figure 15: cosine of each pair of adjacent frames, (..., C, T, h, w) -> (..., T - 1).

    Of latents, or of decoded frames in [-1, 1] (``models.codec.to_unit_range``). The cosine is of the raw values, as
    the figure's caption says: what all frames share, such as a mean other than 0, brings it near 1.

    Raises:
        UserError: fewer than two frames; a frame that is zero or not finite, which has no direction.
    """
    if clips.ndim < 4 or clips.shape[-3] < 2:
        raise UserError(f"adjacent frames need clips (..., C, T >= 2, h, w), not {tuple(clips.shape)}")
    frames = clips.double().movedim(-3, -4).flatten(-3)
    length = frames.norm(dim=-1, keepdim=True)
    if not (torch.isfinite(length).all() and (length > 0).all()):
        raise UserError("a frame is zero or not finite, so it has no cosine with the next")
    unit = frames / length
    return (unit[..., 1:, :] * unit[..., :-1, :]).sum(-1)


class StageSimilarity:
    """Adjacent-frame similarity of the clips predicted at each denoising step; see it draw with ``models.velocity``.

    ``Watched(velocity, stages.see)`` in place of a velocity shows the sampler's own predictions; nothing but one
    number a pair of frames is kept. Call ``next_batch`` before each further batch of clips.
    """

    def __init__(self) -> None:
        self.rows: list[pd.DataFrame] = []
        self.step = self.clips = self.size = 0

    def see(self, t: float, x0: torch.Tensor) -> None:
        """Take the clean clips (B, C, T, h, w) predicted at time ``t``."""
        similarity = adjacent_similarity(x0).cpu().numpy()
        clip, pair = np.indices(similarity.shape)
        self.rows.append(
            pd.DataFrame(
                {
                    "step": self.step, "t": float(t), "clip": self.clips + clip.ravel(), "pair": pair.ravel(),
                    "similarity": similarity.ravel(),
                }
            )
        )  # fmt: skip
        self.step, self.size = self.step + 1, len(x0)

    def next_batch(self) -> None:
        """The steps that follow are of other clips."""
        self.step, self.clips = 0, self.clips + self.size

    def table(self) -> pd.DataFrame:
        """One row a step, clip and pair of frames: step, t (1 = noise), clip, pair, similarity."""
        if not self.rows:
            raise UserError("no denoising step was seen")
        return pd.concat(self.rows, ignore_index=True)


def similarity_by_stage(predictions: Iterable[torch.Tensor], times: Iterable[float]) -> pd.DataFrame:
    """``StageSimilarity.table`` of stored predictions (steps, B, C, T, h, w) and the times that they were made at.

    Raises:
        UserError: not as many times as steps.
    """
    stages, predictions, times = StageSimilarity(), list(predictions), list(times)
    if len(predictions) != len(times):
        raise UserError(f"{len(predictions)} steps of predictions, but {len(times)} times")
    for t, x0 in zip(times, predictions, strict=True):
        stages.see(t, x0)
    return stages.table()


@torch.no_grad()
def encode_clips(frames: np.ndarray, encode: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Latents (B, C, T', h, w) of uint8 clips (B, T, H, W, 3), all at once.

    Args:
        encode: video in [-1, 1], (B, 3, T, H, W), to normalised latents; an autoencoder's ``encode`` and
            ``models.codec.normalise_latents``.
    """
    return encode(to_unit_range(torch.from_numpy(np.ascontiguousarray(frames))))


def stored_latents(path: str | Path, name: str = "latents") -> torch.Tensor:
    """Latents (B, C, T, h, w) of a safetensors file, such as training clips (samples.safetensors).

    Raises:
        UserError: no such file or tensor, another shape, or numbers that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file of latents")
    try:
        with safe_open(path, framework="pt") as file:
            if name not in file.keys():
                raise UserError(f"{path} holds no tensor {name!r}; it has {', '.join(file.keys()) or 'none'}")
            latents = file.get_tensor(name).float()
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is truncated or not a safetensors file ({error})") from error
    _check(latents)
    if not torch.isfinite(latents).all():
        raise UserError(f"{path}: {name} holds numbers that are not finite")
    return latents


def latent_scores(latents: torch.Tensor) -> pd.DataFrame:
    """One row a clip: temporal_variance, temporal_loss (Eq. 8 of this clip alone), adjacent_similarity (mean)."""
    variance = temporal_variance(latents)
    return pd.DataFrame(
        {
            "temporal_variance": variance.tolist(),
            "temporal_loss": [temporal_loss(one[None]) for one in variance],
            "adjacent_similarity": adjacent_similarity(latents).mean(-1).tolist(),
        }
    )


def _check(latents: torch.Tensor) -> None:
    if latents.ndim != 5 or latents.shape[2] < 2:
        raise UserError(f"latents must be (B, C, T >= 2, h, w), not {tuple(latents.shape)}")
