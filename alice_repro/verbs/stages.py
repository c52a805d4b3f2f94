"""Verbs for one stage of an experiment: clips, training, sampling, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from alice_repro.config import (
    load_interpolator_recipe,
    load_recipe,
    split_settings,
)
from alice_repro.verbs.arguments import RecipeSettings, Settings, chosen_scale


def training_clips(scale: str, output: Path, teacher: str = "trained", settings: Settings = ()) -> None:
    """Store the latents that students are trained on: samples of the multi-step teacher, or clean clips (data.source).

    Args:
        scale: a preset.
        output: folder for samples.safetensors and its manifest.
        teacher: trained or exact.
    """
    from alice_repro.workflow.stages import make_training_clips

    make_training_clips(chosen_scale(scale, settings), teacher, output)


def train(
    scale: str,
    samples: Path,
    output: Path,
    recipe: str = "",
    teacher: str = "trained",
    seed: int = 0,
    settings: Settings = (),
) -> None:
    """Distil a student, continuing a run that was cut short.

    Starts under `accelerate launch` on several processes too, which share each batch of the recipe; the weights are in
    shards with `--use_fsdp --fsdp_version 2`.

    Args:
        scale: a preset.
        samples: folder of the training clips.
        output: folder of the run.
        recipe: a preset; the scale's own if not given.
        teacher: trained or exact.
        seed: seed of the run.
    """
    from alice_repro.models.loading import quiet_libraries
    from alice_repro.training.loop import Trainer

    quiet_libraries()
    chosen = chosen_scale(scale, settings)
    how = load_recipe(recipe or chosen.recipe, split_settings(settings)[1])
    Trainer(chosen, how, teacher, seed, samples, output).run()


def train_interpolator(samples: Path, output: Path, settings: RecipeSettings = ()) -> None:
    """Train AVD's frame interpolator on stored training clips, and print its error on captions that were held out.

    Args:
        samples: folder of the training clips; clean ones (data.source=clean) stand for the paper's real clips.
        output: folder of the network; replaced when training has ended.
    """
    from alice_repro.training.interpolator import train_interpolator as run

    print(run(load_interpolator_recipe(settings), samples, output).table())


def sample(
    scale: str,
    arm: str,
    output: Path,
    teacher: str = "trained",
    student: Path | None = None,
    interpolator: Path | None = None,
    short_steps: int = 0,
    positions: str = "compact",
    plan: Path | None = None,
    settings: Settings = (),
) -> None:
    """Sample one arm on the evaluation captions: mp4 files, caption table, contact sheet.

    Args:
        scale: a preset.
        arm: teacher-full, teacher-short, teacher-consistent, teacher-anchored, or RECIPE-seedK for a student.
        output: folder of the videos; replaced when all are there.
        teacher: trained or exact.
        student: folder of the student's transformer, for a student.
        interpolator: folder of a frame interpolator (train-interpolator), to run a student's first steps at half the
            frame rate.
        short_steps: how many steps those are; AVD has 2 of 4.
        positions: of the frames in those steps: compact (0 1 2, for a student trained so) or kept (0 2 4).
        plan: caption table with the name and the seed of each video to make, such as `sampling-plan` writes.
    """
    from alice_repro.workflow.layout import parse_arm
    from alice_repro.workflow.stages import sample_arm

    parsed = parse_arm(arm)
    run = parsed.seed if parsed else None
    sample_arm(
        chosen_scale(scale, settings), teacher, arm, output, student, run, interpolator, short_steps, positions, plan
    )


def export(
    student: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STUDENT")],
    /,
    scale: str,
    output: Path,
    settings: Settings = (),
) -> None:
    """Write a student as a diffusers folder, which samples through WanPipeline after `import alice_repro`.

    Args:
        student: folder of the student's transformer: RUN/student or RUN/snapshots/update_N.
        scale: the preset that it was trained at.
        output: folder of the pipeline; a new one.
    """
    from alice_repro.sampling.export import export_student

    print(export_student(student, chosen_scale(scale, settings), output), end="")


VERBS = (
    training_clips,
    train,
    train_interpolator,
    sample,
    export,
)
