"""What every distillation method is to the training loop: named loss terms for the student, and maybe a critic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from alice_repro.config import Recipe, Stage
from alice_repro.flow.noise import ClipNoise
from alice_repro.models.velocity import Velocity
from alice_repro.strict import from_mapping

Term = Callable[[], tuple[torch.Tensor, dict[str, float]]]


@dataclass
class Networks:
    """The velocity fields of a distillation, and the discriminator: (x_t, t, caption) -> logits (B,), high for the
    data.

    ``fake`` and ``discriminator`` are None for a method that has none. The teacher is guided already; it and the
    average are frozen, and a method asks them under ``torch.no_grad()``.
    """

    student: Velocity
    average: Velocity
    teacher: Velocity
    fake: Velocity | None
    discriminator: Velocity | None = None


@dataclass
class Batch:
    """One process's share of the stored clips and of the randomness of one update.

    The update is the same whatever the number of processes: each draws for the clips of all of them, from a generator
    that is in the same state everywhere, and keeps the draws of its own clips (:meth:`draw`). A loss is a mean over the
    clips of a process; the trainer takes the mean of losses and gradients over processes. What is no such mean takes
    :meth:`mean_over_processes` or :meth:`gradient_norm`.

    Attributes:
        x0: (B, C, T, h, w) clean latents of this process.
        caption: (B,) rows of the caption table.
        generator: the training's generator; every draw for clips comes from it, so its state is part of a checkpoint.
        shared: for the choices that concern the batch as a whole, such as how often a network is called. It is made
            anew for every batch, from the run's seed and the counts of updates.
        over_processes: the sum of a small tensor over all processes.
        process, processes: the index of this process and how many there are, each with B clips.
    """

    x0: torch.Tensor
    caption: torch.Tensor
    generator: torch.Generator
    shared: torch.Generator = field(default_factory=torch.Generator)
    over_processes: Callable[[torch.Tensor], torch.Tensor] = lambda tensor: tensor
    process: int = 0
    processes: int = 1

    def draw(self, sample: Callable[..., torch.Tensor]) -> torch.Tensor:
        """This process's part, (B, ...) on the CPU, of ``sample``(clips of all processes, generator=...)."""
        count = len(self.x0)
        return sample(count * self.processes, generator=self.generator)[self.process * count :][:count]

    def noise_like_x0(self) -> torch.Tensor:
        """Standard normal noise of the shape of ``x0``."""
        shape = self.x0.shape[1:]
        return self.draw(lambda count, generator: torch.randn(count, *shape, generator=generator)).to(self.x0.device)

    def clip_noise(self) -> ClipNoise:
        """A noise source for a roll-out, one generator a clip."""
        seeds = self.draw(lambda count, generator: torch.randint(2**62, (count,), generator=generator))
        return ClipNoise(seeds.tolist())

    def mean_over_processes(self, mean: torch.Tensor) -> torch.Tensor:
        """The mean over the whole batch, given that over this process's clips.

        A loss may be any function of it: its gradients, averaged over processes, are those of the whole batch's loss.
        """
        fixed = mean.detach()
        return mean + (self.over_processes(fixed) / self.processes - fixed)

    def gradient_norm(self, gradient: torch.Tensor) -> float:
        """Norm of the gradient of the whole batch's loss with respect to its clips, given that of this process's."""
        # The loss of the batch is the mean of those of the processes; float64 holds the square of a float32 exactly.
        return float(self.over_processes(gradient.norm().double().square()).sqrt()) / self.processes

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
    """A distillation method: one file, its recipes, one test. It knows its losses and no network's inside.

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

    def critic_loss(
        self, networks: Networks, batch: Batch, stage: Stage, done: Progress
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Loss of the fake score on the student's current samples, and of a discriminator; and what to log."""
        raise TypeError(f"method {self.recipe.method} has no critic")

    def state_dict(self) -> dict[str, torch.Tensor]:
        """What the method itself has learnt and a resumed run needs, beside networks and generators."""
        return {}

    def load_state_dict(self, tensors: dict[str, torch.Tensor]) -> None:
        """Put ``state_dict`` back."""
