"""What the official functions of vbench 0.1.5 give with stub networks: python dimensions.py OUT.json CLIP.mp4 ...

Runs in the official environment. See README.md.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from stub_networks import Features, Flow, Head, Interpolator, Quality, weights
from vbench import (
    aesthetic_quality,
    background_consistency,
    dynamic_degree,
    imaging_quality,
    motion_smoothness,
    subject_consistency,
    temporal_flickering,
)
from vbench.utils import load_video
from vbench2_beta_i2v import i2v_subject
from vbench2_beta_i2v.utils import dreamsim_transform, dreamsim_transform_Image

CPU = torch.device("cpu")


class Clip(Features):
    """As openai-clip's models are called."""

    def encode_image(self, images):
        return self(images)


def official_motion():
    motion = motion_smoothness.MotionSmoothness.__new__(motion_smoothness.MotionSmoothness)
    motion.device, motion.niters, stub = CPU, 1, Interpolator()
    motion.initialization()
    motion.model = lambda one, other, time, scale_factor, eval: {"imgt_pred": stub(one, other)}
    return motion


def official_dynamic(flows: list):
    """Its flows, pixels for each pair, are put into a list beside."""
    dynamic = dynamic_degree.DynamicDegree.__new__(dynamic_degree.DynamicDegree)
    dynamic.device, stub = CPU, Flow()
    dynamic.model = lambda one, other, iters, test_mode: (None, stub(one, other))

    def check_move(scores):
        flows.append(scores)
        return dynamic_degree.DynamicDegree.check_move(dynamic, scores)

    dynamic.check_move = check_move
    return dynamic


def imaging(clips, mode):
    return imaging_quality.technical_quality(Quality(), clips, CPU, imaging_quality_preprocessing_mode=mode)


def similarity(clips):
    """i2v_background's function needs dreamsim to be imported; its loop is i2v_subject's with other transforms."""
    pairs = [(clip.removesuffix(".mp4") + ".png", clip) for clip in clips]
    i2v_subject.dino_transform_Image_internet = lambda: dreamsim_transform_Image(224)
    i2v_subject.dino_transform_internet = lambda: dreamsim_transform(224)
    return i2v_subject.i2v_subject(Features("dreamsim"), pairs, CPU)


def run(clips: list[str]) -> dict:
    """Dimension -> aggregate, and value of each video."""
    with_image = [clip for clip in clips if Path(clip).with_suffix(".png").exists()]
    three = [clip for clip in clips if len(load_video(clip)) > 2]  # fewer: an assertion fails in the official code
    flows: list = []
    results = {
        "subject_consistency": subject_consistency.subject_consistency(Features("dino"), clips, CPU, False),
        "background_consistency": background_consistency.background_consistency(Clip("b32"), None, clips, CPU, False),
        "temporal_flickering": temporal_flickering.temporal_flickering(clips),
        "motion_smoothness": motion_smoothness.motion_smoothness(official_motion(), three),
        "dynamic_degree": dynamic_degree.dynamic_degree(official_dynamic(flows), clips),
        "aesthetic_quality": aesthetic_quality.laion_aesthetic(Head(), Clip("l14"), clips, CPU),
    }
    results |= {f"imaging_quality {mode}": imaging(clips, mode) for mode in ("longer", "shorter", "shorter_centercrop")}
    results["imaging_quality None"] = imaging(clips, "None")
    if with_image:
        pairs = [(clip.removesuffix(".mp4") + ".png", clip) for clip in with_image]
        results["i2v_subject"] = i2v_subject.i2v_subject(Features("dino"), pairs, CPU)
        results["i2v_background"] = similarity(with_image)
    return {
        name: {
            "folder": float(folder),
            "videos": {Path(row["video_path"]).stem: float(row["video_results"]) for row in videos},
        }
        for name, (folder, videos) in results.items()
    } | {"flow": {Path(clip).stem: scores for clip, scores in zip(clips, flows, strict=True)}}


def frames(clip: str) -> dict:
    """What both of the official decoders read, so that a difference of decoders is not taken for one of measures."""
    video, read = cv2.VideoCapture(clip), []
    while (got := video.read())[0]:
        read.append(got[1][..., ::-1])
    same = np.array_equal(np.stack(read), load_video(clip).permute(0, 2, 3, 1).numpy())
    return {"frames": len(read), "mean": float(np.mean(read)), "decoders_agree": bool(same)}


def camera() -> list:
    """Classes that the official code gives to random tracks; i is the number of the draw."""
    source = Path(i2v_subject.__file__).with_name("camera_motion.py").read_text()
    source = "".join(line for line in source.splitlines(True) if "Visualizer\n" not in line)  # the wheel lacks it
    module: dict = {}
    exec(source, module)
    found = []
    for i in range(60):
        first, moved = (weights(f"tracks {part} {i}", 100, 2).numpy() for part in ("first", "moved"))
        predict = module["CameraPredict"].__new__(module["CameraPredict"])
        predict.grid_size, predict.number_points, predict.scale = 10, 1, 240
        tracks = np.stack([first * 80 + 120, first * 80 + 120 + moved * 2 * (i % 3)])
        predict.infer = lambda path, tracks=tracks: torch.from_numpy(tracks).long().numpy()
        found.append(sorted(predict.predict("")))
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    out, clips = Path(sys.argv[1]), sys.argv[2:]
    with torch.no_grad():
        results = run(clips)
    results = {"clips": {Path(clip).stem: frames(clip) for clip in clips}} | results | {"camera_motion": camera()}
    out.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n")
