"""A stand-in for the environment of the official packages: a Python that has fake `torch`, `vbench` ... of our own.

The driver, the subprocess and all files are real; only the packages' computing is replaced by recorded results in the
official layout. They were written by hand after the official code, not recorded from it: its other dimensions need
weights. FAKE_PLAN (JSON, dimension -> behaviour) makes a dimension fail in a chosen way.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from alice_repro.media import write_video

TORCH = """
class device:
    def __init__(self, name): self.name = name
    def __str__(self): return self.name
class cuda:
    @staticmethod
    def is_available(): return False
"""

PACKAGE = """
import json, os, signal, subprocess, sys, time

def save_json(data, path, indent=4):
    raise TypeError("the official save_json cannot write NumPy's numbers")

class Bench:
    def __init__(self, device, full_info_dir, output_path):
        self.device, self.full_info_dir, self.output_path = device, full_info_dir, output_path
        os.makedirs(output_path, exist_ok=True)
    def build_full_info_json(self, *a, **k):
        raise AssertionError("the official listing must not be used")
    def evaluate(self, videos_path, name, dimension_list=None, **kwargs):
        [dimension] = dimension_list
        with open(os.environ["FAKE_CALLS"], "a") as stream:
            stream.write(json.dumps([dimension, sorted(os.listdir(videos_path)), kwargs]) + chr(10))
        how = json.loads(os.environ.get("FAKE_PLAN", "{}")).get(dimension, "")
        if how == "raise":
            raise FileNotFoundError("No such file or directory: raft-things.pth")
        if how == "hang":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            print("child", child.pid, flush=True)
            time.sleep(600)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "silent":
            print("all is well"); return
        if hasattr(self, "preprocess"):
            self.preprocess(videos_path)
        with open(self.build_full_info_json(videos_path, name, dimension_list)) as stream:
            entries = json.load(stream)
        paths = [path for entry in entries for path in entry["video_list"]]
        path = os.path.join(self.output_path, name + "_eval_results.json")
        save_json({dimension: self.recorded(dimension, entries, paths, how)}, path)
    def recorded(self, dimension, entries, paths, how):
        with open(os.environ["FAKE_RECORD"]) as stream:
            template = json.load(stream)[dimension]
        values = template["values"]
        rows = [{"video_path": path, "video_results": values[i % len(values)], **template.get("extra", {})}
                for i, path in enumerate(paths)]
        if how == "nan":
            return [float("nan"), [row | {"video_results": float("nan")} for row in rows]]
        if how == "drop":
            rows = rows[:-1]
        if template.get("per_set"):
            rows = [{"video_path": e["video_list"][0], "video_results": [values[i]]} for i, e in enumerate(entries)]
        if "split_clip" in paths[0]:
            videos = {}
            for row in rows:
                stem = os.path.basename(row["video_path"]).split("_")[0]
                value = row["video_results"]
                value = value[0] if isinstance(value, list) else value
                videos.setdefault(os.path.join(row["video_path"], stem + ".mp4"), []).append(value)
            fused = [{"video_path": key, "video_results": sum(v) / len(v)} for key, v in videos.items()]
            return [template["score"], rows, fused]
        if template.get("types"):
            return [template["score"], template["types"], rows]
        return [template["score"], rows]
"""

MODULES = {
    "vbench": "VBench = Bench",
    "vbench2_beta_i2v": "VBenchI2V = Bench",
    "vbench2": "VBench2 = Bench",
    "vbench2_beta_long": """
class VBenchLong(Bench):
    def preprocess(self, videos_path):
        for name in sorted(os.listdir(videos_path)):
            stem = name[: -len(".mp4")]
            os.makedirs(os.path.join(videos_path, "split_clip", stem))
            for part in range(2):
                open(os.path.join(videos_path, "split_clip", stem, f"{stem}_{part:03d}.mp4"), "w").close()
""",
}

VBENCH_PROMPTS = [
    {"prompt_en": "a still lake", "dimension": ["temporal_flickering"]},
    {"prompt_en": "a red car", "dimension": ["color"], "auxiliary_info": {"color": {"color": "red"}}},
    {"prompt_en": "A person is juggling", "dimension": ["human_action"]},
    {"prompt_en": "a dog runs", "dimension": ["subject_consistency", "motion_smoothness", "imaging_quality"]},
    {"prompt_en": "A dog runs", "dimension": ["subject_consistency"]},
    {"prompt_en": "a still lake", "dimension": ["scene"], "auxiliary_info": {"scene": {"scene": {"scene": "lake"}}}},
]
LONG_PROMPT = "A garden " + "with very many flowers " * 9 + "zoom in."
VBENCH2_PROMPTS = [
    {"prompt_en": "A man walks.", "dimension": ["Human_Anatomy"]},
    {"prompt_en": "A panda grows.", "dimension": ["Diversity"]},
    {"prompt_en": LONG_PROMPT, "dimension": ["Camera_Motion"], "auxiliary_info": "zoom_in"},
]


@pytest.fixture
def official(tmp_path, monkeypatch) -> Path:
    """Path of the stand-in's Python; its calls are in `calls.jsonl` beside."""
    site = tmp_path / "site"
    files = {"torch/__init__.py": TORCH}
    files |= {f"{name}/__init__.py": PACKAGE + text for name, text in MODULES.items()}
    files["vbench/VBench_full_info.json"] = json.dumps(VBENCH_PROMPTS)
    files["vbench2/VBench2_full_info.json"] = json.dumps(VBENCH2_PROMPTS)
    files["vbench-0.1.5.dist-info/METADATA"] = "Metadata-Version: 2.1\nName: vbench\nVersion: 0.1.5\n"
    for name, text in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{site}" exec "{sys.executable}" -S "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("FAKE_RECORD", str(Path(__file__).with_name("recorded.json")))
    monkeypatch.setenv("FAKE_CALLS", str(tmp_path / "calls.jsonl"))
    monkeypatch.setenv("PYTHONPATH", os.getcwd())  # of this test run; may not reach the official package
    return python


@pytest.fixture
def calls(tmp_path):
    """What the official `evaluate` was called with: dimension, names in the folder of videos, arguments."""

    def read() -> list[list]:
        path = tmp_path / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []

    return read


@pytest.fixture
def clip():
    """Write a clip of seeded noise that drifts."""

    def write(path: Path, frames: int = 5, fps: float = 8, seed: int = 0) -> Path:
        base = np.random.default_rng(seed).integers(0, 256, (16, 32, 3), dtype=np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, np.stack([np.roll(base, t, axis=1) for t in range(frames)]), fps)
        return path

    return write
