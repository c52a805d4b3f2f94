"""The command line, `alice-repro VERB`: thin verbs over the package, each importing what it needs when it is called."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from alice_repro.config import (
    PACKAGE,
    Scale,
    load_interpolator_recipe,
    load_lab_experts_recipe,
    load_lab_teacher_recipe,
    load_recipe,
    load_scale,
    split_settings,
)
from alice_repro.errors import UserError

Settings = Annotated[
    tuple[str, ...],
    tyro.conf.UseAppendAction,
    tyro.conf.arg(
        name="set",
        metavar="KEY=VALUE",
        help="Change a setting: recipe.KEY=VALUE of the recipe, KEY=VALUE of the scale. May be given several times.",
    ),
]
RecipeSettings = Annotated[
    tuple[str, ...],
    tyro.conf.UseAppendAction,
    tyro.conf.arg(name="set", metavar="KEY=VALUE", help="Change a setting of the recipe. Repeatable."),
]
MetricSettings = Annotated[
    tuple[str, ...],
    tyro.conf.UseAppendAction,
    tyro.conf.arg(name="set", metavar="METRIC.KEY=VALUE", help="Change a setting of a metric. Repeatable."),
]
Teachers = tuple[str, ...]


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

    written = add_runs(scale, teachers, _seeds(seeds), settings, cores)
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
    """
    from alice_repro.workflow.distil import distil as run

    run(method, scale, teacher, seed, clips, settings, cores)


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

    made = add_runs(scale, arms, teachers, [] if seeds == ("none",) else _seeds(seeds), settings, cores)
    print(f"{len(made)} runs added to results/reference/{scale}/methods")
    report(scale)


def training_clips(scale: str, output: Path, teacher: str = "trained", settings: Settings = ()) -> None:
    """Store the latents that students are trained on: samples of the multi-step teacher, or clean clips (data.source).

    Args:
        scale: a preset.
        output: folder for samples.safetensors and its manifest.
        teacher: trained or exact.
    """
    from alice_repro.workflow.stages import make_training_clips

    make_training_clips(_scale(scale, settings), teacher, output)


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
    chosen = _scale(scale, settings)
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
    print(as_table(run(_scale(scale, settings), short_steps, repeats, out, interpolator)))


def sample(
    scale: str,
    arm: str,
    output: Path,
    teacher: str = "trained",
    student: Path | None = None,
    interpolator: Path | None = None,
    short_steps: int = 0,
    positions: str = "compact",
    settings: Settings = (),
) -> None:
    """Sample one arm on the evaluation captions: mp4 files, caption table, contact sheet.

    Args:
        scale: a preset.
        arm: teacher-full, teacher-short, or RECIPE-seedK for a student.
        output: folder of the videos; replaced when all are there.
        teacher: trained or exact.
        student: folder of the student's transformer, for a student.
        interpolator: folder of a frame interpolator (train-interpolator), to run a student's first steps at half the
            frame rate.
        short_steps: how many steps those are; AVD has 2 of 4.
        positions: of the frames in those steps: compact (0 1 2, for a student trained so) or kept (0 2 4).
    """
    from alice_repro.workflow.layout import parse_arm
    from alice_repro.workflow.stages import sample_arm

    parsed = parse_arm(arm)
    run = parsed.seed if parsed else None
    sample_arm(_scale(scale, settings), teacher, arm, output, student, run, interpolator, short_steps, positions)


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

    print(export_student(student, _scale(scale, settings), output), end="")


def evaluate(
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")],
    /,
    out: Path,
    metrics: str = "vbench-custom",
    prompts: str | None = None,
    weights: Path | None = None,
    device: str = "cpu",
    batch: int = 16,
    settings: MetricSettings = (),
) -> None:
    """Measure a folder of videos, whoever made them: first what was found, then the scores with 95 % intervals.

    Call it again after an interruption and it goes on, video by video. Leaves with 3 if a video or a metric could not
    be measured; each has its row and its reason.

    Args:
        folder: mp4, mov, webm, mkv, avi or gif files, and all below; or one file.
        out: folder of the tables: scores.csv, summary.csv, sets.csv, inventory.csv.
        metrics: names or groups with commas between; `alice-repro metrics` lists them.
        prompts: a CSV (columns video, caption), a JSON ({video: prompt}), "names" (prompt-3.mp4) or "none"; if not
            given, FOLDER/captions.csv, else the names.
        weights: folder of the public weights; $ALICE_REPRO_WEIGHTS or ~/.cache/alice_repro/weights if not given.
        device: cpu or cuda.
        batch: frames that go through a network together.
    """
    from alice_repro.evaluation.evaluate import evaluate as run
    from alice_repro.evaluation.evaluate import show
    from alice_repro.evaluation.metric import Tools
    from alice_repro.evaluation.registry import parse_settings
    from alice_repro.evaluation.weights import Weights

    names = [name.strip() for name in metrics.split(",") if name.strip()]
    tools = Tools(Weights(weights), device, batch)
    found = run(folder, names, out, prompts=prompts, tools=tools, options=parse_settings(settings))
    print(show(found))
    print(f"{len(found.scores)} videos: {out}/scores.csv")
    if not found.complete:
        sys.exit(1 if found.faults else 3)


def metrics() -> None:
    """List the metrics, what each needs, and the groups."""
    from alice_repro.evaluation.registry import describe

    print(describe())


def compare(
    a: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="A")],
    b: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="B")],
    /,
) -> None:
    """Compare two evaluations: paired differences a measure with intervals, and which are beyond noise.

    Args:
        a: folder of `evaluate`, or a score table.
        b: the other.
    """
    from alice_repro.evaluation.paired import compare as run

    print(run(a, b).show())


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

    Leaves with 0 whatever is found, unless --fail-on is given.

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


def scales() -> None:
    """List the scales."""
    for path in sorted((PACKAGE / "scales").glob("*.toml")):
        print(f"{path.stem:<10}{load_scale(path.stem).summary}")


VERBS: tuple[Callable[..., None], ...] = (
    reproduce,
    reference,
    distil,
    compare_methods,
    training_clips,
    train,
    train_interpolator,
    sample,
    export,
    evaluate,
    metrics,
    compare,
    lab_teacher,
    lab_experts,
    validate_oracle,
    bench_methods,
    bench_interpolation,
    audit,
    scales,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code: 0, 2 for a user's error, 1 for a fault of the code, 130 when interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        tyro.extras.subcommand_cli_from_dict(
            {verb.__name__.replace("_", "-"): verb for verb in VERBS},
            prog="alice-repro",
            description="Checks the claims of few-step video distillation papers. --debug: show where an error arose.",
            args=words,
        )
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (head, less) has seen enough; nothing is left to be flushed to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            traceback.print_exc()
        elif isinstance(error, UserError):
            print(f"error: {error}", file=sys.stderr)
        else:
            print(
                f"{type(error).__name__}: {error}\nThis is a fault in the code; add --debug to see where.",
                file=sys.stderr,
            )
        return error.exit_code if isinstance(error, UserError) else 1
    return 0


def _scale(name: str, settings: Sequence[str]) -> Scale:
    """The scale with its settings; those of the recipe are checked where a recipe is used."""
    return load_scale(name, split_settings(tuple(settings))[0])


def _seeds(ranges: Sequence[str]) -> list[int]:
    """Seeds of words such as "0-4" and "7"."""
    seeds: list[int] = []
    for word in ranges:
        first, dash, last = word.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise UserError(f"seeds {word!r}: write a number or a range such as 0-4")
        seeds += range(int(first), int(last or first) + 1)
    return sorted(set(seeds))
