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
from alice_repro.models.experts import ExpertsVelocity
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
        UserError: unknown teacher; guidance that does not fit the teacher's one network or two experts.
    """
    if name not in TEACHERS:
        raise unknown_name("teacher", name, TEACHERS)
    if name == "exact":
        clips, _ = exact_clips(captions, scale.teacher.exact_clips, parts.pipeline.vae)
        return ExactVelocity(clips, scale.teacher.exact_width, scale.teacher.exact_guidance)
    experts = [parts.transformer] if parts.transformer_2 is None else [parts.transformer, parts.transformer_2]
    null, embeddings = parts.embed([scale.teacher.negative_prompt])[0], parts.embed(captions)
    networks = [
        NetworkVelocity(network, embeddings, null, guidance)
        for network, guidance in zip(experts, _guidances(scale.teacher.guidance, len(experts)), strict=True)
    ]
    return networks[0] if len(networks) == 1 else ExpertsVelocity(*networks, parts.boundary)


def _guidances(guidance: float | tuple[float, ...], experts: int) -> tuple[float, ...]:
    """The guidance of each expert; one number is that of all, as in ``WanPipeline``."""
    if not isinstance(guidance, tuple):
        return (guidance,) * experts
    if experts == 1 or len(guidance) != experts:
        raise UserError(
            f"teacher.guidance = {list(guidance)}, but this teacher has {experts} network(s): give one number, or "
            "[high, low] for two experts"
        )
    if guidance.count(1.0) == 1:
        raise UserError(f"teacher.guidance = {list(guidance)}: guide both experts, or neither with [1.0, 1.0]")
    return guidance


def prepare(scale: Scale, teacher: str, captions: list[str], method: Method, seed: int) -> Start:
    """Load the teacher and copy it into student, average and fake score; the discriminator's head starts at random.

    Args:
        seed: of the training run, for the head.

    With the exact teacher, which has no weights, the student starts from the trained one too; only the velocity that
    supervises it differs.

    Of a teacher of two experts student, average and fake score are one dense network each, over all times, and start
    from the low-noise expert. Its range is the larger one by far (Wan2.2: t < 0.875), it holds most of the times at
    which student and fake score are trained (lognormal p_G and shifted-uniform p_D: 58 % and more), and the last steps
    of the student's sampler, which make what is seen, lie in it. What the high-noise expert knows has to be distilled.

    Raises:
        UserError: the method's discriminator reads the features of a teacher that has none.
    """
    parts = load_teacher(scale.model)
    velocity = teacher_velocity(scale, teacher, parts, captions)
    if method.discriminator_features == "teacher" and not isinstance(velocity, NetworkVelocity | ExpertsVelocity):
        raise UserError(f'the {teacher} teacher is no network and has no features: set gan_features = "fake"')
    first = parts.student_start
    student = copy.deepcopy(first).requires_grad_(True)
    average = copy.deepcopy(first)
    fake = copy.deepcopy(first).requires_grad_(True) if method.has_critic else None
    head = None
    if method.discriminator_features:
        config = first.config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = Head(config.num_attention_heads * config.attention_head_dim)
    return Start(parts, velocity, parts.embed(captions), student, average, fake, head)
