"""The stages that notebooks and commands run: training clips and videos. Each is a function of files."""

from __future__ import annotations

import csv
import time
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch

from alice_repro.config import FULL, SHORT, START, UNTRAINED, Scale
from alice_repro.data.prompts import prompts_for
from alice_repro.data.training_clips import TrainingClips
from alice_repro.data.world_clips import clean_clips
from alice_repro.errors import UserError, unknown_name
from alice_repro.evaluation.index import read_caption_table
from alice_repro.files import atomic_folder, atomic_path
from alice_repro.flow.noise import ClipNoise, clip_seed
from alice_repro.manifest import write_manifest
from alice_repro.media import contact_sheet, write_video
from alice_repro.models.codec import denormalise_latents, to_frames
from alice_repro.models.loading import TeacherParts, load_teacher, load_transformer
from alice_repro.models.velocity import NetworkVelocity
from alice_repro.progress import Progress
from alice_repro.sampling.agreement import prediction_spread, trajectory_points
from alice_repro.sampling.few_step import few_step_times
from alice_repro.sampling.teacher import sample_euler
from alice_repro.training.setup import teacher_velocity
from alice_repro.workflow.samplers import Sampler, limit_sampler, student_sampler, teacher_sampler

SOURCES = ("teacher", "clean", "night", "pastel")
TRAIN_SPLIT_BASE = 1_000  # keeps the noise of training samples apart from that of evaluation clips


def make_training_clips(scale: Scale, teacher: str, output: Path) -> None:
    """Store latents on the training captions, the only data that students see: the teacher's samples or clean clips.

    The exact teacher is defined on a finite list of captions, so its students are trained on the evaluation captions;
    the trained teacher's are trained on captions whose tuples are not evaluated. Of clean clips there are as many.

    Raises:
        UserError: unknown ``data.source``; clean clips of captions that are not the world's.
    """
    if scale.data.source not in SOURCES:
        raise unknown_name("data.source", scale.data.source, SOURCES)
    started = time.time()
    parts = load_teacher(scale.model)
    captions = prompts_for(scale.prompts, "evaluate" if teacher == "exact" else "train")
    _, repeats = scale.training_clips(teacher)
    caption = torch.arange(len(captions)).repeat_interleave(repeats)
    if scale.data.source != "teacher":
        if scale.prompts.source != "world":
            raise UserError("only the lab's world has clean clips: leave prompts.source at 'world', or data.source")
        style = "flat" if scale.data.source == "clean" else scale.data.source
        clips, evaluations = clean_clips(captions, repeats, parts.pipeline.vae, style)[0].flatten(0, 1), 0
    else:
        clips, evaluations = _teacher_samples(scale, teacher, parts, captions, repeats)
    output.mkdir(parents=True, exist_ok=True)
    TrainingClips(clips, caption, captions, evaluations).save(output)
    write_manifest(
        output, inputs={"teacher": parts.folder}, config={"scale": asdict(scale), "teacher": teacher},
        seeds={"data": scale.data.seed}, extra={"clips": len(clips), "evaluations_per_clip": evaluations},
        started=started,
    )  # fmt: skip


def _teacher_samples(
    scale: Scale, teacher: str, parts: TeacherParts, captions: list[str], repeats: int
) -> tuple[torch.Tensor, int]:
    """Latents (captions * repeats, C, T, h, w) of the multi-step teacher, and network evaluations a clip."""
    rows = [(row, TRAIN_SPLIT_BASE + index) for row in range(len(captions)) for index in range(repeats)]
    velocity = teacher_velocity(scale, teacher, parts, captions)
    shape, latents, evaluations = parts.latent_shape(scale.model), [], 0
    with Progress(len(rows), f"{teacher} teacher, {scale.teacher.steps} steps, training clips") as bar:
        for start in range(0, len(rows), scale.sampling.batch):
            chunk = rows[start : start + scale.sampling.batch]
            noise = ClipNoise([clip_seed(scale.data.seed, *row) for row in chunk]).draw(shape)
            caption = torch.tensor([row for row, _ in chunk])
            clean, evaluations = sample_euler(velocity, noise, caption, scale.teacher.steps, scale.teacher.shift)
            latents.append(clean)
            bar.advance(len(chunk))
    return torch.cat(latents), evaluations


