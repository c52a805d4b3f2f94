"""What every distillation method is to the training loop: named loss terms for the student, and maybe a critic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from alice_repro.config import Recipe, Stage
from alice_repro.flow.noise import ClipNoise
from alice_repro.models.velocity import Velocity

Term = Callable[[], tuple[torch.Tensor, dict[str, float]]]


@dataclass
class Networks:
    """The velocity fields of a distillation; ``fake`` is None for a method without a critic."""

    student: Velocity
    average: Velocity
    teacher: Velocity
    fake: Velocity | None


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
    """

    x0: torch.Tensor
    caption: torch.Tensor
    generator: torch.Generator
    shared: torch.Generator = field(default_factory=torch.Generator)

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


class Method:
    """A distillation method: one file, one recipe, one test. It knows its losses and no network's inside.

    Attributes:
        needs: the keys and sections of a recipe that only some methods have and that this one reads.
        has_critic: a fake score is trained beside the student.
    """

    needs: tuple[str, ...] = ()
    has_critic = False

    def __init__(self, recipe: Recipe, student_shift: float) -> None:
        self.recipe, self.student_shift = recipe, student_shift

    def terms(self, networks: Networks, batch: Batch, stage: Stage, done: Progress) -> dict[str, tuple[float, Term]]:
        """Student terms by name: (weight, function that returns the loss and what to log)."""
        raise TypeError(f"{type(self).__name__} defines no terms")

    def critic_loss(self, networks: Networks, batch: Batch, stage: Stage, done: Progress) -> torch.Tensor:
        """Loss of the fake score on the student's current samples."""
        raise TypeError(f"method {self.recipe.method} has no critic")
