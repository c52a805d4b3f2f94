"""Verbs that check what is printed, and what things cost here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from alice_repro.verbs.arguments import Settings, chosen_scale


def audit(
    papers: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[PAPER ...]")] = (),
    /,
    table: int | None = None,
    json: bool = False,
    fail_on: Literal["fatal", "major", "minor"] | None = None,
    my_table: Path | None = None,
    out: Path | None = None,
) -> None:
    """Check every published number on paper, in seconds: a summary here, a page with all computations in a folder.

    Of files instead of papers: `alice-repro audit checkpoint A B`. Leaves with 0 whatever is found, unless --fail-on is
    given.

    Args:
        papers: alice, avd, dfd; all if none is named.
        table: only what speaks of the table of this number.
        json: print all entries as JSON instead; nothing is written unless --out is given.
        fail_on: leave with 1 if something at least as severe does not hold.
        my_table: run the same rules over a record of your own (TOML; notebooks/audit/my_table.toml).
        out: folder for the page (HTML) and the entries (JSON); results/audit if not given.
    """
    from alice_repro.audit.command import run

    sys.exit(run(papers, table, json, fail_on, my_table, out))


def audit_checkpoint(
    a: Annotated[Path, tyro.conf.Positional],
    b: Annotated[Path, tyro.conf.Positional],
    /,
    mixture: Annotated[tuple[Path, ...], tyro.conf.arg(name="with", metavar="C ...")] = (),
    networks: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = (),
    against: Annotated[tuple[str, ...], tyro.conf.arg(metavar="PAPER ...")] = (),
    partial: bool = False,
    json: bool = False,
    out: Path | None = None,
    workers: int | None = None,
) -> None:
    """Say what checkpoint B is of checkpoint A, tensor by tensor: the same, a cast, noise, a mixture, trained.

    Folders or single safetensors files, in diffusers' layout, Wan's or Alice's own, or under a trainer's names; also
    written `audit checkpoint A B`. Leaves with 0 whatever is found.

    Args:
        a: the checkpoint that B is said to come from.
        b: the checkpoint to be explained.
        mixture: further checkpoints that B may be a mixture of with A.
        networks: compare only these (transformer, transformer_2, text_encoder, vae); all that both have if not given.
        against: compare the architecture only with what these papers and their releases state, and in full.
        partial: where shards are missing or files are cut, compare what is there.
        json: print all numbers as JSON instead; nothing is written unless --out is given.
        out: folder for the page (HTML) and the numbers (JSON); results/audit if not given.
        workers: tensors measured at a time; the number of processors if not given.
    """
    from alice_repro.audit.checkpoints.command import run

    run(a, b, mixture, networks, against, partial, json, out, workers)


def bench_checkpoint(gigabytes: float = 2.0, folder: Path | None = None) -> None:
    """Time the checkpoint audit on a generated sharded pair, against a plain read of the same files.

    Args:
        gigabytes: of both checkpoints together; they are removed afterwards.
        folder: on the disk to measure; the system's temporary folder if not given.
    """
    from alice_repro.workflow.bench_checkpoint import bench_checkpoint as run
    from alice_repro.workflow.bench_table import as_text

    print(as_text([row.cells() for row in run(gigabytes, folder)]))


def bench_methods(scale: str = "lab", teacher: str = "trained", updates: int = 9) -> None:
    """Print what an update of each method costs on this machine: seconds, network evaluations, memory, ratios.

    Args:
        scale: a preset.
        teacher: trained or exact.
        updates: of each stage of a recipe.
    """
    from alice_repro.models.loading import quiet_libraries
    from alice_repro.workflow.bench import bench_methods as run

    quiet_libraries()
    run(scale, teacher, updates)


def bench_interpolation(
    scale: str = "lab",
    short_steps: int = 2,
    repeats: int = 10,
    out: Path = Path("results/bench"),
    interpolator: Path | None = None,
    settings: Settings = (),
) -> None:
    """Measure what frame interpolation saves of a student's sampling time, beside what its operations predict.

    Args:
        scale: a preset.
        short_steps: steps at half the frame rate.
        repeats: pairs of runs, with and without.
        out: folder for interpolation.csv and its manifest.
        interpolator: folder of a trained one; an untrained one costs the same.
    """
    from alice_repro.models.loading import quiet_libraries
    from alice_repro.workflow.bench_interpolation import as_table
    from alice_repro.workflow.bench_interpolation import bench_interpolation as run

    quiet_libraries()
    print("interpolated / full rate, one run; measured: mean of paired runs with its 95 % interval")
    print(as_table(run(chosen_scale(scale, settings), short_steps, repeats, out, interpolator)))


def bench_evaluate(
    clips: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[CLIP ...]")] = (),
    /,
    official: Path = Path(".vbench/bin/python"),
    rounds: int = 3,
    threads: int = 2,
) -> None:
    """Time our seven VBench dimensions against the official package's: same clips, same random weights, one run.

    Args:
        clips: mp4 files of three frames or more, sides of 128 pixels or more; two rendered ones if none is named.
        official: the python of an environment with the official package (make vbench-env).
        rounds: in which both sides take their turn.
        threads: of each side.
    """
    from alice_repro.workflow.bench_evaluate import bench_evaluate as run
    from alice_repro.workflow.bench_evaluate import with_clips

    with with_clips(clips) as chosen:
        run(chosen, official, rounds, threads)


def bench_sampling(
    scale: str = "lab",
    repeats: int = 10,
    clips: int = 1,
    steps: tuple[int, ...] = (1, 2, 4, 8),
    student: Path | None = None,
    device: str = "cpu",
    out: Path = Path("results/bench"),
    settings: Settings = (),
) -> None:
    """Time the teacher, students of a few steps and the decoder in one run, beside what their operations predict.

    The measured form of Alice's Tables 9 and 10 and of AVD's time columns: seconds a clip, evaluations, memory.

    Args:
        scale: a preset.
        repeats: rounds in which all samplers take their turn.
        clips: sampled together.
        steps: of the students.
        student: folder of a student's transformer; the teacher's weights cost the same.
        device: cpu or cuda.
        out: folder for sampling.csv and its manifest.
    """
    from alice_repro.models.loading import quiet_libraries
    from alice_repro.workflow.bench_sampling import as_table
    from alice_repro.workflow.bench_sampling import bench_sampling as run

    quiet_libraries()
    print(as_table(run(chosen_scale(scale, settings), out, repeats, clips, steps, student, device)))


VERBS = (
    audit,
    audit_checkpoint,
    bench_checkpoint,
    bench_methods,
    bench_interpolation,
    bench_evaluate,
    bench_sampling,
)
