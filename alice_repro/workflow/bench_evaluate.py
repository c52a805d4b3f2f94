"""Our seven quality dimensions against the official package's: same clips, weights, machine and threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from alice_repro.errors import UserError
from alice_repro.evaluation.camera.scenes import build_scene, camera_path, render_scene
from alice_repro.media import write_video

OFFICIAL = Path(__file__).with_name("bench_evaluate_official.py")
OURS = Path(__file__).with_name("bench_evaluate_ours.py")
TOGETHER = "all seven"
AIM = 0.5  # of the official wall time


@contextmanager
def with_clips(clips: Sequence[Path]) -> Iterator[Sequence[Path]]:
    """These clips, or two rendered ones that last as long as the block: 240 x 320 and 320 x 176, 17 frames."""
    if clips:
        yield clips
        return
    with tempfile.TemporaryDirectory() as temporary:
        made = []
        for seed, (height, width) in enumerate(((240, 320), (176, 320))):
            path = Path(temporary) / f"{seed}.mp4"
            poses = camera_path("orbit", 17, 20.0)
            rendered = render_scene(build_scene(seed=seed), poses, height, width, focal=0.9 * width)
            write_video(path, rendered.frames, 8)
            made.append(path)
        yield made


def bench_evaluate(clips: Sequence[Path], official: Path, rounds: int = 3, threads: int = 2) -> dict[str, Any]:
    """Print and return seconds, decodes and memory of both sides, by dimension and for the seven together.

    Both load the same files of random weights: what a network says costs the same, and scores can be compared. The two
    sides take turns, so that other work on the machine hits both; the median of the rounds counts.

    Args:
        clips: .mp4 files of three frames or more, sides of 128 pixels or more.
        official: the python of an environment with vbench 0.1.5, pyiqa 0.1.10 and dreamsim 0.2.1.

    Raises:
        UserError: a file is missing, or a side failed.
    """
    for path in (official, *clips):
        if not path.is_file():
            raise UserError(f"{path}: no such file")
    names = [str(clip.resolve()) for clip in clips]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _run([official, OFFICIAL, "weights", threads, folder], threads)
        found: dict[str, list[dict[str, Any]]] = {"official": [], "ours": []}
        for _ in range(rounds):
            for side, command in (("official", [official, OFFICIAL]), ("ours", [sys.executable, OURS])):
                out = folder / "out.json"
                _run([*command, "measure", threads, folder, out, *names], threads)
                found[side].append(json.loads(out.read_text()))
    table = {side: _medians(results) for side, results in found.items()}
    print(_report(table, len(clips), rounds, threads), flush=True)
    return table


def _medians(results: list[dict[str, Any]]) -> dict[str, Any]:
    rows = {
        name: {
            key: median(result["rows"][name][key] for result in results)
            for key in ("seconds", "cpu_seconds", "decodes")
        }
        | {"values": row["values"]}
        for name, row in results[0]["rows"].items()
    }
    if TOGETHER not in rows:  # the official package runs one dimension after the other
        totals = {key: sum(row[key] for row in rows.values()) for key in ("seconds", "cpu_seconds", "decodes")}
        rows[TOGETHER] = totals | {"values": []}
    return {"rows": rows, "memory": median(result["memory"] for result in results)}


def _report(table: dict[str, Any], clips: int, rounds: int, threads: int) -> str:
    official, ours = table["official"]["rows"], table["ours"]["rows"]
    lines = [f"{clips} clips, {threads} threads, median of {rounds} rounds in turns; official / ours"]
    lines += [f"{'dimension':<24}{'wall s':>17}{'ratio':>7}{'CPU s':>17}{'ratio':>7}{'decodes':>9}{'difference':>12}"]
    for name, row in official.items():
        mine = ours[name]
        far = max((abs(a - b) for a, b in zip(row["values"], mine["values"], strict=False)), default=None)
        lines.append(
            f"{name:<24}{row['seconds']:>8.1f} /{mine['seconds']:>7.1f}{mine['seconds'] / row['seconds']:>7.2f}"
            f"{row['cpu_seconds']:>8.1f} /{mine['cpu_seconds']:>7.1f}{mine['cpu_seconds'] / row['cpu_seconds']:>7.2f}"
            f"{row['decodes']:>5.0f} /{mine['decodes']:>2.0f}" + (f"{far:>12.1e}" if far is not None else "")
        )
    memory = [table[side]["memory"] / 2**30 for side in ("official", "ours")]
    lines.append(f"memory above the loaded networks: {memory[0]:.2f} / {memory[1]:.2f} GiB")
    lines.append(f"ratio: ours to official, aim {AIM:g} of the wall time for all seven; difference: largest of a score")
    return "\n".join(lines)


def _run(command: list[Any], threads: int) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
        raise UserError(f"{Path(command[0])} {Path(command[1]).name} failed: {last[0]}")
