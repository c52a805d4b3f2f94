"""The networks of a run and their optimisers: made ready for its processes, called by methods, put into checkpoints."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers import SchedulerMixin
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

from alice_repro.config import Recipe
from alice_repro.distill.method import Method, Networks
from alice_repro.files import atomic_folder
from alice_repro.models.discriminator import Discriminator
from alice_repro.models.velocity import Counted, NetworkVelocity
from alice_repro.training.checkpoint import load_optimizer_tensors, optimizer_tensors, with_prefix, without_prefix
from alice_repro.training.ema import update_average
from alice_repro.training.setup import Start
from alice_repro.training.sharding import (
    forget_whole_weights,
    local,
    shard,
    sharded_like,
    shards_wanted,
    whole,
)


class TrainedNetworks:
    """Student and average, and the critic: the fake score and the discriminator's head, as far as the method has them.

    Under DDP every process has them whole; under FSDP2 (``training.sharding``) each has its shards of them all, of
    average and teacher too.

    Attributes:
        student, average, critic: modules without DDP's wrapper, the critic's by name ("fake", "head").
        student_optimizer, critic_optimizer: AdamW; the latter is None where there is no critic.
        fields: the velocity fields by name, each counting its evaluations.
        sharded: under FSDP2.

    Raises:
        UserError: a kind of FSDP that is not supported is asked for.
    """

    def __init__(self, start: Start, method: Method, recipe: Recipe, accelerator: Accelerator) -> None:
        self.sharded, self._is_main = shards_wanted(), accelerator.is_main_process
        self.student, self.average, self._average_class = start.student, start.average, type(start.average)
        self.critic = {name: m for name, m in (("fake", start.fake), ("head", start.head)) if m is not None}
        if self.sharded:
            mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
            # Two experts stay whole: a process whose clips all ask the other would leave the rest waiting for it.
            frozen = [start.teacher.transformer] if isinstance(start.teacher, NetworkVelocity) else []
            for module in (*self._modules().values(), *frozen):
                shard(module, mesh)
        self.average.to(accelerator.device)
        embeddings, teacher = start.embeddings.to(accelerator.device), start.teacher.to(accelerator.device)
        (student,), self.student_optimizer = self._with_optimizer([self.student], recipe, accelerator)
        called, self.critic_optimizer = {}, None
        if self.critic:
            modules, self.critic_optimizer = self._with_optimizer(list(self.critic.values()), recipe, accelerator)
            called = dict(zip(self.critic, modules, strict=True))
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

    def _with_optimizer(
        self, modules: list[nn.Module], recipe: Recipe, accelerator: Accelerator
    ) -> tuple[list[nn.Module], torch.optim.Optimizer]:
        """The modules as they are called, and AdamW, whose learning rate is set at every step."""
        parameters = [parameter for module in modules for parameter in module.parameters()]
        optimizer = torch.optim.AdamW(
            parameters, lr=1.0, betas=tuple(recipe.betas), weight_decay=recipe.weight_decay, fused=True
        )
        if self.sharded:
            return modules, optimizer
        *called, optimizer = accelerator.prepare(*modules, optimizer)
        return called, optimizer

    def _modules(self) -> dict[str, nn.Module]:
        return {"student": self.student, "average": self.average, **self.critic}

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        optimizers = {"student_optimizer": self.student_optimizer}
        return optimizers | ({"critic_optimizer": self.critic_optimizer} if self.critic else {})

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
        with torch.no_grad():
            update_average(local(self.average.parameters()), local(self.student.parameters()), decay)
        forget_whole_weights([self.average])

    def step(self, optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
        """One update of what the optimiser trains."""
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.step()
        forget_whole_weights(self._modules().values())

    def tensors(self) -> dict[str, torch.Tensor]:
        """Weights and moments for a checkpoint, on the main process alone; to be called on all."""
        tensors: dict[str, torch.Tensor] = {}
        for name, module in self._modules().items():
            tensors |= with_prefix(name, self._whole(module.state_dict()))
        for name, optimizer in self._optimizers().items():
            tensors |= with_prefix(name, self._whole(optimizer_tensors(optimizer)))
        return tensors

    def load_tensors(self, tensors: dict[str, torch.Tensor]) -> None:
        """Put :meth:`tensors` back, which every process has read."""
        for name, module in self._modules().items():
            own = module.state_dict()
            stored = without_prefix(name, tensors)
            module.load_state_dict({key: sharded_like(tensor, own[key]) for key, tensor in stored.items()})
        for name, optimizer in self._optimizers().items():
            load_optimizer_tensors(optimizer, without_prefix(name, tensors))
        forget_whole_weights(self._modules().values())

    def save_average(self, folder: Path, sampler: SchedulerMixin) -> None:
        """Write the average in diffusers' layout, and beside it how it is sampled; to be called on all processes."""
        tensors = self._whole(self.average.state_dict())
        if not self._is_main:
            return
        average = self.average
        if self.sharded:
            with torch.device("meta"):
                average = self._average_class.from_config(self.average.config)
            average.load_state_dict(tensors, assign=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with atomic_folder(folder) as temporary:
            average.save_pretrained(temporary)
            sampler.save_pretrained(temporary)

    def _whole(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Put together one by one, and kept on the main process alone."""
        kept = {}
        for name, tensor in tensors.items():
            together = whole(tensor)
            if self._is_main:
                kept[name] = together.cpu() if self.sharded else together
        return kept
