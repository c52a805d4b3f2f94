"""What every distillation method is to the training loop: named loss terms for the student, and maybe a critic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from alice_repro.config import Recipe, Stage, from_mapping
from alice_repro.flow.noise import ClipNoise
from alice_repro.models.velocity import Velocity

Term = Callable[[], tuple[torch.Tensor, dict[str, float]]]


@dataclass
class Networks:
    """The velocity fields of a distillation, and the discriminator: (x_t, t, caption) -> logits (B,), high for the
    data.

    ``fake`` and ``discriminator`` are None for a method that has none.
    """

    student: Velocity
    average: Velocity
    teacher: Velocity
    fake: Velocity | None
    discriminator: Velocity | None = None


@dataclass
class Batch:
    """Stored teacher samples and the randomness of one update.

    Attributes:
        x0: (B, C, T, h, w) clean latents.
        caption: (B,) rows of the caption table.
        generator: the training's generator; every draw of an update comes from it, so its state is part of a
            checkpoint.
        shared: equal on all processes: for the choices that all of them must make alike, such as how often a network
            is called. It is made anew for every batch, from the run's seed and the counts of updates.
        over_processes: the sum of a small tensor over all processes.
    """

    x0: torch.Tensor
    caption: torch.Tensor
    generator: torch.Generator
    shared: torch.Generator = field(default_factory=torch.Generator)
    over_processes: Callable[[torch.Tensor], torch.Tensor] = lambda tensor: tensor

    def noise_like_x0(self) -> torch.Tensor:
        """Standard normal noise of the shape of ``x0``."""
        return torch.randn(self.x0.shape, generator=self.generator).to(self.x0.device)

    def clip_noise(self) -> ClipNoise:
        """A noise source for a roll-out, one generator a clip."""
        seeds = torch.randint(2**62, (len(self.x0),), generator=self.generator)
        return ClipNoise(seeds.tolist())

    def velocity(self, field: Velocity) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """``field`` at this batch's captions, as a function of (x_t, t)."""
        return lambda x_t, t: field(x_t, t, self.caption)


@dataclass(frozen=True)
class Progress:
    """Counters that a method may depend on: student and critic updates done so far."""

    student: int
    critic: int


@dataclass(frozen=True)
class NoOptions:
    """What a recipe, or a stage of it, holds for a method that asks nothing."""


class Method:
    """A distillation method: one file, one recipe, one test. It knows its losses and no network's inside.

    Attributes:
        Options, StageOptions: the keys that this method reads of a recipe and of each of its stages, beside those that
            all have (dataclasses; a missing, unknown or misspelt key is refused).
        options: those of the recipe.
        has_critic: a fake score is trained beside the student.
        discriminator_features: whose features a discriminator reads ("teacher" or "fake"); None: there is none. It is
            trained with the fake score, by its loss.
        sampler: how the student is sampled, "renoise" or "euler" (``sampling.few_step``); "teacher": it still is a
            multi-step network, sampled with guidance and all the teacher's steps.
    """

    Options: type = NoOptions
    StageOptions: type = NoOptions
    has_critic = False
    discriminator_features: str | None = None
    sampler = "renoise"

    def __init__(self, recipe: Recipe, student_shift: float) -> None:
        self.recipe, self.student_shift = recipe, student_shift
        self.options: Any = from_mapping(self.Options, recipe.options, f"recipe {recipe.name}, method {recipe.method}")
        for stage in recipe.stages:
            self.of(stage)

    def of(self, stage: Stage) -> Any:
        """What this method reads of a stage."""
        return from_mapping(self.StageOptions, stage.options, f"recipe {self.recipe.name}, stage {stage.name}")

    def terms(self, networks: Networks, batch: Batch, stage: Stage, done: Progress) -> dict[str, tuple[float, Term]]:
        """Student terms by name: (weight, function that returns the loss and what to log)."""
        raise TypeError(f"{type(self).__name__} defines no terms")

    def critic_loss(self, networks: Networks, batch: Batch, stage: Stage, done: Progress) -> torch.Tensor:
        """Loss of the fake score on the student's current samples."""
        raise TypeError(f"method {self.recipe.method} has no critic")

    def state_dict(self) -> dict[str, torch.Tensor]:
        """What the method itself has learnt and a resumed run needs, beside networks and generators."""
        return {}

    def load_state_dict(self, tensors: dict[str, torch.Tensor]) -> None:
        """Put ``state_dict`` back."""
