"""Verbs that make experiments: tables, students, comparisons."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from alice_repro.config import (
    PACKAGE,
    load_lab_experts_recipe,
    load_lab_teacher_recipe,
    load_scale,
)
from alice_repro.verbs.arguments import RecipeSettings, Settings, Teachers, seeds_of


def reproduce(
    paper: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PAPER")],
    what: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="WHAT")],
    /,
    scale: str = "lab",
    settings: Settings = (),
    cores: int | None = None,
) -> None:
    """Build a table or figure of a paper with all that it needs, and print it with its verdict.

    Args:
        paper: alice.
        what: table04, figure01 or report.
        scale: a preset; `alice-repro scales` lists them.
        cores: CPU cores to use; all of them if not given.
    """
    from alice_repro.workflow.reproduce import reproduce as run

    run(paper, what, scale, settings, cores)


def reference(
    scale: str = "lab",
    teachers: Teachers = ("trained", "exact"),
    seeds: tuple[str, ...] = ("0-4",),
    settings: Settings = (),
    cores: int | None = None,
) -> None:
    """Add training runs to the committed record, results/reference/SCALE; runs that are there are not made again.

    Args:
        scale: a preset.
        teachers: trained, exact or both.
        seeds: runs, such as "0-4" or "0 3 7".
        cores: CPU cores to use; all of them if not given.
    """
    from alice_repro.workflow.reference import add_runs

    written = add_runs(scale, teachers, seeds_of(seeds), settings, cores)
    print(f"{len(written)} files in results/reference/{scale}")


def distil(
    method: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="METHOD")],
    /,
    scale: str = "lab",
    teacher: str = "trained",
    seed: int = 0,
    clips: str = "teacher",
    settings: Settings = (),
    cores: int | None = None,
    again: bool = False,
) -> None:
    """Train one student by a method, sample it and measure it: all that this needs is made if it is not there.

    Args:
        method: a recipe, without the scale's ending: rcm, dmd2, dfd, avd ...
        scale: a preset.
        teacher: trained or exact.
        seed: seed of the run.
        clips: what it is trained on: teacher (its samples), clean (the world's clips without defects), night or pastel
            (clean clips in that style, to migrate a student to it).
        cores: CPU cores to use; all of them if not given.
        again: train from the beginning a run that is there, as one must after a change of the method's code.
    """
    from alice_repro.workflow.distil import distil as run

    run(method, scale, teacher, seed, clips, settings, cores, again)


def interpolation(
    method: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="METHOD")] = "avd",
    /,
    scale: str = "lab",
    teacher: str = "trained",
    seed: int = 0,
    clips: str = "teacher",
    settings: Settings = (),
    cores: int | None = None,
) -> None:
    """Measure AVD's frame-interpolated inference: a student's quality with and without it, and the time that it saves.

    Args:
        method: the student's, as in `distil`.
        scale: a preset of the lab's world.
        teacher: trained or exact.
        seed: seed of the run.
        clips: what the student is trained on, as in `distil`.
        cores: CPU cores to use; all of them if not given.
    """
    from alice_repro.models.loading import quiet_libraries
    from alice_repro.workflow.interpolation import measure_interpolation

    quiet_libraries()
    measure_interpolation(method, scale, teacher, seed, clips, settings, cores)


def compare_methods(
    scale: str = "lab",
    arms: tuple[str, ...] = (),
    teachers: Teachers = ("trained", "exact"),
    seeds: tuple[str, ...] = ("0-4",),
    settings: Settings = (),
    cores: int | None = None,
) -> None:
    """Compare methods: make the runs that the committed ledger lacks, then write tables, figures and verdicts.

    What the ledger holds is not made again; with --seeds none nothing is made.

    Args:
        scale: a preset with a comparison.
        arms: those of the comparison, alice_repro/comparisons/SCALE.toml; all of them if none is named.
        teachers: trained, exact or both.
        seeds: runs, such as "0-4" or "0 3 7"; none.
        cores: CPU cores to use; all of them if not given.
    """
    from alice_repro.workflow.compare import add_runs, report

    made = add_runs(scale, arms, teachers, [] if seeds == ("none",) else seeds_of(seeds), settings, cores)
    for run in made:
        print(f"run {run.seed} of {run.arm} ({run.teacher} teacher) is in results/reference/{scale}/methods")
    report(scale)


def lab_teacher(
    work: Path = Path("results/lab_teacher"),
    output: Path | None = None,
    export_only: bool = False,
    settings: RecipeSettings = (),
) -> None:
    """Train the lab's teacher, continuing a training that was cut short, and save it as a pipeline folder.

    Args:
        work: checkpoint, data and training curve.
        output: the pipeline folder; the one in the package if not given.
        export_only: save the average weights of the last checkpoint without training on.
    """
    from alice_repro.models.loading import quiet_libraries
    from alice_repro.models.source import LAB_CHECKPOINT
    from alice_repro.training.lab_teacher import export_lab_teacher, train_lab_teacher

    quiet_libraries()
    make = export_lab_teacher if export_only else train_lab_teacher
    make(load_lab_teacher_recipe(settings), work, output or LAB_CHECKPOINT)


def lab_experts(
    output: Path = Path("results/lab_experts"),
    settings: RecipeSettings = (),
) -> None:
    """Make a teacher of two experts out of the lab's teacher, continuing a training that was cut short.

    Distil from it with  --set model.source=OUTPUT/pipeline. Leaves with 2 if an expert does not win in its own range.

    Args:
        output: folder of the pipeline, of the trainings of both experts and of their losses on held-out clips.
    """
    from alice_repro.models.loading import quiet_libraries
    from alice_repro.models.source import LAB_CHECKPOINT
    from alice_repro.training.experts import check_experts_win, loss_table, train_lab_experts

    quiet_libraries()
    report = train_lab_experts(load_lab_experts_recipe(settings), load_lab_teacher_recipe(), LAB_CHECKPOINT, output)
    print(loss_table(report))
    check_experts_win(report)


def validate_oracle(out: Path, clips: int = 400) -> None:
    """Write the oracle's validation table: each measure on clips of known truth, before and after the codec.

    Args:
        out: folder for oracle_validation.csv and .md.
        clips: clean clips, and as many with defects.
    """
    from alice_repro.models.codec import LabCodec
    from alice_repro.models.source import LAB_CHECKPOINT
    from alice_repro.world.validation import write_validation

    out.mkdir(parents=True, exist_ok=True)
    write_validation(out, LabCodec.from_pretrained(LAB_CHECKPOINT / "vae"), n=clips)
    print((out / "oracle_validation.md").read_text())


def scales() -> None:
    """List the scales."""
    for path in sorted((PACKAGE / "scales").glob("*.toml")):
        print(f"{path.stem:<10}{load_scale(path.stem).summary}")


VERBS = (
    reproduce,
    reference,
    distil,
    interpolation,
    compare_methods,
    lab_teacher,
    lab_experts,
    validate_oracle,
    scales,
)
