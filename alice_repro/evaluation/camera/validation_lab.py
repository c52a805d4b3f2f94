"""The camera engine in the lab's world, where the camera is known: flat drawings, so there is no parallax to find."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alice_repro.evaluation.camera.image_motion import image_motion
from alice_repro.evaluation.camera.odometry import camera_trajectory
from alice_repro.evaluation.camera.poses import NoPose
from alice_repro.evaluation.camera.tracks import Tracker
from alice_repro.progress import track
from alice_repro.world.captions import CAMERAS, COLOURS, MOTIONS, Caption
from alice_repro.world.clips import SIZE, draw_scene, make_clip
from alice_repro.world.rendering import camera_path

SEED = 77


def lab_table(clips: int) -> pd.DataFrame:
    """What is found for each kind of camera, over `clips` clean clips with objects and motions in turn.

    Returns:
        a row a camera: how many clips have a reason instead of a path, are said to turn only, are said to translate
        (which would be wrong), how many have a motion of the picture, and the medians of its truth and measurement.
    """
    colours, motions = list(COLOURS), list(MOTIONS)
    rows = []
    for camera in track(list(CAMERAS), "camera in the lab's world"):
        verdicts, pairs = {"reason": 0, "turns": 0, "translates": 0}, []
        for i in range(clips):
            caption = Caption(colours[i % len(colours)], "box", motions[i % len(motions)], "studio", camera)
            clip = make_clip(draw_scene(caption, SEED, i, defect=None))
            tracker = Tracker()
            for frame in clip.frames:
                tracker.see(frame)
            try:
                verdicts["translates" if camera_trajectory(tracker).translates else "turns"] += 1
            except NoPose:
                verdicts["reason"] += 1
            try:
                seen = image_motion(tracker.tracks())
            except NoPose:
                continue
            pairs.append((_truth(camera_path(clip.scene, len(clip.frames))), (seen.shift, seen.zoom, seen.roll)))
        row = {"camera": camera, "clips": clips} | verdicts | {"picture_motion": len(pairs)}
        for k, name in enumerate(("shift", "zoom", "roll_degrees")):
            if pairs:
                true, seen = np.array(pairs)[:, 0, k], np.array(pairs)[:, 1, k]
                row |= {f"{name}_true": np.median(np.abs(true)) if k != 1 else np.median(true)}
                row |= {f"{name}_error": float(np.median(np.abs(seen - true)))}
        rows.append(row)
    return pd.DataFrame(rows)


def _truth(views: np.ndarray) -> tuple[float, float, float]:
    """Shift of the middle (in sides of the picture), zoom and roll (degrees) of affine views (T, 2, 3)."""
    square = np.concatenate([views, np.tile([[[0.0, 0, 1]]], (len(views), 1, 1))], axis=1)
    motion = square @ np.linalg.inv(square[0])
    middle = np.array([SIZE / 2, SIZE / 2, 1.0])
    shift = np.linalg.norm((motion @ middle - middle)[:, :2], axis=1).max() / SIZE
    last = motion[-1]
    zoom = np.sqrt(np.linalg.det(last[:2, :2]))
    return float(shift), float(zoom), float(np.degrees(np.arctan2(last[1, 0], last[0, 0])))
