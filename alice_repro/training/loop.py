"""The training loop of every method: curriculum, two optimisers, average, checkpoints, resume (Accelerate).

A run is a function of its configuration, its data and its seed: all randomness comes from one generator whose state
is in the checkpoint, so a run that is killed and started again ends with the same weights as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from alice_repro.config import Recipe, Scale, Stage, as_settings
from alice_repro.data.teacher_samples import SAMPLES, TeacherSamples
from alice_repro.distill.method import Batch, Networks
from alice_repro.distill.method import Progress as Done
from alice_repro.distill.registry import build_method
from alice_repro.errors import UserError
from alice_repro.files import atomic_folder, atomic_write_text, sha256_file, sha256_folder
from alice_repro.flow.noise import clip_seed
from alice_repro.manifest import MANIFEST, write_manifest
from alice_repro.models.velocity import NetworkVelocity
from alice_repro.progress import Progress, log
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
        self.accelerator = Accelerator(mixed_precision=recipe.precision)
        self.data = TeacherSamples.load(samples)
        start = prepare(scale, teacher, self.data.captions, self.method.has_critic)
        device = self.accelerator.device
        self.student_module, self.fake_module = start.student, start.fake
        self.average_module = start.average.to(device)
        self.student_optimizer = self._optimizer(start.student)
        student, self.student_optimizer = self.accelerator.prepare(start.student, self.student_optimizer)
        fake = self.fake_optimizer = None
        if start.fake is not None:
            fake, self.fake_optimizer = self.accelerator.prepare(start.fake, self._optimizer(start.fake))
        embeddings = start.embeddings.to(device)
        self.networks = Networks(
            student=NetworkVelocity(student, embeddings),
            average=NetworkVelocity(self.average_module, embeddings),
            teacher=start.teacher.to(device),
            fake=NetworkVelocity(fake, embeddings) if fake is not None else None,
        )
        self.generator = torch.Generator().manual_seed(1_000_003 * seed + self.accelerator.process_index)
        self.fingerprint = self._fingerprint(start.parts.folder)
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

    def _optimizer(self, module: torch.nn.Module) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            module.parameters(),
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
        return Batch(self.data.latents[rows].to(device), self.data.caption[rows].to(device), self.generator, shared)

    def _update(self, place: tuple[Stage, int]) -> dict[str, float]:
        """One student update and the critic updates that follow it; returns what to log."""
        stage, within = place
        began = time.perf_counter()
        ramp = min(1.0, (within + 1) / max(1, stage.warmup))
        row: dict[str, float] = {"update": self.done.student + 1, "stage": stage.name, "lr": stage.learning_rate * ramp}
        row |= self._student_step(stage, stage.learning_rate * ramp)
        self.done = Done(self.done.student + 1, self.done.critic)
        self._average()
        if self.networks.fake is not None and stage.score > 0:
            for _ in range(stage.critic_updates):
                row["critic_loss"] = self._critic_step(stage, stage.critic_learning_rate * ramp)
                self.done = Done(self.done.student, self.done.critic + 1)
        row["seconds"] = time.perf_counter() - began
        return row

    def _student_step(self, stage: Stage, learning_rate: float) -> dict[str, float]:
        row: dict[str, float] = {}
        parameters = list(self.student_module.parameters())
        self.student_optimizer.zero_grad()
        previous = [torch.zeros_like(p) for p in parameters]
        for name, (weight, term) in self.method.terms(self.networks, self._batch(stage), stage, self.done).items():
            with self.accelerator.autocast():
                loss, extra = term()
            self.accelerator.backward(weight * loss)
            # Each term's own gradient norm: what a weight such as lambda means can be seen from these alone.
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
            change = [new - old for new, old in zip(gradients, previous, strict=True)]
            row |= {f"{name}_loss": float(loss.detach()), f"{name}_gradient": _norm(change), **extra}
            previous = [g.clone() for g in gradients]
        self._step(self.student_optimizer, parameters, learning_rate)
        return row

    def _critic_step(self, stage: Stage, learning_rate: float) -> float:
        self.fake_optimizer.zero_grad()
        with self.accelerator.autocast():
            loss = self.method.critic_loss(self.networks, self._batch(stage), stage, self.done)
        self.accelerator.backward(loss)
        self._step(self.fake_optimizer, list(self.fake_module.parameters()), learning_rate)
        return float(loss.detach())

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
                counters = {"student": now, "critic": self.done.critic, "configuration": self.fingerprint}
                save_checkpoint(self.output / CHECKPOINT, tensors, counters)

    def _networks_and_optimizers(self) -> dict[str, torch.Tensor]:
        tensors = {
            **with_prefix("student", self.student_module.state_dict()),
            **with_prefix("average", self.average_module.state_dict()),
            **with_prefix("student_optimizer", optimizer_tensors(self.student_optimizer)),
        }
        if self.fake_module is not None:
            tensors |= with_prefix("fake", self.fake_module.state_dict())
            tensors |= with_prefix("fake_optimizer", optimizer_tensors(self.fake_optimizer))
        return tensors

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
        if self.fake_module is not None:
            self.fake_module.load_state_dict(without_prefix("fake", tensors))
            load_optimizer_tensors(self.fake_optimizer, without_prefix("fake_optimizer", tensors))
        states = without_prefix("generator", tensors)
        if len(states) != self.accelerator.num_processes:
            raise UserError(f"{path} was written by {len(states)} processes; start as many, or delete it")
        self.generator.set_state(states[str(self.accelerator.process_index)])
        self.done = Done(int(counters["student"]), int(counters["critic"]))
        log(f"continuing from update {self.done.student} of {self.recipe.updates}")

    def _discard(self) -> None:
        """Delete what another run left here, lest its student or snapshots be taken for this one's."""
        for name in ("student", "snapshots"):
            shutil.rmtree(self.output / name, ignore_errors=True)
        for name in (MANIFEST, LOG, CHECKPOINT):
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
        if self.accelerator.is_main_process:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with atomic_folder(folder) as temporary:
                self.average_module.save_pretrained(temporary)

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
                    "resumed_at": resumed_at,
                    "processes": self.accelerator.num_processes,
                },
                started=started,
            )

    def _fingerprint(self, teacher_folder: Path) -> str:
        """What the student's weights depend on: configuration, seed, data and the teacher's weights."""
        parts = {
            "model": asdict(self.scale.model),
            "teacher_sampling": asdict(self.scale.teacher),
            "student_shift": self.scale.sampling.student_shift,
            "weights": sha256_folder(teacher_folder / "transformer"),
            "recipe": as_settings(self.recipe) | {"checkpoint_every": None, "log_every": None},
            "teacher": self.teacher_name,
            "seed": self.seed,
            "samples": sha256_file(self.samples_folder / SAMPLES),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _norm(tensors: list[torch.Tensor]) -> float:
    return float(torch.linalg.vector_norm(torch.stack([t.norm() for t in tensors])))


def _rounded(value: float | str) -> float | str:
    return float(f"{value:.6g}") if isinstance(value, float) else value
