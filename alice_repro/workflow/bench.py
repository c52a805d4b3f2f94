"""What an update of each method costs here: each is trained for a few updates, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from alice_repro.config import load_recipe, load_scale
from alice_repro.errors import UserError
from alice_repro.manifest import read_manifest
from alice_repro.workflow.distil import methods_of, recipe_for
from alice_repro.workflow.stages import make_training_clips

LIMIT = 3.0  # seconds an update


def bench_methods(scale: str, teacher: str = "trained", updates: int = 9) -> None:
    """Print seconds, network evaluations and memory of a student update in each method's last stage, and ratios.

    Args:
        updates: of each stage; the first of the last stage is left out, since it warms up.

    Raises:
        UserError: fewer than 2 updates; a training failed.
    """
    if updates < 2:
        raise UserError("a benchmark needs 2 or more updates: the first one warms up")
    rows = {}
    with tempfile.TemporaryDirectory() as temporary:
        clips = Path(temporary) / "clips"
        make_training_clips(load_scale(scale, ("data.source=clean",)), teacher, clips)
        for method in methods_of(scale):
            rows[method] = _measure(scale, teacher, recipe_for(method, scale), clips, Path(temporary) / method, updates)
    least = min(row["seconds"] for row in rows.values())
    print(f"{'method':<12}{'s/update':>9}{'updates/s':>11}{'ratio':>7}{'evaluations':>13}{'peak GB':>9}")
    for method, row in rows.items():
        note = f"  over {LIMIT:g} s" if row["seconds"] > LIMIT else ""
        print(
            f"{method:<12}{row['seconds']:>9.2f}{1 / row['seconds']:>11.2f}{row['seconds'] / least:>7.1f}"
            f"{row['evaluations']:>13.1f}{row['memory']:>9.2f}{note}",
            flush=True,
        )
    print("An update with its share of fake-score updates; evaluations: calls of a network on the batch in an update.")


def _measure(scale: str, teacher: str, recipe: str, clips: Path, output: Path, updates: int) -> dict[str, float]:
    stages = load_recipe(recipe).stages
    command = [sys.executable, "-m", "alice_repro", "train", "--scale", scale, "--recipe", recipe, "--teacher", teacher]
    command += ["--samples", str(clips), "--output", str(output)]
    for number in range(len(stages)):
        command += ["--set", f"recipe.stages.{number}.updates={updates}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{recipe}: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    log = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    last = log[-updates:]
    spent = (last[-1]["evaluations"] - last[0]["evaluations"]) / (updates - 1) / stages[-1].batch
    memory = read_manifest(output)["extra"]["peak_memory_gb"]
    return {"seconds": median(row["seconds"] for row in last[1:]), "evaluations": spent, "memory": memory}
