"""The training loop of every method: curriculum, two optimisers, average, checkpoints, resume (Accelerate).

A run is a function of its configuration, its data and its seed: all randomness comes from one generator whose state
is in the checkpoint, so a run that is killed and started again ends with the same weights as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import math
import resource
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from alice_repro.config import Recipe, Scale, Stage, as_settings
from alice_repro.data.training_clips import SAMPLES, TrainingClips
from alice_repro.distill.method import Batch, Networks
from alice_repro.distill.method import Progress as Done
from alice_repro.distill.registry import build_method
from alice_repro.errors import UserError
from alice_repro.files import atomic_folder, atomic_write_text, sha256_file, sha256_folder
from alice_repro.flow.noise import clip_seed
from alice_repro.manifest import MANIFEST, write_manifest
from alice_repro.models.discriminator import Discriminator
from alice_repro.models.loading import TeacherParts
from alice_repro.models.velocity import Counted, NetworkVelocity
from alice_repro.progress import Progress, log
from alice_repro.sampling.few_step import few_step_times
from alice_repro.sampling.scheduler import trained_scheduler
from alice_repro.training.checkpoint import (
    check_finite,
    load_checkpoint,
    load_optimizer_tensors,
    optimizer_tensors,
    save_checkpoint,
    with_prefix,
    without_prefix,
)
from alice_repro.training.ema import power_decay, power_exponent, update_average
from alice_repro.training.setup import prepare

CHECKPOINT = "checkpoint.safetensors"
LOG = "log.jsonl"
STOPPED = "stopped.safetensors"


class Trainer:
    """One training run.

    Args:
        scale, recipe: what is distilled, and how.
        teacher: "trained" or "exact".
        seed: the run's seed, the unit of replication.
        samples: folder of the stored teacher samples.
        output: folder of the run: checkpoint, log.jsonl, snapshots/, student/ and manifest.json.
    """

    def __init__(self, scale: Scale, recipe: Recipe, teacher: str, seed: int, samples: Path, output: Path) -> None:
        self.scale, self.recipe, self.teacher_name, self.seed = scale, recipe, teacher, seed
        self.samples_folder, self.output = samples, output
        self.method = build_method(recipe, scale.sampling.student_shift)
        times = few_step_times(recipe.stages[-1].target_steps, scale.sampling.student_shift)
        self.sampler = trained_scheduler(self.method.sampler, times.tolist(), scale.teacher.shift)
        self.accelerator = Accelerator(mixed_precision=recipe.precision)
        self.data = TrainingClips.load(samples)
        start = prepare(scale, teacher, self.data.captions, self.method)
        device = self.accelerator.device
        self.student_module, self.average_module = start.student, start.average.to(device)
        self.student_optimizer = self._optimizer(start.student)
        student, self.student_optimizer = self.accelerator.prepare(start.student, self.student_optimizer)
        self.critic_modules = {name: m for name, m in (("fake", start.fake), ("head", start.head)) if m is not None}
        critic, self.critic_optimizer = {}, None
        if self.critic_modules:
            *prepared, self.critic_optimizer = self.accelerator.prepare(
                *self.critic_modules.values(), self._optimizer(*self.critic_modules.values())
            )
            critic = dict(zip(self.critic_modules, prepared, strict=True))
        embeddings = start.embeddings.to(device)
        teacher_field = start.teacher.to(device)
        fake = NetworkVelocity(critic["fake"], embeddings) if "fake" in critic else None
        fields = {
            "student": NetworkVelocity(student, embeddings),
            "average": NetworkVelocity(self.average_module, embeddings),
            "teacher": teacher_field,
            "fake": fake,
        }
        if "head" in critic:
            read = fake if self.method.discriminator_features == "fake" else teacher_field
            fields["discriminator"] = Discriminator(read, critic["head"])
        self.fields = {name: Counted(field) for name, field in fields.items() if field is not None}
        self.networks = Networks(**{"fake": None, **self.fields})
        self.spent_before = 0  # network evaluations of the run before it was resumed
        self.generator = torch.Generator().manual_seed(1_000_003 * seed + self.accelerator.process_index)
        self.fingerprint = self._fingerprint(start.parts)
        self.done = Done(student=0, critic=0)
        self.gamma = power_exponent(recipe.ema_value) if recipe.ema == "power" else None

    def run(self) -> None:
        """Train from the last checkpoint to the end, then write ``student`` and its manifest."""
        started = time.time()
        self.output.mkdir(parents=True, exist_ok=True)
        self._resume()
        total, resumed_at = self.recipe.updates, self.done.student
        title = f"{self.recipe.name} ({self.teacher_name} teacher, seed {self.seed})"
        with Progress(total, title, start=resumed_at) as bar:
            while self.done.student < total:
                row = self._update(self._stage())
                if self.accelerator.is_main_process:
                    self._record(row)
                self._keep()  # after the log: a run killed in between repeats the update and its row
                bar.advance(1, note=f"df/ds {row['df_ds']:.3g}" if "df_ds" in row else "")
        self._finish(started, resumed_at)

    def _optimizer(self, *modules: torch.nn.Module) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            [parameter for module in modules for parameter in module.parameters()],
            lr=1.0,
            betas=tuple(self.recipe.betas),
            weight_decay=self.recipe.weight_decay,
            fused=True,
        )

    def _stage(self) -> tuple[Stage, int]:
        """The stage of the next student update, and the updates that stage has had."""
        first = 0
        for stage in self.recipe.stages:
            if self.done.student < first + stage.updates:
                return stage, self.done.student - first
            first += stage.updates
        raise AssertionError("the training has ended")

    def _batch(self, stage: Stage) -> Batch:
        rows = torch.randint(len(self.data.latents), (stage.batch,), generator=self.generator)
        device = self.accelerator.device
        # A function of the counts, so that no state of it needs to be kept.
        shared = torch.Generator().manual_seed(clip_seed(self.seed, self.done.student, self.done.critic))
        x0, caption = self.data.latents[rows].to(device), self.data.caption[rows].to(device)
        return Batch(x0, caption, self.generator, shared, self._over_processes)

    def _over_processes(self, tensor: torch.Tensor) -> torch.Tensor:
        return self.accelerator.reduce(tensor.to(self.accelerator.device), reduction="sum").to(tensor.device)

    def _update(self, place: tuple[Stage, int]) -> dict[str, float]:
        """One student update and the critic updates that follow it; returns what to log."""
        stage, within = place
        began = time.perf_counter()
        ramp = min(1.0, (within + 1) / max(1, stage.warmup))
        row: dict[str, float] = {"update": self.done.student + 1, "stage": stage.name, "lr": stage.learning_rate * ramp}
        row |= self._student_step(stage, stage.learning_rate * ramp)
        self.done = Done(self.done.student + 1, self.done.critic)
        self._average()
        if self.critic_modules:
            for _ in range(stage.critic_updates):
                row["critic_loss"] = self._critic_step(stage, stage.critic_learning_rate * ramp)
                self.done = Done(self.done.student, self.done.critic + 1)
        row["evaluations"] = self.evaluations
        row["seconds"] = time.perf_counter() - began
        return row

    def _student_step(self, stage: Stage, learning_rate: float) -> dict[str, float]:
        row: dict[str, float] = {}
        parameters = list(self.student_module.parameters())
        self.student_optimizer.zero_grad()
        previous = [torch.zeros_like(p) for p in parameters]
        batch = self._batch(stage)
        for name, (weight, term) in self.method.terms(self.networks, batch, stage, self.done).items():
            with self.accelerator.autocast():
                loss, extra = term()
            self._check_finite(float(loss.detach()), "loss", name, batch)
            self.accelerator.backward(weight * loss)
            # Each term's own gradient norm: what a weight such as lambda means can be seen from these alone.
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
            change = [new - old for new, old in zip(gradients, previous, strict=True)]
            row |= {f"{name}_loss": float(loss.detach()), f"{name}_gradient": _norm(change), **extra}
            self._check_finite(row[f"{name}_gradient"], "gradient", name, batch)
            previous = [g.clone() for g in gradients]
        self._step(self.student_optimizer, parameters, learning_rate)
        return row

    def _critic_step(self, stage: Stage, learning_rate: float) -> float:
        self.critic_optimizer.zero_grad()
        batch = self._batch(stage)
        with self.accelerator.autocast():
            loss = self.method.critic_loss(self.networks, batch, stage, self.done)
        self._check_finite(float(loss.detach()), "loss", "critic", batch)
        self.accelerator.backward(loss)
        parameters = [parameter for module in self.critic_modules.values() for parameter in module.parameters()]
        self._step(self.critic_optimizer, parameters, learning_rate)
        return float(loss.detach())

    def _check_finite(self, value: float, what: str, term: str, batch: Batch) -> None:
        """Stop at a loss or a norm of a gradient that is not finite, and keep the batch that gave it."""
        if math.isfinite(value):
            return
        kept = self.output / STOPPED
        counters = {"student": self.done.student, "critic": self.done.critic, "term": term}
        save_checkpoint(kept, {"x0": batch.x0, "caption": batch.caption}, counters)
        raise UserError(
            f"update {self.done.student + 1}: the {what} of term {term!r} is {value}; training stopped, its batch is "
            f"in {kept}. The last checkpoint is untouched: lower the learning rate or the term's weight"
        )

    @property
    def evaluations(self) -> int:
        """Network evaluations times clips that the run has spent so far, those of all processes."""
        spent = sum(field.spent for field in self.fields.values()) * self.accelerator.num_processes
        return self.spent_before + spent

    def _step(self, optimizer: torch.optim.Optimizer, parameters: list[torch.Tensor], learning_rate: float) -> None:
        if self.recipe.gradient_clip > 0:
            self.accelerator.clip_grad_norm_(parameters, self.recipe.gradient_clip)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.step()

    def _average(self) -> None:
        decay = self.recipe.ema_value if self.gamma is None else power_decay(self.done.student, self.gamma)
        update_average(self.average_module.parameters(), self.student_module.parameters(), decay)

    def _keep(self) -> None:
        """Write the checkpoint and the snapshots that are due."""
        total, now = self.recipe.updates, self.done.student
        if now in {round(share * total) for share in self.recipe.snapshots}:
            self._save_average(self.output / "snapshots" / f"update_{now:06d}")
        if now % self.recipe.checkpoint_every == 0 or now == total:
            states = gather_object([self.generator.get_state()])
            if self.accelerator.is_main_process:
                tensors = self._networks_and_optimizers()
                check_finite(tensors, self.output / CHECKPOINT)
                tensors |= {f"generator.{rank}": state for rank, state in enumerate(states)}
                counters = {
                    "student": now,
                    "critic": self.done.critic,
                    "evaluations": self.evaluations,
                    "configuration": self.fingerprint,
                }
                save_checkpoint(self.output / CHECKPOINT, tensors, counters)

    def _networks_and_optimizers(self) -> dict[str, torch.Tensor]:
        tensors = {
            **with_prefix("student", self.student_module.state_dict()),
            **with_prefix("average", self.average_module.state_dict()),
            **with_prefix("student_optimizer", optimizer_tensors(self.student_optimizer)),
        }
        for name, module in self.critic_modules.items():
            tensors |= with_prefix(name, module.state_dict())
        if self.critic_modules:
            tensors |= with_prefix("critic_optimizer", optimizer_tensors(self.critic_optimizer))
        return tensors | with_prefix("method", self.method.state_dict())

    def _resume(self) -> None:
        path = self.output / CHECKPOINT
        tensors, counters = load_checkpoint(path) if path.exists() else ({}, {})
        if counters and counters["configuration"] != self.fingerprint:
            log(f"{path} belongs to another configuration or other data: training starts again from the teacher")
            counters = {}
        self.accelerator.wait_for_everyone()  # every process has read the checkpoint before one deletes it
        if not counters:
            if self.accelerator.is_main_process:
                self._discard()
            return
        self.student_module.load_state_dict(without_prefix("student", tensors))
        self.average_module.load_state_dict(without_prefix("average", tensors))
        load_optimizer_tensors(self.student_optimizer, without_prefix("student_optimizer", tensors))
        for name, module in self.critic_modules.items():
            module.load_state_dict(without_prefix(name, tensors))
        if self.critic_modules:
            load_optimizer_tensors(self.critic_optimizer, without_prefix("critic_optimizer", tensors))
        self.method.load_state_dict(without_prefix("method", tensors))
        states = without_prefix("generator", tensors)
        if len(states) != self.accelerator.num_processes:
            raise UserError(f"{path} was written by {len(states)} processes; start as many, or delete it")
        self.generator.set_state(states[str(self.accelerator.process_index)])
        self.done = Done(int(counters["student"]), int(counters["critic"]))
        self.spent_before = int(counters["evaluations"])
        log(f"continuing from update {self.done.student} of {self.recipe.updates}")

    def _discard(self) -> None:
        """Delete what another run left here, lest its student or snapshots be taken for this one's."""
        for name in ("student", "snapshots"):
            shutil.rmtree(self.output / name, ignore_errors=True)
        for name in (MANIFEST, LOG, CHECKPOINT, STOPPED):
            (self.output / name).unlink(missing_ok=True)

    def _record(self, row: dict[str, float]) -> None:
        """Append to the log; rows that a killed run wrote after its last checkpoint are dropped first."""
        path = self.output / LOG
        if path.exists() and not getattr(self, "_log_trimmed", False):
            rows = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
            kept = [json.dumps(old) + "\n" for old in rows if old["update"] < row["update"]]
            atomic_write_text(path, "".join(kept))
        self._log_trimmed = True
        if row["update"] % self.recipe.log_every == 0 or row["update"] == 1:
            with path.open("a") as file:
                file.write(json.dumps({key: _rounded(value) for key, value in row.items()}) + "\n")

    def _save_average(self, folder: Path) -> None:
        """The averaged student, and beside its weights how it is sampled."""
        if self.accelerator.is_main_process:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with atomic_folder(folder) as temporary:
                self.average_module.save_pretrained(temporary)
                self.sampler.save_pretrained(temporary)

    def _finish(self, started: float, resumed_at: int) -> None:
        self.accelerator.wait_for_everyone()
        self._save_average(self.output / "student")
        if self.accelerator.is_main_process:
            write_manifest(
                self.output,
                inputs={"samples": self.samples_folder / SAMPLES},
                config={"scale": asdict(self.scale), "recipe": as_settings(self.recipe), "teacher": self.teacher_name},
                seeds={"run": self.seed},
                extra={
                    "student_updates": self.done.student,
                    "critic_updates": self.done.critic,
                    "network_evaluations": self.evaluations,
                    "peak_memory_gb": _peak_memory_gb(self.accelerator.device),
                    "resumed_at": resumed_at,
                    "processes": self.accelerator.num_processes,
                },
                started=started,
            )

    def _fingerprint(self, teacher: TeacherParts) -> str:
        """What the student's weights depend on: configuration, seed, data and the teacher's weights."""
        parts = {
            "format": 2,
            "model": asdict(self.scale.model),
            "teacher_sampling": asdict(self.scale.teacher),
            "student_shift": self.scale.sampling.student_shift,
            "weights": sha256_folder(teacher.folder / "transformer"),
            "recipe": as_settings(self.recipe) | {"checkpoint_every": None, "log_every": None},
            "teacher": self.teacher_name,
            "seed": self.seed,
            "samples": sha256_file(self.samples_folder / SAMPLES),
        }
        if teacher.transformer_2 is not None:
            parts |= {"weights_2": sha256_folder(teacher.folder / "transformer_2"), "boundary": teacher.boundary}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _norm(tensors: list[torch.Tensor]) -> float:
    return float(torch.linalg.vector_norm(torch.stack([t.norm() for t in tensors])))


def _peak_memory_gb(device: torch.device) -> float:
    """The most memory held so far by this process: on the GPU, or all of it on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024  # bytes, or KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def _rounded(value: float | str) -> float | str:
    return float(f"{value:.6g}") if isinstance(value, float) else value
