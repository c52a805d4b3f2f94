"""Driving Snakemake: what is asked for is checked, then built, then shown with the places where everything lies."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO

from alice_repro.config import load_recipe, load_scale, split_settings
from alice_repro.data.prompts import SPLITS, prompts_for
from alice_repro.distill.registry import build_method
from alice_repro.errors import UserError, unknown_name
from alice_repro.files import write_json
from alice_repro.models.source import locate
from alice_repro.progress import duration, log
from alice_repro.verdicts import TEACHERS
from alice_repro.workflow.graph import NOTEBOOKS, Graph
from alice_repro.workflow.layout import CHECKOUT, Layout, parse_arm
from alice_repro.workflow.narrate import Narrator
from alice_repro.workflow.step import FAILURES
from alice_repro.workflow.targets import TARGETS

SNAKEFILE = Path(__file__).with_name("Snakefile")
STEP = (sys.executable, "-m", "alice_repro.workflow.step")
_PATH_SETTINGS = ("model.source", "prompts.source")


class StepError(UserError):
    """A step of the workflow failed; the exit code is the step's."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def reproduce(
    paper: str, what: str, scale: str, settings: Sequence[str] = (), cores: int | None = None, root: Path = CHECKOUT
) -> None:
    """Build a table or figure with all that it needs, and print it, the verdict, and where everything lies.

    Raises:
        UserError: an unknown paper, target, scale or setting, or weights that are not here (before any work);
            a step that failed.
    """
    began = time.monotonic()
    if paper not in TARGETS:
        raise unknown_name("paper", paper, TARGETS)
    if what not in TARGETS[paper]:
        raise unknown_name(f"part of {paper}", what, TARGETS[paper])
    graph = plan(scale, settings, root=root)
    print(f"{paper} {what} at scale {scale}: {graph.scale.summary}", flush=True)
    steps = build(graph, [TARGETS[paper][what]], cores)
    if not steps:
        print("nothing to do: everything is up to date")
    _show(graph.layout, paper)
    print(f"\n{steps} steps in {duration(time.monotonic() - began)}")


def plan(
    scale: str,
    settings: Sequence[str] = (),
    *,
    variants: Mapping[str, Sequence[str]] | None = None,
    teachers: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    folder: str = "",
    root: Path = CHECKOUT,
) -> Graph:
    """Check everything that can be checked before any work, and return the graph.

    Args:
        variants: what is trained, by name, as settings beside the given ones; the scale's own recipe if not given.
        teachers: instead of those of the scale.
        folder: instead of the scale's name, below ``results``.

    Raises:
        UserError: unknown scale, recipe, setting or teacher; weights, prompts or notebooks that are not here.
    """
    settings = tuple(_absolute(setting) for setting in settings)
    of_scale, of_recipe = split_settings(settings)
    preset = load_scale(scale, of_scale)
    variants = dict(variants) if variants else {load_recipe(preset.recipe, of_recipe).name: ()}
    teachers = tuple(teachers or preset.protocol.teachers)
    for teacher in teachers:
        if teacher not in TEACHERS:
            raise unknown_name("teacher", teacher, TEACHERS)
    if min(seeds) < 0:
        raise UserError(f"seed {min(seeds)}: the seed of a run is 0 or more")
    locate(preset.model)
    for split in SPLITS:
        prompts_for(preset.prompts, split)
    if not NOTEBOOKS.is_dir():
        raise UserError(f"{NOTEBOOKS} does not exist: reproducing needs a checkout, installed with `make setup`")
    layout = Layout(folder or scale, root)
    graph = Graph(
        scale_name=scale,
        settings=settings,
        variants={name: tuple(more) for name, more in variants.items()},
        teachers=teachers,
        seeds=tuple(seeds),
        folder=layout.folder,
        root=root,
        reference=root / "results" / "reference",
        file=layout.results / ".workflow" / "graph.json",
        program=STEP,
    )
    for variant in graph.variants:
        resolved, recipe = graph.resolve(variant)
        method, steps = build_method(recipe, resolved.sampling.student_shift), resolved.sampling.student_steps
        if method.sampler != "teacher" and recipe.stages[-1].target_steps != steps:
            log(f"{variant} is trained for {recipe.stages[-1].target_steps} steps and sampled in {steps}")
    return graph


def ensure(folder: str | Path, scale: str, settings: Sequence[str], file: str = "manifest.json") -> Path:
    """Return a folder of results; a person's notebook lets the workflow build it if it is missing.

    Args:
        file: the file in it that tells that it is whole.

    Raises:
        UserError: it is missing, and this notebook runs inside the workflow, which should have made it, or it is
            not one of the folders that the workflow makes.
    """
    folder = Path(folder)
    if (folder / file).exists():
        return folder
    if os.environ.get("ALICE_REPRO_HEADLESS") == "1" or not folder.is_relative_to(Layout(scale).results):
        hint = f"alice-repro reproduce alice table04 --scale {scale}"
        raise UserError(f"{folder / file} does not exist; the results of a scale are made with  {hint}")
    graph = plan(scale, settings)
    build(graph, [graph.relative(folder / file)])
    return folder