def sample_arm(
    scale: Scale,
    teacher: str,
    arm: str,
    output: Path,
    student: Path | None = None,
    run: int | None = None,
    interpolator: Path | None = None,
    short_steps: int = 0,
    positions: str = "compact",
    plan: Path | None = None,
) -> None:
    """Sample one arm on the evaluation captions and write its videos, caption table, contact sheet and manifest.

    Args:
        arm: "teacher-full" (all steps), "teacher-short" (as many steps as the student), "teacher-consistent" (the
            student's steps along the teacher's own consistency function), "teacher-anchored" (Euler steps at the
            student's times, the first as DP-DMD's should be), "student-start" (a student before its first update), or
            any other name for a student.
        student: folder of the student's transformer, which also says how it is sampled; needed for a student.
        run: the training run, noted in the caption table.
        interpolator: folder of a frame interpolator, for a student whose first ``short_steps`` run at half the frame
            rate (AVD), with these ``positions`` (``models.half_rate``).
        plan: caption table with the name and the seed of each video to make (`evaluation.suites.sampling_plan`); the
            scale's evaluation captions and seeds if not given. A clip's noise is of its caption's place in the plan.

    Raises:
        UserError: unknown arm; a student where none belongs, or none where one does; an interpolator without short
            steps, or short steps that the clips, the sampler or the arm do not allow.
    """
    started = time.time()
    if (student is None) != (arm in UNTRAINED):
        if student is None:
            raise unknown_name("teacher arm", arm, UNTRAINED)
        raise UserError(f"arm {arm} takes no student")
    if (interpolator is None) != (short_steps == 0) or (interpolator is not None and student is None):
        raise UserError("frame-interpolated sampling takes a student, an interpolator's folder and short_steps above 0")
    parts = load_teacher(scale.model)
    captions, rows = _planned(plan) if plan else _evaluated(scale)
    if student is None:
        steps = scale.teacher.steps if arm == FULL else scale.sampling.student_steps
        if arm == START:
            velocity = NetworkVelocity(parts.student_start, parts.embed(captions))
        else:
            velocity = teacher_velocity(scale, teacher, parts, captions)
        if arm in (FULL, SHORT):
            draw = teacher_sampler(scale, parts, velocity, steps)
        else:
            draw = limit_sampler(scale, parts, velocity, steps, arm)
    else:
        draw, steps = student_sampler(scale, parts, captions, student, interpolator, short_steps, positions)
    with atomic_folder(output) as folder:
        cost, seconds, shown = _sample_videos(scale, parts, draw, f"{arm}: {steps} steps", rows, folder)
        _write_caption_table(folder / "captions.csv", rows, captions, arm, run)
        contact_sheet(folder / "contact_sheet.png", shown, captions[: len(shown)])
        write_manifest(
            folder,
            inputs={"teacher": parts.folder}
            | ({"student": student} if student else {})
            | ({"plan": plan} if plan else {})
            | ({"interpolator": interpolator} if interpolator else {}),
            config={"scale": asdict(scale), "teacher": teacher, "arm": arm, "steps": steps}
            | ({"short_steps": short_steps, "positions": positions} if interpolator else {}),
            seeds={"sampling": scale.sampling.seed},
            extra={"clips": len(rows), **cost, "seconds_per_clip": seconds / len(rows)},
            started=started,
        )


