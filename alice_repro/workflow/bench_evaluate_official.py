"""The official package's side of `bench_evaluate`: vbench 0.1.5 with networks of random weights.

Runs in the official environment, where this project is not installed: python FILE weights THREADS FOLDER, which makes
the weights' files as they are published; or python FILE measure THREADS FOLDER OUT.json CLIP ...
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import time
from argparse import Namespace
from functools import partial
from pathlib import Path

import cv2
import torch
import vbench.utils
from clip.model import VisionTransformer
from pyiqa.archs.musiq_arch import MUSIQ
from vbench import (
    aesthetic_quality,
    background_consistency,
    dynamic_degree,
    imaging_quality,
    motion_smoothness,
    subject_consistency,
    temporal_flickering,
)
from vbench.third_party.RAFT.core.raft import RAFT

CPU = torch.device("cpu")


def dino() -> torch.nn.Module:
    """DINO's own class, of which dreamsim carries a copy (torch.hub, where VBench takes it from, is no package)."""
    folder = Path(importlib.util.find_spec("dreamsim").submodule_search_locations[0]) / "feature_extraction"
    spec = importlib.util.spec_from_file_location("dino", folder / "vision_transformer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    norm = partial(torch.nn.LayerNorm, eps=1e-6)
    return module.VisionTransformer(
        patch_size=16, embed_dim=768, depth=12, num_heads=12, qkv_bias=True, norm_layer=norm
    )


def amt() -> torch.nn.Module:
    """With the sizes of amt/cfgs/AMT-S.yaml."""
    return importlib.import_module("vbench.third_party.amt.networks.AMT-S").Model(3, 4, 3)


# Usual name of the file -> how the network is built, how its state dict is stored.
NETWORKS = {
    "dino_vitbase16_pretrain.pth": (dino, lambda state: state),
    "ViT-B-32.pt": (partial(VisionTransformer, 224, 32, 768, 12, 12, 512), lambda state: _under("visual.", state)),
    "ViT-L-14.pt": (partial(VisionTransformer, 224, 14, 1024, 24, 16, 768), lambda state: _under("visual.", state)),
    "sa_0_4_vit_l_14_linear.pth": (partial(torch.nn.Linear, 768, 1), lambda state: state),
    "musiq_spaq_ckpt-358bb6af.pth": (partial(MUSIQ, pretrained=False), lambda state: state),
    "amt-s.pth": (amt, lambda state: {"state_dict": state}),
    "raft-things.pth": (
        lambda: RAFT(Namespace(small=False, mixed_precision=False, alternate_corr=False)),
        lambda state: _under("module.", state),
    ),
}


def _under(prefix: str, state: dict) -> dict:
    return {prefix + name: value for name, value in state.items()}


def make_weights(folder: Path) -> None:
    """Files of random weights, in the layouts and under the names of the published ones."""
    torch.manual_seed(0)
    for name, (build, layout) in NETWORKS.items():
        torch.save(layout(build().state_dict()), folder / name)


def load(folder: Path, name: str) -> torch.nn.Module:
    """A network from a file of `make_weights`."""
    build, layout = NETWORKS[name]
    network, stored = build(), torch.load(folder / name, weights_only=True)
    state = stored.get("state_dict", stored)
    for prefix in ("visual.", "module."):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    network.load_state_dict(state)
    return network.eval()


def dimensions(folder: Path) -> dict:
    """Dimension -> the official function of a list of clips."""

    def clip(name):
        network = load(folder, name)
        network.encode_image = network.forward
        return network

    motion = motion_smoothness.MotionSmoothness.__new__(motion_smoothness.MotionSmoothness)
    motion.device, motion.niters, motion.model = CPU, 1, load(folder, "amt-s.pth")
    motion.initialization()
    dynamic = dynamic_degree.DynamicDegree.__new__(dynamic_degree.DynamicDegree)
    dynamic.device, dynamic.model = CPU, load(folder, "raft-things.pth")
    dino, small, large = load(folder, "dino_vitbase16_pretrain.pth"), clip("ViT-B-32.pt"), clip("ViT-L-14.pt")
    head, musiq = load(folder, "sa_0_4_vit_l_14_linear.pth"), load(folder, "musiq_spaq_ckpt-358bb6af.pth")
    return {
        "subject_consistency": lambda clips: subject_consistency.subject_consistency(dino, clips, CPU, False),
        "background_consistency": lambda clips: background_consistency.background_consistency(
            small, None, clips, CPU, False
        ),
        "temporal_flickering": temporal_flickering.temporal_flickering,
        "motion_smoothness": lambda clips: motion_smoothness.motion_smoothness(motion, clips),
        "dynamic_degree": lambda clips: dynamic_degree.dynamic_degree(dynamic, clips),
        "aesthetic_quality": lambda clips: aesthetic_quality.laion_aesthetic(head, large, clips, CPU),
        "imaging_quality": lambda clips: imaging_quality.technical_quality(musiq, clips, CPU),
    }


def count_decodes() -> list:
    """A list that grows by one whenever the package opens a video."""
    opened: list = []

    def counted(opener):
        def open_video(path, *args, **options):
            opened.append(path)
            return opener(path, *args, **options)

        return open_video

    vbench.utils.VideoReader = counted(vbench.utils.VideoReader)
    cv2.VideoCapture = counted(cv2.VideoCapture)
    return opened


def memory(most: bool) -> int:
    """Bytes of this process in memory now, or the most since `forget_peak` (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM" if most else "VmRSS"))


def forget_peak() -> None:
    """Loading networks takes more than keeping them: it is not to count."""
    Path("/proc/self/clear_refs").write_text("5")


def main(folder: Path, out: Path, clips: list[str]) -> None:
    functions, opened, rows = dimensions(folder), count_decodes(), {}
    forget_peak()
    before = memory(most=False)
    with torch.no_grad():  # the package itself leaves it out in two dimensions, and takes more memory for it
        for name, function in functions.items():
            count, wall, busy = len(opened), time.perf_counter(), time.process_time()
            _, videos = function(clips)
            rows[name] = {
                "seconds": time.perf_counter() - wall,
                "cpu_seconds": time.process_time() - busy,
                "decodes": len(opened) - count,
                "values": [float(row["video_results"]) / (100 if name == "imaging_quality" else 1) for row in videos],
            }
    out.write_text(json.dumps({"rows": rows, "memory": memory(most=True) - before}))


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))
    if sys.argv[1] == "weights":
        make_weights(Path(sys.argv[3]))
    else:
        main(Path(sys.argv[3]), Path(sys.argv[4]), sys.argv[5:])
