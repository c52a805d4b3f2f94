"""The training loop of every method: curriculum, two optimisers, average, checkpoints, resume (Accelerate).

A run is a function of its configuration, its data and its seed: all randomness comes from one generator whose state
is in the checkpoint, so a run that is killed and started again ends with the same weights as one that was not. So does
a run that ended and is then given more updates in its last stage.

``batch`` of a stage is that of all processes together. Each process draws the whole batch from a generator in the same
state and takes its share, gradients and logged losses are means over processes; so the number of processes changes
the results by rounding alone, and a run may go on with another number of them.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

from alice_repro.config import Recipe, Scale, Stage
from alice_repro.data.training_clips import SAMPLES, TrainingClips
from alice_repro.distill.method import Batch
from alice_repro.distill.method import Progress as Done
from alice_repro.distill.registry import build_method
from alice_repro.errors import UserError
from alice_repro.flow.noise import clip_seed
from alice_repro.manifest import write_manifest
from alice_repro.progress import Progress, log
from alice_repro.sampling.few_step import few_step_times
from alice_repro.sampling.scheduler import trained_scheduler
from alice_repro.strict import as_settings
from alice_repro.training.checkpoint import (
    check_finite,
    load_checkpoint,
    save_checkpoint,
    with_prefix,
    without_prefix,
)
from alice_repro.training.ema import power_decay, power_exponent
from alice_repro.training.fingerprint import code_version, fingerprint
from alice_repro.training.networks import TrainedNetworks
from alice_repro.training.run_folder import RunFolder
from alice_repro.training.setup import prepare
from alice_repro.training.sharding import local


class Trainer:
    """One training run.

    Args:
        scale, recipe: what is distilled, and how.
        teacher: "trained" or "exact".
        seed: the run's seed, the unit of replication.
        samples: folder of the training clips.
        output: folder of the run: checkpoint, log.jsonl, snapshots/, student/ and manifest.json.
    """

    def __init__(self, scale: Scale, recipe: Recipe, teacher: str, seed: int, samples: Path, output: Path) -> None:
        self.scale, self.recipe, self.teacher_name, self.seed = scale, recipe, teacher, seed
        self.samples_folder, self.folder = samples, RunFolder(output)
        self.method = build_method(recipe, scale.sampling.student_shift)
        times = few_step_times(recipe.stages[-1].target_steps, scale.sampling.student_shift)
        self.sampler = trained_scheduler(self.method.sampler, times.tolist(), scale.teacher.shift)
        # Buffers (Wan's table of positions) are constants; copied anew at every call they would spoil earlier graphs.
        ddp = DistributedDataParallelKwargs(broadcast_buffers=False)
        self.accelerator = Accelerator(mixed_precision=recipe.precision, kwargs_handlers=[ddp])
        self._check_batches()
        self.data = TrainingClips.load(samples)
        start = prepare(scale, teacher, self.data.captions, self.method, seed)
        self.networks = TrainedNetworks(start, self.method, recipe, self.accelerator)
        self.spent_before = 0  # network evaluations of the run before it was resumed
        self.generator = torch.Generator().manual_seed(1_000_003 * seed)
        self._fingerprint_of = partial(
            fingerprint, scale, teacher=teacher, parts=start.parts, seed=seed, samples=samples
        )
        self.fingerprint = self._fingerprint_of(recipe)
        self.code = [code_version()]  # those of a run that was resumed under other code, the first one first
        self.done = Done(student=0, critic=0)
        self.gamma = power_exponent(recipe.ema_value) if recipe.ema == "power" else None

    def run(self) -> None:
        """Train from the last checkpoint to the end, then write ``student`` and its manifest."""
        started = time.time()
        self.folder.path.mkdir(parents=True, exist_ok=True)
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

    def _check_batches(self) -> None:
        processes = self.accelerator.num_processes
        for stage in self.recipe.stages:
            if stage.batch % processes:
                raise UserError(
                    f"recipe {self.recipe.name}, stage {stage.name}: a batch of {stage.batch} clips cannot be shared "
                    f"evenly by {processes} processes: set its batch to a multiple of {processes}, or start another "
                    "number of processes"
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
        """This process's share of the stage's batch; the rows of all are drawn alike on every process."""
        rows = torch.randint(len(self.data.latents), (stage.batch,), generator=self.generator)
        device, process, processes = (
            self.accelerator.device,
            self.accelerator.process_index,
            self.accelerator.num_processes,
        )
        rows = rows.chunk(processes)[process]
        # A function of the counts, so that no state of it needs to be kept.
        shared = torch.Generator().manual_seed(clip_seed(self.seed, self.done.student, self.done.critic))
        x0, caption = self.data.latents[rows].to(device), self.data.caption[rows].to(device)
        return Batch(x0, caption, self.generator, shared, self._over_processes, process, processes)

    def _over_processes(self, tensor: torch.Tensor) -> torch.Tensor:
        return self.accelerator.reduce(tensor.to(self.accelerator.device), reduction="sum").to(tensor.device)

    def _means(self, values: dict[str, float]) -> dict[str, float]:
        """Values of each process, averaged over all."""
        total = self._over_processes(torch.tensor(list(values.values()), dtype=torch.float64))
        return dict(zip(values, (total / self.accelerator.num_processes).tolist(), strict=True))

    def _update(self, place: tuple[Stage, int]) -> dict[str, float]:
        """One student update and the critic updates that follow it; returns what to log."""
        stage, within = place
        began = time.perf_counter()
        ramp = min(1.0, (within + 1) / max(1, stage.warmup))
        row: dict[str, float] = {"update": self.done.student + 1, "stage": stage.name, "lr": stage.learning_rate * ramp}
        row |= self._student_step(stage, stage.learning_rate * ramp)
        self.done = Done(self.done.student + 1, self.done.critic)
        self._average()
        if self.networks.critic:
            for _ in range(stage.critic_updates):
                row |= self._critic_step(stage, stage.critic_learning_rate * ramp)
                self.done = Done(self.done.student, self.done.critic + 1)
        row["evaluations"] = self.evaluations
        row["seconds"] = time.perf_counter() - began
        return row

    def _student_step(self, stage: Stage, learning_rate: float) -> dict[str, float]:
        row: dict[str, float] = {}
        parameters = list(self.networks.student.parameters())
        self.networks.student_optimizer.zero_grad()
        previous = [torch.zeros_like(p) for p in local(parameters)]
        batch = self._batch(stage)
        for name, (weight, term) in self.method.terms(self.networks.for_method(), batch, stage, self.done).items():
            with self.accelerator.autocast():
                loss, extra = term()
            logged = self._means({f"{name}_loss": float(loss.detach()), **extra})
            self._check_finite(logged[f"{name}_loss"], "loss", name, batch)
            self.accelerator.backward(weight * loss)
            # Each term's own gradient norm: what a weight such as lambda means can be seen from these alone.
            gradients = _gradients(parameters)
            change = [new - old for new, old in zip(gradients, previous, strict=True)]
            row |= {f"{name}_loss": logged[f"{name}_loss"], f"{name}_gradient": self._norm(change), **logged}
            self._check_finite(row[f"{name}_gradient"], "gradient", name, batch)
            previous = [g.clone() for g in gradients]
        self._step(self.networks.student_optimizer, parameters, learning_rate)
        return row

    def _critic_step(self, stage: Stage, learning_rate: float) -> dict[str, float]:
        parameters = self.networks.critic_parameters()
        self.networks.critic_optimizer.zero_grad()
        batch = self._batch(stage)
        with self.accelerator.autocast():
            loss, extra = self.method.critic_loss(self.networks.for_method(), batch, stage, self.done)
        logged = self._means({"critic_loss": float(loss.detach()), **extra})
        self._check_finite(logged["critic_loss"], "loss", "critic", batch)
        self.accelerator.backward(loss)
        for name, network in self.networks.critic.items():
            logged[f"{name}_gradient"] = self._norm(_gradients(list(network.parameters())))
            self._check_finite(logged[f"{name}_gradient"], "gradient", name, batch)
        self._step(self.networks.critic_optimizer, parameters, learning_rate)
        return logged

    def _norm(self, gradients: list[torch.Tensor]) -> float:
        """Norm of gradients that every process has whole, or of which each has its shards."""
        norm = torch.linalg.vector_norm(torch.stack([gradient.norm() for gradient in gradients]))
        return float(self._over_processes(norm.double().square()).sqrt() if self.networks.sharded else norm)

    def _check_finite(self, value: float, what: str, term: str, batch: Batch) -> None:
        """Stop at a loss or a norm of a gradient that is not finite, and keep the batch that gave it.

        The value is that of all processes, so that all stop.
        """
        if math.isfinite(value):
            return
        kept = self.folder.stopped
        counters = {"student": self.done.student, "critic": self.done.critic, "term": term}
        whole = {"x0": self.accelerator.gather(batch.x0), "caption": self.accelerator.gather(batch.caption)}
        if self.accelerator.is_main_process:
            save_checkpoint(kept, whole, counters)
        self.accelerator.wait_for_everyone()
        raise UserError(
            f"after {self.done.student} student and {self.done.critic} critic updates the {what} of term {term!r} is "
            f"{value}; training stopped, its batch is in {kept}. The last checkpoint is untouched: lower the learning "
            "rate or the term's weight"
        )

    @property
    def evaluations(self) -> int:
        """Network evaluations times clips that the run has spent so far, those of all processes."""
        return self.spent_before + self.networks.spent * self.accelerator.num_processes

    def _step(self, optimizer: torch.optim.Optimizer, parameters: list[torch.Tensor], learning_rate: float) -> None:
        if self.recipe.gradient_clip > 0:
            self.accelerator.clip_grad_norm_(parameters, self.recipe.gradient_clip)
        self.networks.step(optimizer, learning_rate)

    def _average(self) -> None:
        decay = self.recipe.ema_value if self.gamma is None else power_decay(self.done.student, self.gamma)
        self.networks.average_student(decay)

    def _keep(self) -> None:
        """Write the checkpoint and the snapshots that are due."""
        total, now = self.recipe.updates, self.done.student
        if now in self.recipe.snapshot_updates:
            self.networks.save_average(self.folder.snapshot(now), self.sampler)
        if now % self.recipe.checkpoint_every == 0 or now == total:
            tensors = self.networks.tensors()
            if self.accelerator.is_main_process:
                tensors |= with_prefix("method", self.method.state_dict())
                check_finite(tensors, self.folder.checkpoint)
                tensors |= with_prefix("generator", {"0": self.generator.get_state()})
                counters = {
                    "student": now,
                    "critic": self.done.critic,
                    "evaluations": self.evaluations,
                    "configuration": self.fingerprint,
                    "code": self.code,
                }
                save_checkpoint(self.folder.checkpoint, tensors, counters)

    def _resume(self) -> None:
        path = self.folder.checkpoint
        tensors, counters = load_checkpoint(path) if path.exists() else ({}, {})
        if counters and not (counters["configuration"] == self.fingerprint or self._ended_earlier(counters)):
            log(f"{path} belongs to another configuration or other data: training starts again from the teacher")
            counters = {}
        self.accelerator.wait_for_everyone()  # every process has read the checkpoint before one moves it
        if not counters:
            aside = self.folder.put_aside() if self.accelerator.is_main_process else None
            if aside:
                log(f"what was there is in {aside}")
            return
        self.networks.load_tensors(tensors)
        self.method.load_state_dict(without_prefix("method", tensors))
        self.generator.set_state(without_prefix("generator", tensors)["0"])
        self.done = Done(int(counters["student"]), int(counters["critic"]))
        self.spent_before = int(counters["evaluations"])
        if counters["configuration"] != self.fingerprint:  # it ended here; a snapshot may be due now, none was then
            self._keep()
        before = counters.get("code", self.code)
        self.code = list(dict.fromkeys([*before, *self.code]))
        changed = " (the package's code has changed since: the run will be of both)" if before != self.code else ""
        log(f"continuing from update {self.done.student} of {self.recipe.updates}{changed}")

    def _ended_earlier(self, counters: dict) -> bool:
        """Whether a checkpoint is the end of the same training with fewer updates in its last stage.

        Nothing in an update depends on how many are still to come, so it is as if it had never ended, as long as the
        snapshots that are wanted of it were taken.
        """
        done = counters["student"]
        if not self.recipe.updates - self.recipe.stages[-1].updates < done < self.recipe.updates:
            return False
        taken = all(self.folder.snapshot(at).exists() for at in self.recipe.snapshot_updates if at < done)
        return taken and counters["configuration"] == self._fingerprint_of(self.recipe.ending_at(done))

    def _record(self, row: dict[str, float]) -> None:
        self.folder.append(row, written=row["update"] % self.recipe.log_every == 0 or row["update"] == 1)

    def _finish(self, started: float, resumed_at: int) -> None:
        self.accelerator.wait_for_everyone()
        self.networks.save_average(self.folder.student, self.sampler)
        if self.accelerator.is_main_process:
            write_manifest(
                self.folder.path,
                inputs={"samples": self.samples_folder / SAMPLES},
                config={"scale": asdict(self.scale), "recipe": as_settings(self.recipe), "teacher": self.teacher_name},
                seeds={"run": self.seed},
                extra={
                    "student_updates": self.done.student,
                    "critic_updates": self.done.critic,
                    "network_evaluations": self.evaluations,
                    "sampler": self.method.sampler,
                    "peak_memory_gb": _peak_memory_gb(self.accelerator.device),
                    "resumed_at": resumed_at,
                    "code": self.code,
                    "processes": self.accelerator.num_processes,
                    "sharded": self.networks.sharded,
                },
                started=started,
            )


def _gradients(parameters: list[torch.Tensor]) -> list[torch.Tensor]:
    """This process's, zeros where no loss has reached yet."""
    return local(torch.zeros_like(p) if p.grad is None else p.grad for p in parameters)


def _peak_memory_gb(device: torch.device) -> float:
    """The most memory held so far by this process: on the GPU, or all of it on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024  # bytes, or KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
