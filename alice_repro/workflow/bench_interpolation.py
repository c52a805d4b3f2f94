"""Benchmark of interpolated sampling: operations predicted and time measured, with and without, in one run."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from alice_repro.config import Scale, load_interpolator_recipe
from alice_repro.flow.noise import ClipNoise
from alice_repro.manifest import write_manifest
from alice_repro.models.flops import latent_frames, sizes_of
from alice_repro.models.flops import tokens as tokens_of
from alice_repro.models.interpolator import FrameInterpolator, load_interpolator
from alice_repro.models.loading import TeacherParts, load_teacher
from alice_repro.models.velocity import NetworkVelocity
from alice_repro.papers import load_paper
from alice_repro.progress import Progress
from alice_repro.sampling.few_step import few_step_times
from alice_repro.sampling.flops import interpolation_flops, sampling_flops, tokens_seen
from alice_repro.sampling.interpolated import check_short_steps, sample_interpolated
from alice_repro.statistics import Estimate, mean_interval
from alice_repro.workflow.bench_table import as_text, write_rows

PAPER_FRAMES = 21  # latent frames of the paper's clips
LARGER = 2  # the second case: so many times the scale's height and width, with the paper's frames


@dataclass(frozen=True)
class Case:
    """One size of clip. Ratios are interpolated / full, so 0.7 is a saving of 30 %; measured is None where not run.

    ``tokens`` are those of a clip at each step: counted by a hook where measured is given, else those of the formula.
    """

    clip: str
    tokens: tuple[int, ...]
    predicted: float
    measured: Estimate | None
    unet_share: float

    def row(self) -> dict[str, str]:
        """The case in words."""
        measured = "not run"
        if self.measured is not None:
            measured = f"{self.measured.value:.3f} [{self.measured.low:.3f}, {self.measured.high:.3f}]"
        return {
            "clip": self.clip,
            "tokens a step": " ".join(map(str, self.tokens)),
            "predicted": f"{self.predicted:.3f}",
            "measured": measured,
            "UNet, share of FLOPs": f"{self.unet_share:.2%}",
        }


def bench_interpolation(
    scale: Scale, short_steps: int, repeats: int, out: Path, interpolator: Path | None = None
) -> list[Case]:
    """Time the scale's sampler with and without interpolation, alternately, and write what was found to ``out``.

    Three cases: a batch of the scale's own clips; one clip of the paper's 21 latent frames and of twice the height and
    width, by the same network; and the paper's own network and clips, which are only predicted. The teacher's weights
    stand for a student's, and an untrained UNet for a trained one: the cost is the same.
    """
    started = time.time()
    parts = load_teacher(scale.model)
    channels, frames, height, width = parts.latent_shape(scale.model)
    network = load_interpolator(interpolator) if interpolator else _untrained(channels)
    own, larger = (channels, frames, height, width), (channels, PAPER_FRAMES, LARGER * height, LARGER * width)
    cases = [
        _measure(scale, parts, network, own, scale.sampling.batch, short_steps, repeats),
        _measure(scale, parts, network, larger, 1, short_steps, repeats),
        _paper(network, scale.sampling.student_steps, short_steps),
    ]
    out.mkdir(parents=True, exist_ok=True)
    path = out / "interpolation.csv"
    write_rows(path, [case.row() for case in cases])
    write_manifest(
        path, inputs={"teacher": parts.folder}, config={"scale": asdict(scale), "short_steps": short_steps},
        extra={"repeats": repeats, "threads": torch.get_num_threads(), "cases": [asdict(case) for case in cases]},
        started=started,
    )  # fmt: skip
    return cases


def as_table(cases: list[Case]) -> str:
    """The cases as aligned text."""
    return as_text([case.row() for case in cases])


def _measure(
    scale: Scale, parts: TeacherParts, interpolator: FrameInterpolator, shape: tuple[int, int, int, int], batch: int,
    short_steps: int, repeats: int,
) -> Case:  # fmt: skip
    """Predict and time clips of latent ``shape`` (C, T, h, w); full and interpolated take turns, after one of each."""
    steps = scale.sampling.student_steps
    times = few_step_times(steps, scale.sampling.student_shift)
    check_short_steps(shape[1], steps, short_steps)
    velocity = NetworkVelocity(parts.transformer, parts.embed(["a red ball falls in the studio"]))
    caption = torch.zeros(batch, dtype=torch.long)

    def seconds(short: int) -> float:
        began = time.perf_counter()
        sample_interpolated(velocity, interpolator, ClipNoise(range(batch)), shape, caption, times, short)
        return time.perf_counter() - began

    with tokens_seen(parts.transformer) as tokens:
        seconds(short_steps)
    with tokens_seen(parts.transformer) as full:
        seconds(0)
    name = f"{batch} x {shape[1]} latent frames of {shape[2]} x {shape[3]}"
    ratios = []
    with Progress(repeats, name) as bar:
        for _ in range(repeats):
            ratios.append(seconds(short_steps) / seconds(0))
            bar.advance()
    model = sizes_of(parts.transformer.config, parts.text_length)
    unet = interpolation_flops(interpolator, (shape[1] + 1) // 2, *shape[2:]) if short_steps else 0.0
    return _case(name, tokens, sampling_flops(model, tokens) + unet, sampling_flops(model, full), unet, ratios)


def _paper(interpolator: FrameInterpolator, steps: int, short_steps: int) -> Case:
    """AVD's setting, on paper: Wan2.1 1.3B, 81 frames of 480p."""
    (model,) = (m for m in load_paper("avd").models if m.id == "wan2.1-1.3b")
    frames = latent_frames(model, 81)
    whole, half = (tokens_of(model, 832, 480, n) for n in (frames, (frames + 1) // 2))
    tokens = [half] * short_steps + [whole] * (steps - short_steps)
    unet = interpolation_flops(interpolator, (frames + 1) // 2, 60, 104) if short_steps else 0.0
    flops = sampling_flops(model, tokens) + unet
    return _case(f"{model.name}, 81 frames of 480p", tokens, flops, sampling_flops(model, [whole] * steps), unet, [])


def _case(name: str, tokens: list[int], flops: float, full: float, unet: float, ratios: list[float]) -> Case:
    return Case(name, tuple(tokens), flops / full, mean_interval(ratios) if ratios else None, unet / flops)


def _untrained(channels: int) -> FrameInterpolator:
    return FrameInterpolator(channels, load_interpolator_recipe().widths).eval()
