"""What a distillation starts from: the teacher's velocity, the student, its average and the fake score."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from alice_repro.config import Scale
from alice_repro.data.world_clips import exact_clips
from alice_repro.distill.method import Method
from alice_repro.errors import UserError, unknown_name
from alice_repro.models.discriminator import Head
from alice_repro.models.loading import TeacherParts, load_teacher
from alice_repro.models.velocity import ExactVelocity, NetworkVelocity, Velocity

TEACHERS = ("trained", "exact")


@dataclass
class Start:
    """The parts of a distillation before its first update; networks are still plain modules."""

    parts: TeacherParts
    teacher: Velocity
    embeddings: torch.Tensor
    student: nn.Module
    average: nn.Module
    fake: nn.Module | None
    head: nn.Module | None


def teacher_velocity(scale: Scale, name: str, parts: TeacherParts, captions: list[str]) -> Velocity:
    """The guided velocity of the trained or of the exact teacher, over a table of captions.

    Raises:
        UserError: unknown teacher.
    """
    if name not in TEACHERS:
        raise unknown_name("teacher", name, TEACHERS)
    if name == "exact":
        clips, _ = exact_clips(captions, scale.teacher.exact_clips, parts.pipeline.vae)
        return ExactVelocity(clips, scale.teacher.exact_width, scale.teacher.exact_guidance)
    null = parts.embed([scale.teacher.negative_prompt])[0]
    return NetworkVelocity(parts.transformer, parts.embed(captions), null, scale.teacher.guidance)


def prepare(scale: Scale, teacher: str, captions: list[str], method: Method) -> Start:
    """Load the teacher and copy it into student, average and fake score; the discriminator's head starts at random.

    With the exact teacher, which has no weights, the student starts from the trained one too; only the velocity that
    supervises it differs.

    Raises:
        UserError: the method's discriminator reads the features of a teacher that has none.
    """
    parts = load_teacher(scale.model)
    velocity = teacher_velocity(scale, teacher, parts, captions)
    if method.discriminator_features == "teacher" and not isinstance(velocity, NetworkVelocity):
        raise UserError(f'the {teacher} teacher is no network and has no features: set gan_features = "fake"')
    student = copy.deepcopy(parts.transformer).requires_grad_(True)
    average = copy.deepcopy(parts.transformer)
    fake = copy.deepcopy(parts.transformer).requires_grad_(True) if method.has_critic else None
    head = None
    if method.discriminator_features:
        config = parts.transformer.config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            head = Head(config.num_attention_heads * config.attention_head_dim)
    return Start(parts, velocity, parts.embed(captions), student, average, fake, head)
