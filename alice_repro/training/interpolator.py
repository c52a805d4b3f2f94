"""Training the frame interpolator (AVD Appendix 8): every second frame of a stored clip is left out and regressed.

The loss is the mean squared error of the frames that were left out; the paper's is over all frames, of which the
copied ones have no error, so that it is the same up to a constant factor.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from alice_repro.config import InterpolatorRecipe
from alice_repro.data.training_clips import SAMPLES, TrainingClips
from alice_repro.errors import UserError
from alice_repro.files import atomic_folder, atomic_write_text
from alice_repro.manifest import write_manifest
from alice_repro.models.interpolator import FrameInterpolator
from alice_repro.progress import Progress
from alice_repro.statistics import Estimate, mean_interval

CURVE = "curve.jsonl"


@dataclass(frozen=True)
class HeldOutError:
    """Mean squared errors of the left-out frames, on clips of captions that were not trained on.

    Attributes:
        unet, linear, nearest: of the UNet, of the mean of both neighbours, of a copy of the earlier neighbour.
        gain: linear - unet, a value a caption, with its 95 % interval over captions.
    """

    unet: float
    linear: float
    nearest: float
    gain: Estimate
    clips: int

    def table(self) -> str:
        """Four lines for people."""
        rows = [("UNet", self.unet), ("mean of both neighbours", self.linear), ("earlier neighbour", self.nearest)]
        lines = [f"{name:<26}{value:.4f}" for name, value in rows]
        gain = f"{self.gain.value:+.4f} [{self.gain.low:+.4f}, {self.gain.high:+.4f}]"
        return "\n".join([*lines, f"mean - UNet {gain} ({self.clips} held-out clips of {self.gain.n} captions)"])


def train_interpolator(recipe: InterpolatorRecipe, samples: Path, output: Path) -> HeldOutError:
    """Train on stored clips and write the network, its curve and a manifest with the held-out error to ``output``.

    The same recipe and clips give the same weights.

    Raises:
        UserError: clips without a frame to leave out, too few captions to hold some out, or a loss that is not finite.
    """
    started = time.time()
    clips = TrainingClips.load(samples)
    frames = clips.latents.shape[2]
    if frames < 3 or frames % 2 == 0:
        raise UserError(f"{samples}: clips of {frames} latent frames; interpolation needs an odd number, at least 3")
    held_out = _held_out(clips, recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = FrameInterpolator(clips.latents.shape[1], recipe.widths)
    curve = _train(recipe, network, clips.latents[~held_out])
    error = held_out_error(network.eval(), clips.latents[held_out], clips.caption[held_out])
    with atomic_folder(output) as folder:
        network.save_pretrained(folder)
        atomic_write_text(folder / CURVE, "".join(json.dumps(row) + "\n" for row in curve))
        write_manifest(
            folder,
            inputs={"samples": samples / SAMPLES},
            config={"recipe": asdict(recipe)},
            seeds={"training": recipe.seed},
            extra={"held_out_error": asdict(error), "training_clips": int((~held_out).sum())},
            started=started,
        )
    return error


@torch.no_grad()
def held_out_error(network: FrameInterpolator, latents: torch.Tensor, caption: torch.Tensor) -> HeldOutError:
    """Errors of the network and of the two baselines on clips (N, C, T, h, w) with T odd; ``caption`` (N,)."""
    kept, left_out = latents[:, :, ::2], latents[:, :, 1::2]
    before, after = kept[:, :, :-1], kept[:, :, 1:]
    made = torch.cat([network.between(chunk) for chunk in kept.split(64)])
    unet, linear, nearest = (
        (guess - left_out).square().flatten(1).mean(1).double() for guess in (made, (before + after) / 2, before)
    )
    gains = [float((linear - unet)[caption == row].mean()) for row in caption.unique()]
    means = (float(error.mean()) for error in (unet, linear, nearest))
    return HeldOutError(*means, gain=mean_interval(gains), clips=len(latents))


def _held_out(clips: TrainingClips, recipe: InterpolatorRecipe) -> torch.Tensor:
    """Which clips are not trained on, (N,) bool: those of a share of the captions, at least two."""
    captions = clips.caption.unique()
    count = max(2, round(recipe.held_out * len(captions)))
    if count >= len(captions):
        raise UserError(f"clips of {len(captions)} captions: {count} are held out, and none is left to train on")
    chosen = torch.randperm(len(captions), generator=torch.Generator().manual_seed(recipe.seed))[:count]
    return torch.isin(clips.caption, captions[chosen])


def _train(recipe: InterpolatorRecipe, network: FrameInterpolator, latents: torch.Tensor) -> list[dict[str, float]]:
    """Train in place; returns the curve: update, mean loss since the last row, seconds."""
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, betas=tuple(recipe.betas), weight_decay=recipe.weight_decay
    )
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, recipe.final_rate, recipe.updates)
    generator = torch.Generator().manual_seed(recipe.seed)
    curve, losses, began = [], [], time.perf_counter()
    network.train()
    with Progress(recipe.updates, "interpolator") as bar:
        for update in range(1, recipe.updates + 1):
            clips = latents[torch.randint(len(latents), (recipe.batch,), generator=generator)]
            loss = (network.between(clips[:, :, ::2]) - clips[:, :, 1::2]).square().mean()
            if not torch.isfinite(loss):
                raise UserError(f"update {update}: the loss is {loss.item()}; lower the learning rate")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            decay.step()
            losses.append(loss.item())
            if update % recipe.log_every == 0 or update == recipe.updates:
                row = {"update": update, "loss": float(np.mean(losses)), "seconds": time.perf_counter() - began}
                curve.append(row)
                losses = []
            bar.advance(1, note=f"loss {loss.item():.3g}")
    return curve