def agreement_along_paths(scale: Scale, teacher: str, student: Path) -> dict[str, float]:
    """Spread of the clips predicted at the student's times along the teacher's paths (`sampling.agreement`), the mean
    over the evaluation captions, one noise each: of the "student", and of the "teacher" itself.
    """
    parts = load_teacher(scale.model)
    captions = prompts_for(scale.prompts, "evaluate")
    fields = {
        "teacher": teacher_velocity(scale, teacher, parts, captions),
        "student": NetworkVelocity(load_transformer(student), parts.embed(captions)),
    }
    times = few_step_times(scale.sampling.student_steps, scale.sampling.student_shift).tolist()
    spreads: dict[str, list[torch.Tensor]] = {name: [] for name in fields}
    for chunk in torch.arange(len(captions)).split(scale.sampling.batch):
        noise = ClipNoise([clip_seed(scale.sampling.seed, int(prompt), 0) for prompt in chunk])
        eps = noise.draw(parts.latent_shape(scale.model))
        points = trajectory_points(fields["teacher"], eps, chunk, times, scale.teacher.steps)
        for name, field in fields.items():
            spreads[name].append(prediction_spread(field, points, chunk, times))
    return {name: float(torch.cat(found).mean()) for name, found in spreads.items()}


def _sample_videos(
    scale: Scale, parts: TeacherParts, draw: Sampler, title: str, rows: list[Planned], folder: Path
) -> tuple[dict[str, object], float, list]:
    """Sample and decode in batches; returns the sampler's cost, seconds of sampling and decoding, the sheet's clips."""
    cost, seconds, shown = {}, 0.0, []
    with Progress(len(rows), title) as bar:
        for start in range(0, len(rows), scale.sampling.batch):
            chunk = rows[start : start + scale.sampling.batch]
            began = time.perf_counter()
            caption = torch.tensor([row.prompt for row in chunk])
            noise = ClipNoise([clip_seed(scale.sampling.seed, row.prompt, row.seed) for row in chunk])
            clean, cost = draw(caption, noise)
            frames = decode(parts, clean)
            seconds += time.perf_counter() - began
            for row, clip in zip(chunk, frames, strict=True):
                (folder / row.video).parent.mkdir(parents=True, exist_ok=True)
                write_video(folder / row.video, clip, scale.model.fps)
                if row.seed == 0 and len(shown) < 12:
                    shown.append(clip)
            bar.advance(len(chunk))
    return cost, seconds, shown


@torch.no_grad()
def decode(parts: TeacherParts, latents: torch.Tensor) -> list:
    """Normalised latents (B, C, T, h, w) to uint8 clips (T, H, W, 3), one array each."""
    vae = parts.pipeline.vae
    video = vae.decode(denormalise_latents(latents.to(vae.dtype), vae.config)).sample
    return list(to_frames(video.float().cpu()).numpy())


class Planned(NamedTuple):
    """A video to make: its caption's place, its seed, its name, and the caption's name in tables."""

    prompt: int
    seed: int
    video: str
    prompt_id: str


def _evaluated(scale: Scale) -> tuple[list[str], list[Planned]]:
    captions = prompts_for(scale.prompts, "evaluate")
    seeds, places = range(scale.prompts.seeds), range(len(captions))
    return captions, [Planned(place, seed, video_name(place, seed), str(place)) for seed in seeds for place in places]


def _planned(plan: Path) -> tuple[list[str], list[Planned]]:
    table = read_caption_table(plan)
    if "seed" not in table or table["seed"].isna().any():
        raise UserError(f"{plan}: every video of a plan needs a seed")
    twice = table[table.duplicated(["caption", "seed"])]
    if len(twice):
        raise UserError(f"{plan}: {twice['video'].iloc[0]!r} has the caption and the seed of another video")
    captions = list(dict.fromkeys(table["caption"]))
    place = {caption: number for number, caption in enumerate(captions)}
    names = table["prompt_id"] if "prompt_id" in table else table["caption"].map(place).astype(str)
    rows = zip(table["caption"].map(place), table["seed"], table["video"], names, strict=True)
    return captions, [Planned(int(prompt), int(seed), video, name) for prompt, seed, video, name in rows]


def video_name(prompt: int, seed: int) -> str:
    """File name of a clip; the oracle never reads it."""
    return f"{prompt:04d}_s{seed}.mp4"


def _write_caption_table(path: Path, rows: list[Planned], captions: list[str], arm: str, run: int | None) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "caption", "prompt_id", "seed", "arm", "run"])
        for row in rows:
            of_run = "" if run is None else run
            writer.writerow([row.video, captions[row.prompt], row.prompt_id, row.seed, arm, of_run])
