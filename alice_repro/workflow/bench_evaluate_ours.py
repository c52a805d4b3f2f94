"""Our side of `bench_evaluate`, a process of its own: python FILE measure THREADS FOLDER OUT.json CLIP ..."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from alice_repro.evaluation.metric import Clip, Metric, Tools
from alice_repro.evaluation.networks import NetworkMetric, read_network
from alice_repro.evaluation.registry import build_metrics
from alice_repro.evaluation.weights import Weights
from alice_repro.media import iter_frames


def measure(metrics: Sequence[Metric], clips: Sequence[Clip]) -> tuple[list[dict[str, float | str]], int]:
    """Values of each clip, and how often a video was decoded: once for all metrics."""
    rows, decodes = [], 0
    for clip in clips:
        watchers = [metric.watch(clip) for metric in metrics]
        decodes += 1
        for frame in iter_frames(clip.path):
            for watcher in watchers:
                watcher.see(frame)
        rows.append({name: value for watcher in watchers for name, value in watcher.result().values.items()})
    return rows, decodes


def clip_of(path: Path) -> Clip:
    """What metrics are told of a video."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return Clip(path.name, path, None, float(stream.average_rate or 0), stream.height, stream.width)


def memory(most: bool) -> int:
    """Bytes of this process in memory now, or the most since `forget_peak` (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM" if most else "VmRSS"))


def forget_peak() -> None:
    """Loading networks takes more than keeping them: it is not to count."""
    Path("/proc/self/clear_refs").write_text("5")


def main(folder: Path, out: Path, paths: Sequence[str]) -> None:
    clips = [clip_of(Path(path)) for path in paths]
    weights, metrics = Weights(folder), build_metrics(["vbench-custom"], Tools())
    for metric in metrics:
        if isinstance(metric, NetworkMetric):  # `metric.load` would refuse files that are not the published ones
            metric.networks = {name: read_network(name, weights.place(name)) for name in metric.weights}
    forget_peak()
    before = memory(most=False)
    rows = {}
    for name, chosen in [("all seven", metrics), *((metric.name, [metric]) for metric in metrics)]:
        wall, busy = time.perf_counter(), time.process_time()
        values, decodes = measure(chosen, clips)
        rows[name] = {
            "seconds": time.perf_counter() - wall,
            "cpu_seconds": time.process_time() - busy,
            "decodes": decodes,
            "values": [row[name] for row in values] if len(chosen) == 1 else [],
        }
    out.write_text(json.dumps({"rows": rows, "memory": memory(most=True) - before}))


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))
    main(Path(sys.argv[3]), Path(sys.argv[4]), sys.argv[5:])
