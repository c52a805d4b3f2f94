"""Frame-interpolated inference measured (AVD Table 2's "Full+VIF", Section 3.4): quality and cost, with and without."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from alice_repro.config import load_interpolator_recipe, load_recipe, load_scale, split_settings
from alice_repro.reporting.estimates import Measured, difference, rate
from alice_repro.reporting.render import Head, Sheet, estimated, points, write_sheets
from alice_repro.training.interpolator import train_interpolator
from alice_repro.workflow.bench_interpolation import as_table, bench_interpolation
from alice_repro.workflow.distil import distil, recipe_for
from alice_repro.workflow.layout import Layout
from alice_repro.workflow.scoring import score_arm
from alice_repro.workflow.stages import make_training_clips, sample_arm

FULL = "full"
# Name -> steps at half the frame rate, and the places in time that the network is told (`models.half_rate`).
ARMS = {FULL: (0, "compact"), "interpolated": (2, "compact"), "interpolated-kept": (2, "kept")}
MEASURES = {"endpoint": "correct and sound, %", "correct": "correct, %", "sound": "sound, %",
            "dynamic_degree": "dynamic degree, %"}  # fmt: skip
BENCH_PAIRS = 10


def measure_interpolation(
    method: str, scale: str, teacher: str, seed: int, clips: str, settings: Sequence[str] = (), cores: int | None = None
) -> Sheet:
    """Train a student and an interpolator if they are not there, sample and judge with and without it, and time both.

    Writes results/<scale>/avd/interpolation/: table (CSV, Markdown, HTML), the interpolator, videos and scores.

    Raises:
        UserError: what `distil` raises; clips whose latent frames cannot be halved.
    """
    own = load_scale(scale, split_settings(tuple(settings))[0])
    run = distil(method, scale, teacher, seed, clips, settings, cores)
    out = Layout(scale).results / "avd" / "interpolation"
    network = _interpolator(scale, teacher, settings, out)
    scores = {}
    for arm, (short, positions) in ARMS.items():
        videos = out / "videos" / arm
        using = {"interpolator": network, "short_steps": short, "positions": positions} if short else {}
        sample_arm(own, teacher, f"{recipe_for(method, scale)}-seed{seed}", videos, run / "student", seed, **using)
        scores[arm] = score_arm(videos, out / "scores" / f"{arm}.csv", world=True).assign(run=seed)
    steps = load_recipe(recipe_for(method, scale)).stages[-1].target_steps
    cost = bench_interpolation(own, ARMS["interpolated"][0], BENCH_PAIRS, out, network)
    sheet = _sheet(scores, f"{method}, run {seed}, {teacher} teacher, {clips} clips, {steps} steps", as_table(cost))
    write_sheets(out / "quality", [sheet])
    print(sheet.markdown())
    print(f"Tables    {os.path.relpath(out)}/ (quality, interpolation)\nVideos    {os.path.relpath(out / 'videos')}/")
    return sheet


def _interpolator(scale: str, teacher: str, settings: Sequence[str], out: Path) -> Path:
    """Its folder: trained on clean clips, the lab's real ones, if it is not there."""
    network = out / "interpolator"
    if not network.exists():
        clean = [*split_settings(tuple(settings))[0], "data.source=clean", "data.samples_per_caption=16"]
        make_training_clips(load_scale(scale, tuple(clean)), teacher, out / "clips")
        print(train_interpolator(load_interpolator_recipe(), out / "clips", network).table())
    return network


def _sheet(scores: dict[str, pd.DataFrame], student: str, cost: str) -> Sheet:
    rows, data = [], []
    for arm, table in scores.items():
        found = {name: rate(table, name) for name in MEASURES}
        change = None if arm == FULL else difference(table, scores[FULL])
        row = {"arm": arm, "steps": str(ARMS[arm][0]), "change": _change(change)}
        rows.append(row | {name: points(m.estimate.value) if m else "" for name, m in found.items()})
        numbers = {name: m.estimate.value if m else None for name, m in found.items()}
        keys = ("value", "low", "high")
        data.append({"arm": arm, "short_steps": ARMS[arm][0], **numbers}
                    | {f"change_{key}": getattr(change.estimate, key) if change else None for key in keys})  # fmt: skip
    heads = (
        Head("arm", "Arm"),
        Head("steps", "steps at half the rate", number=True),
        *(Head(name, label, number=True) for name, label in MEASURES.items()),
        Head("change", "\N{MINUS SIGN} full, correct and sound", number=True),
    )
    notes = (
        f"Student: {student}. Change in points, paired by caption, 95 % interval over captions; one training run.",
        "The student was trained at the full frame rate only. Places in time: 0 1 2 (interpolated), 0 2 4 (kept).",
        *(f"Cost, interpolated / full: {line}" for line in cost.splitlines()[1:]),
    )
    return Sheet("Frame-interpolated sampling, with and without", heads, tuple(rows), notes, tuple(data))


def _change(change: Measured | None) -> str:
    return "" if change is None else estimated(change.estimate, sign=True)