def ensure_student(
    given: str, scale: str, settings: Sequence[str], teacher: str, arm: str
) -> tuple[Path | None, int | None]:
    """The transformer folder and the run of a student's arm, both None for the teacher; see `ensure`.

    Args:
        given: the folder, or "" for the one that the workflow makes.
    """
    student = parse_arm(arm)
    if student is None:
        return None, None
    if given:
        return Path(given), student.seed
    layout = Layout(scale)
    ensure(layout.run(teacher, student.recipe, student.seed), scale, settings)
    return layout.student(teacher, arm), student.seed


def build(graph: Graph, targets: Sequence[str], cores: int | None = None, *, comparison: bool = False) -> int:
    """Let Snakemake build rules or files (relative to the results), telling each step and why; returns the steps done.

    Args:
        comparison: the targets are independent of each other, and each is made anew: if a step fails, what does not
            follow from it goes on.

    Raises:
        UserError: another build is at work in the same folder.
        StepError: a step failed.
    """
    results = graph.layout.results
    graph.file.parent.mkdir(parents=True, exist_ok=True)
    with _only_build(graph) as lock:
        failures = graph.file.with_name(FAILURES)
        failures.unlink(missing_ok=True)
        write_json(graph.file, asdict(graph))
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--directory", str(results)]
        command += ["--configfile", str(graph.file), "--cores", str(cores or _cores()), "--nocolor"]
        # A killed Snakemake leaves its own lock behind; ours ends with the last process that holds it.
        command += ["--nolock", "--rerun-incomplete", "--rerun-triggers", "params", "input", "mtime"]
        command += [*(("--force", "--keep-going") if comparison else ()), "--", *targets]
        narrator = Narrator()
        code = _run(command, narrator, lock.fileno())
        if code:
            raise _failure(failures, narrator, results)
    return 0 if narrator.nothing else narrator.started


def _run(command: list[str], narrator: Narrator, lock: int) -> int:
    """Run Snakemake: what its jobs print is passed on, indented; its own messages go through the narrator."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        pass_fds=(lock,),
        start_new_session=True,  # so that an interrupt reaches it once, from here
    )
    with process, _interrupted_by_signals():
        jobs = threading.Thread(target=_pass_on, args=(process.stdout,), daemon=True)
        jobs.start()
        try:
            for line in process.stderr:
                if told := narrator.tell(line):
                    print(told, flush=True)
            jobs.join()
            return process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGINT)
            process.wait()
            raise


def _pass_on(stream: IO[str]) -> None:
    for line in stream:
        if line.strip():
            print(f"    {line.rstrip()}", flush=True)


@contextmanager
def _only_build(graph: Graph) -> Iterator[IO[str]]:
    """Hold the lock of the results folder, free again when this process and Snakemake have ended, however they do."""
    with graph.file.with_name("lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            folder = graph.layout.results
            raise UserError(f"another reproduction is at work in {folder}: wait until it has ended") from error
        yield lock


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Treat the loss of the terminal and a polite kill as Ctrl-C, so that the steps end too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _failure(failures: Path, narrator: Narrator, results: Path) -> StepError:
    rows = [json.loads(line) for line in failures.read_text().splitlines()] if failures.exists() else []
    if not rows:
        said = "\n".join(narrator.last)
        return StepError(f"the workflow stopped; Snakemake's log is in {results / '.snakemake' / 'log'}:\n{said}", 1)
    again = "Run the same command again to go on from here."
    told = "\n".join(f"step '{row['step']}' failed: {row['message']}" for row in rows)
    return StepError(f"{told}\n{again}", max(row["exit_code"] for row in rows) if len(rows) == 1 else 1)


def _show(layout: Layout, paper: str) -> None:
    from alice_repro.reporting.main_results import summary_lines

    first, *_ = (layout.results / paper / "table04.md").read_text().split("\n\n**")  # the others are in the file
    print(f"\n{first.strip()}\n")
    print("\n".join(summary_lines(layout.results)) + "\n")
    results, figures = (os.path.relpath(path) for path in (layout.results, layout.figures))
    places = {
        "Table 4": f"{results}/{paper}/table04.csv, .md, .html",
        "Figure 1": f"{figures}/{paper}/figure01.svg, .png, .html",
        "Report": f"{results}/report.html",
        "Notebooks": f"{results}/notebooks/ (as executed)",
        "Videos": f"{results}/videos/ (mp4; a contact sheet an arm)",
        "Scores": f"{results}/scores/ (a row a video)",
        "Manifests": "manifest.json beside each of these",
    }
    for name, place in places.items():
        print(f"{name:<10}{place}")


def _absolute(setting: str) -> str:
    """A setting that names an existing file or folder, with its whole path: steps run in another folder."""
    key, _, value = setting.partition("=")
    return f"{key}={Path(value).resolve()}" if key in _PATH_SETTINGS and Path(value).exists() else setting


def _cores() -> int:
    return len(os.sched_getaffinity(0))
