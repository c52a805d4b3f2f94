"""How the picture as a whole moves, without a scene behind it: shift, zoom and roll, by a similarity between frames.

For clips in which a pose means nothing (drawings, flat scenes), and to check one where it does.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from alice_repro.evaluation.camera.poses import NoPose
from alice_repro.evaluation.camera.tracks import Tracks, shared_places

_FEWEST = 6


@dataclass(frozen=True)
class ImageMotion:
    """From the first frame to the last.

    Attributes:
        shift: farthest that the middle of the picture gets from its place, in longer sides of the picture.
        zoom: size at the end over size at the start; above 1 the picture grows.
        roll: degrees, clockwise on the screen positive.
    """

    shift: float
    zoom: float
    roll: float


def image_motion(tracks: Tracks) -> ImageMotion:
    """Similarities between successive frames, fitted by RANSAC, one after the other.

    Raises:
        NoPose: two successive frames share too few points.
    """
    whole, middles = np.eye(3), [np.zeros(2)]
    for frame in range(1, tracks.frames):
        here, there = shared_places(tracks, frame - 1, frame)
        cv2.setRNGSeed(0)
        step = cv2.estimateAffinePartial2D(here, there, ransacReprojThreshold=1.0)[0] if len(here) >= _FEWEST else None
        if step is None:
            raise NoPose(f"frames {frame - 1} and {frame} share {len(here)} points, too few to tell how they move")
        whole = np.vstack([step, [0, 0, 1]]) @ whole
        middles.append(whole[:2, 2])
    shift = np.linalg.norm(middles, axis=1).max() / max(tracks.size)
    zoom = np.sqrt(np.linalg.det(whole[:2, :2]))
    return ImageMotion(float(shift), float(zoom), float(np.degrees(np.arctan2(whole[1, 0], whole[0, 0]))))
