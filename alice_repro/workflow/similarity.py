"""AVD Figure 15 in the lab: how alike adjacent latent frames are at each denoising step, of student and teacher."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from alice_repro.config import Scale
from alice_repro.data.prompts import prompts_for
from alice_repro.errors import UserError
from alice_repro.evaluation.latents import StageSimilarity
from alice_repro.flow.noise import ClipNoise, clip_seed
from alice_repro.models.loading import load_teacher, load_transformer
from alice_repro.models.velocity import NetworkVelocity, Watched
from alice_repro.sampling.few_step import sample_few_step
from alice_repro.sampling.scheduler import student_scheduler
from alice_repro.sampling.teacher import sample_euler
from alice_repro.training.setup import teacher_velocity


@torch.no_grad()
def similarity_along_steps(scale: Scale, teacher: str, student: Path) -> pd.DataFrame:
    """`StageSimilarity.table` of both samplers, with a column ``sampler``: one clip of each evaluation caption.

    Args:
        teacher: "trained" or "exact"; all its steps.
        student: folder of a few-step student's transformer.

    Raises:
        UserError: the student is sampled as the teacher is.
    """
    parts = load_teacher(scale.model)
    captions, shape = prompts_for(scale.prompts, "evaluate"), parts.latent_shape(scale.model)
    scheduler = student_scheduler(student, scale.sampling)
    if scheduler is None:
        raise UserError(f"{student} is no few-step student: it is sampled with all the teacher's steps")
    times = torch.tensor(scheduler.config.times, dtype=torch.float64)
    guided = teacher_velocity(scale, teacher, parts, captions)
    network = NetworkVelocity(load_transformer(student), parts.embed(captions))
    seen = {"student": StageSimilarity(), "teacher": StageSimilarity()}
    for caption in torch.arange(len(captions)).split(scale.sampling.batch):
        seeds = [clip_seed(scale.sampling.seed, int(prompt), 0) for prompt in caption]
        field = Watched(network, seen["student"].see)
        sample_few_step(field, ClipNoise(seeds), shape, caption, times, scheduler.config.sampler)
        field = Watched(guided, seen["teacher"].see)
        sample_euler(field, ClipNoise(seeds).draw(shape), caption, scale.teacher.steps, scale.teacher.shift)
        for stages in seen.values():
            stages.next_batch()
    return pd.concat([stages.table().assign(sampler=name) for name, stages in seen.items()], ignore_index=True)
