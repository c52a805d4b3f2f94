"""Benchmark of sampling: the teacher's many steps against a student's few, in one run (Alice Tables 9, 10; AVD)."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from alice_repro.config import Scale
from alice_repro.errors import UserError
from alice_repro.evaluation.timing import Meter, Timing, Work, matmul_rate, measure, speedup
from alice_repro.flow.noise import ClipNoise
from alice_repro.manifest import write_manifest
from alice_repro.models.codec import denormalise_latents
from alice_repro.models.flops import forward_flops, sizes_of
from alice_repro.models.loading import TeacherParts, load_teacher, load_transformer
from alice_repro.models.velocity import NetworkVelocity, Velocity
from alice_repro.sampling.few_step import few_step_times, sample_few_step
from alice_repro.sampling.teacher import sample_euler
from alice_repro.statistics import Estimate
from alice_repro.training.setup import teacher_velocity
from alice_repro.workflow.bench_table import as_text, write_rows

CAPTION = "a red ball falls in the studio"
TEACHER, DECODER = "teacher", "decoder"


@dataclass(frozen=True)
class Row:
    """A line of the table. Ratios are teacher / student: measured, and as operations and evaluations predict.

    ``share`` is of the rate that a product of matrices reaches on the same device in the same run.
    """

    sampler: str
    timing: Timing
    share: float | None
    speedup: Estimate | None
    with_decoder: Estimate | None
    predicted: float | None

    def cells(self) -> dict[str, str]:
        """The row in words."""
        timing, work = self.timing, self.timing.work
        return {
            "sampler": self.sampler,
            "steps": str(work.steps or "-"),
            "evaluations": str(work.evaluations or "-"),
            "s/clip": _interval(timing.per_clip),
            "s/step": f"{timing.per_step.value:.4g}" if timing.per_step else "-",
            "clips/s": f"{timing.clips_per_second:.3g}",
            "GFLOP/clip": f"{work.flops / 1e9:.4g}" if work.flops else "-",
            "of matmul": f"{self.share:.0%}" if self.share is not None else "-",
            "peak GB": f"{timing.peak_bytes / 1e9:.2f}",
            "speedup": _interval(self.speedup),
            "with decoder": _interval(self.with_decoder),
            "predicted": f"{self.predicted:.1f}" if self.predicted else "-",
        }


@torch.no_grad()
def bench_sampling(
    scale: Scale, out: Path, repeats: int = 10, clips: int = 1, steps: tuple[int, ...] = (1, 2, 4, 8),
    student: Path | None = None, device: str = "cpu",
) -> list[Row]:  # fmt: skip
    """Time the scale's teacher, students of so many steps, and the decoder, in turn; write the table to ``out``.

    Seconds a clip are of a batch of ``clips``: 1 gives the time that a user waits. Without a student's folder the
    teacher's network stands for it, without guidance, as the cost is the same. The text encoder is left out: a prompt
    is encoded once, however many steps follow.

    Raises:
        UserError: no steps, or fewer than 1 clip.
    """
    if not steps or min(steps) < 1 or clips < 1:
        raise UserError(f"sampling is timed with 1 or more clips and steps, not {clips} and {list(steps)}")
    started = time.time()
    parts, meter = load_teacher(scale.model), Meter(device)
    shape = parts.latent_shape(scale.model)
    guided = teacher_velocity(scale, "trained", parts, [CAPTION]).to(device)
    network = parts.transformer if parts.transformer_2 is None else parts.transformer_2
    plain = NetworkVelocity(load_transformer(student) if student else network, parts.embed([CAPTION])).to(device)
    flops, caption = _flops(parts, shape), torch.zeros(clips, dtype=torch.long, device=device)

    def teacher() -> None:
        noise = ClipNoise(range(clips)).draw(shape, device)
        sample_euler(guided, noise, caption, scale.teacher.steps, scale.teacher.shift)

    def few(count: int) -> Work:
        times = few_step_times(count, scale.sampling.student_shift)
        return _work(
            lambda: sample_few_step(plain, ClipNoise(range(clips)), shape, caption, times), clips, count, plain, flops
        )

    samplers = {TEACHER: _work(teacher, clips, scale.teacher.steps, guided, flops)}
    samplers |= {f"student, {count} step{'s' * (count > 1)}": few(count) for count in steps}
    samplers[DECODER] = Work(_decoder(parts, shape, clips, device), clips)
    found = measure(samplers, meter, repeats, title=f"sampling {clips} x {'x'.join(map(str, shape))}")
    peak = matmul_rate(meter)
    rows = [_row(name, found, peak) for name in found]
    _write(
        rows, out, started, {"scale": asdict(scale), "clips": clips, "device": str(meter.device)}, peak, parts, student
    )
    return rows


def as_table(rows: list[Row]) -> str:
    """The rows as aligned text."""
    return as_text([row.cells() for row in rows])


def _row(name: str, found: dict[str, Timing], peak: float) -> Row:
    timing, teacher = found[name], found[TEACHER]
    if name in (TEACHER, DECODER):
        return Row(name, timing, timing.share_of(peak), None, None, None)
    return Row(
        name, timing, timing.share_of(peak), speedup(teacher, timing), speedup(teacher, timing, found[DECODER]),
        teacher.work.flops / timing.work.flops,
    )  # fmt: skip


def _work(draw, clips: int, steps: int, velocity: Velocity, flops: float) -> Work:
    evaluations = steps * velocity.evaluations
    return Work(draw, clips, steps, evaluations, evaluations * flops)


def _flops(parts: TeacherParts, shape: tuple[int, int, int, int]) -> float:
    """Least operations of one evaluation of the network on one clip."""
    model = sizes_of(parts.transformer.config, parts.text_length)
    tokens = 1
    for cells, patch in zip(shape[1:], model.patch, strict=True):
        tokens *= cells // patch
    return forward_flops(model, tokens)


def _decoder(parts: TeacherParts, shape: tuple[int, ...], clips: int, device: str):
    """Decodes a batch of latents of noise: what they show does not change the cost."""
    vae = parts.pipeline.vae.to(device)
    latents = denormalise_latents(ClipNoise(range(clips)).draw(shape, device).to(vae.dtype), vae.config)
    return lambda: vae.decode(latents).sample


def _interval(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    if estimate.low != estimate.low:  # too few repeats for an interval
        return f"{estimate.value:.4g}"
    return f"{estimate.value:.4g} [{estimate.low:.4g}, {estimate.high:.4g}]"


def _write(
    rows: list[Row], out: Path, started: float, config: dict, peak: float, parts: TeacherParts, student: Path | None
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    path = out / "sampling.csv"
    write_rows(path, [row.cells() for row in rows])
    write_manifest(
        path, inputs={"teacher": parts.folder} | ({"student": student} if student else {}), config=config,
        extra={
            "threads": torch.get_num_threads(), "matmul_flops_per_second": peak,
            "seconds": {row.sampler: row.timing.seconds for row in rows},
        },
        started=started,
    )  # fmt: skip
