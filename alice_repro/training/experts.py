"""Making a teacher of two experts for the lab, as Wan2.2-A14B is one: the lab's teacher, trained on in two ranges of t.

Both experts begin as the lab's teacher; each is then trained by flow matching at its own times alone and forgets the
others. Text encoder and codec stay as they are, so that a pipeline can share them.
"""

from __future__ import annotations

import copy
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import WanPipeline

from alice_repro.config import LabExpertsRecipe, LabTeacherRecipe
from alice_repro.errors import UserError
from alice_repro.files import atomic_folder, write_json
from alice_repro.manifest import write_manifest
from alice_repro.models.lab import float32_rotary, quiet_time_columns
from alice_repro.training.checkpoint import load_checkpoint, without_prefix
from alice_repro.training.lab_teacher import (
    CHECKPOINT,
    LATENTS,
    flow_matching_loss,
    tokenised,
    train_networks,
    training_captions,
    world_latents,
)
from alice_repro.world.captions import Caption

HELD_OUT = "held_out.safetensors"
REPORT = "held_out_loss.json"


def time_ranges(boundary: float) -> dict[str, tuple[float, float]]:
    """The range of t of each expert."""
    return {"high": (boundary, 1.0), "low": (0.0, boundary)}


def train_lab_experts(recipe: LabExpertsRecipe, teacher: LabTeacherRecipe, source: Path, folder: Path) -> dict:
    """Train both experts, continuing from ``folder`` what was begun there; save and judge the pipeline.

    Args:
        teacher: how ``source`` was made: the world's clips, and what of the training ``recipe`` does not say.
        source: the pipeline folder that both experts start from.
        folder: gets high/ and low/ (checkpoint and curve of each), pipeline/, the report and the rendered clips.

    Returns:
        The report, see :func:`held_out_report`.
    """
    started = time.time()
    captions, shared = training_captions(teacher), asdict(recipe).keys() & asdict(teacher).keys()
    training = replace(teacher, **{key: getattr(recipe, key) for key in shared})
    pipeline = WanPipeline.from_pretrained(source, local_files_only=True)
    pipeline.text_encoder.requires_grad_(False)
    float32_rotary(pipeline.transformer)
    folder.mkdir(parents=True, exist_ok=True)
    clips = range(teacher.clips_per_caption)
    latents = world_latents(pipeline.vae, captions, teacher.world_seed, clips, folder / LATENTS)
    experts = {
        name: _train_expert(training, pipeline, latents, captions, folder / name, times, name)
        for name, times in time_ranges(recipe.boundary).items()
    }
    about = {
        "config": {"recipe": asdict(recipe), "teacher": asdict(teacher)},
        "seeds": {"world": teacher.world_seed, "training": recipe.seed},
        "started": started,
    }
    with atomic_folder(folder / "pipeline") as output:
        parts = pipeline.components | {"transformer": experts["high"], "transformer_2": experts["low"]}
        WanPipeline(**parts, boundary_ratio=recipe.boundary).save_pretrained(output)
        checkpoints = {name: folder / name / CHECKPOINT for name in experts}
        write_manifest(output, inputs={"source": source, **checkpoints}, **about)
    unseen = range(clips.stop, clips.stop + recipe.held_out_clips)
    held_out = world_latents(pipeline.vae, captions, teacher.world_seed, unseen, folder / HELD_OUT)
    networks = {"teacher": pipeline.transformer, **experts}
    report = held_out_report(recipe, training, pipeline.text_encoder, networks, held_out, captions)
    write_json(folder / REPORT, report)
    write_manifest(folder / REPORT, inputs={"pipeline": folder / "pipeline", "clips": folder / HELD_OUT}, **about)
    return report


def _train_expert(
    training: LabTeacherRecipe, pipeline: WanPipeline, latents: torch.Tensor, captions: list[Caption], work: Path,
    times: tuple[float, float], name: str,
) -> torch.nn.Module:  # fmt: skip
    """A copy of the pipeline's transformer, trained at ``times``: its average weights."""
    work.mkdir(exist_ok=True)
    expert = copy.deepcopy(pipeline.transformer)
    mask = quiet_time_columns(expert, training.max_time_rate)
    networks = torch.nn.ModuleDict({"encoder": pipeline.text_encoder, "transformer": expert})
    train_networks(training, networks, mask, latents, captions, work, times, f"{name}-noise expert")
    expert.load_state_dict(without_prefix("average.transformer", load_checkpoint(work / CHECKPOINT)[0]))
    return expert


@torch.no_grad()
def held_out_report(
    recipe: LabExpertsRecipe, training: LabTeacherRecipe, encoder: torch.nn.Module,
    networks: dict[str, torch.nn.Module], latents: torch.Tensor, captions: list[Caption],
) -> dict[str, Any]:  # fmt: skip
    """Flow-matching loss of every network in every range on the same held-out clips, times and noise.

    Args:
        networks: "high", "low" and whatever else is worth knowing.
        latents: (captions, clips, C, T, h, w), clips that no expert was trained on.

    Returns:
        ``loss``: range -> network -> mean; ``advantage``: range -> how much lower the loss of its own expert is than
        the other's, mean and standard error over batches; ``wins``: whether that is more than 2 standard errors.
    """
    judged = replace(training, caption_dropout=0.0)
    ids, mask = tokenised(captions, training.text_length)
    report: dict[str, Any] = {"boundary": recipe.boundary, "batches": recipe.judged_batches, "batch": recipe.batch}
    report |= {"loss": {}, "advantage": {}, "wins": {}}
    for own, times in time_ranges(recipe.boundary).items():
        losses = {}
        for name, network in networks.items():
            generator = torch.Generator().manual_seed(recipe.seed + 1)  # the same draws for every network
            draws = (judged, encoder, network, latents, ids, mask, generator, times)
            losses[name] = np.array([flow_matching_loss(*draws).item() for _ in range(recipe.judged_batches)])
        gap = losses["low" if own == "high" else "high"] - losses[own]
        mean, error = float(gap.mean()), float(gap.std(ddof=1) / len(gap) ** 0.5)
        report["loss"][own] = {name: float(values.mean()) for name, values in losses.items()}
        report["advantage"][own] = {"mean": mean, "standard_error": error}
        report["wins"][own] = mean > 2 * error
    return report


def loss_table(report: dict[str, Any]) -> str:
    """The report as text."""
    lines = [f"flow-matching loss on held-out clips ({report['batches']} batches of {report['batch']})"]
    for own, losses in report["loss"].items():
        times = "t >= " if own == "high" else "t <  "
        values = "  ".join(f"{name} {value:.5f}" for name, value in losses.items())
        gap = report["advantage"][own]
        lines.append(
            f"{times}{report['boundary']:g}:  {values}  "
            f"({own} is lower than the other expert by {gap['mean']:.5f} +- {gap['standard_error']:.5f})"
        )
    return "\n".join(lines)


def check_experts_win(report: dict[str, Any]) -> None:
    """Raise a UserError that names the expert which does not win in its own range."""
    for own, wins in report["wins"].items():
        if not wins:
            raise UserError(
                f"the {own}-noise expert is not better than the other one in its own range: train longer, "
                "with  --set updates=N"
            )
