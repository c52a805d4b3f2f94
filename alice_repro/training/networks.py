"""The networks of a run and their optimisers: made ready by Accelerate, called by methods, put into checkpoints."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator

from alice_repro.config import Recipe
from alice_repro.distill.method import Method, Networks
from alice_repro.files import atomic_folder
from alice_repro.models.discriminator import Discriminator
from alice_repro.models.velocity import Counted, NetworkVelocity
from alice_repro.training.checkpoint import load_optimizer_tensors, optimizer_tensors, with_prefix, without_prefix
from alice_repro.training.ema import update_average
from alice_repro.training.setup import Start


class TrainedNetworks:
    """Student and average, and the critic: the fake score and the discriminator's head, as far as the method has them.

    Attributes:
        student, average, critic: plain modules, the critic's by name ("fake", "head").
        student_optimizer, critic_optimizer: AdamW; the latter is None where there is no critic.
        fields: the velocity fields by name, each counting its evaluations.
    """

    def __init__(self, start: Start, method: Method, recipe: Recipe, accelerator: Accelerator) -> None:
        self.student, self.average = start.student, start.average.to(accelerator.device)
        self.critic = {name: m for name, m in (("fake", start.fake), ("head", start.head)) if m is not None}
        student, self.student_optimizer = accelerator.prepare(self.student, _adamw(recipe, self.student))
        called, self.critic_optimizer = {}, None
        if self.critic:
            modules = self.critic.values()
            *prepared, self.critic_optimizer = accelerator.prepare(*modules, _adamw(recipe, *modules))
            called = dict(zip(self.critic, prepared, strict=True))
        embeddings, teacher = start.embeddings.to(accelerator.device), start.teacher.to(accelerator.device)
        fields = {
            "student": NetworkVelocity(student, embeddings),
            "average": NetworkVelocity(self.average, embeddings),
            "teacher": teacher,
        }
        if "fake" in called:
            fields["fake"] = NetworkVelocity(called["fake"], embeddings)
        if "head" in called:
            fields["discriminator"] = Discriminator(fields[method.discriminator_features], called["head"])
        self.fields = {name: Counted(field) for name, field in fields.items()}

    def for_method(self) -> Networks:
        """The fields as a method takes them."""
        return Networks(**{"fake": None, **self.fields})

    @property
    def spent(self) -> int:
        """Network evaluations times clips of this process, since it started."""
        return sum(field.spent for field in self.fields.values())

    def critic_parameters(self) -> list[torch.Tensor]:
        """Of the fake score and of the head."""
        return [parameter for module in self.critic.values() for parameter in module.parameters()]

    def average_student(self, decay: float) -> None:
        """Move the average on towards the student."""
        update_average(self.average.parameters(), self.student.parameters(), decay)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Weights and moments, for a checkpoint."""
        tensors = {
            **with_prefix("student", self.student.state_dict()),
            **with_prefix("average", self.average.state_dict()),
            **with_prefix("student_optimizer", optimizer_tensors(self.student_optimizer)),
        }
        for name, module in self.critic.items():
            tensors |= with_prefix(name, module.state_dict())
        if self.critic:
            tensors |= with_prefix("critic_optimizer", optimizer_tensors(self.critic_optimizer))
        return tensors

    def load_tensors(self, tensors: dict[str, torch.Tensor]) -> None:
        """Put :meth:`tensors` back."""
        for name, module in {"student": self.student, "average": self.average, **self.critic}.items():
            module.load_state_dict(without_prefix(name, tensors))
        load_optimizer_tensors(self.student_optimizer, without_prefix("student_optimizer", tensors))
        if self.critic:
            load_optimizer_tensors(self.critic_optimizer, without_prefix("critic_optimizer", tensors))

    def save_average(self, folder: Path) -> None:
        """Write the average in diffusers' layout, whole or not at all."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with atomic_folder(folder) as temporary:
            self.average.save_pretrained(temporary)


def _adamw(recipe: Recipe, *modules: torch.nn.Module) -> torch.optim.Optimizer:
    """The learning rate is set at every step."""
    return torch.optim.AdamW(
        [parameter for module in modules for parameter in module.parameters()],
        lr=1.0,
        betas=tuple(recipe.betas),
        weight_decay=recipe.weight_decay,
        fused=True,
    )
