"""DFD appendix B.3.1 (Eq. 26, after DP-DMD): how far apart the videos of one prompt are in a network's features.

A video is a few evenly spaced frames, each a feature vector (D,). Diversity is the mean over all N (N - 1) / 2 pairs
of a prompt's N videos of 1 - cosine; the number of a method is then its mean over prompts. The paper's text defines
the "Mean" columns (frames are averaged before the cosine is taken) and prints "Per-frame" columns without a
definition; it does not say either whether frames are scaled to length 1 before they are averaged. Both are settings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from alice_repro.errors import UserError, unknown_name

SPACINGS = ("ends", "middle")
PAIRINGS = ("same", "all")


def pair_distances(features: np.ndarray) -> np.ndarray:
    """1 - cosine of every pair of rows of (N, D), each pair once: (N (N - 1) / 2,), from 0 to 2.

    Raises:
        UserError: a row that is zero or not finite has no direction.
    """
    unit = _directions(features)
    first, second = np.triu_indices(len(unit), k=1)
    return 1.0 - np.clip((unit @ unit.T)[first, second], -1.0, 1.0)


def mean_diversity(videos: np.ndarray, unit_frames: bool = False) -> float:
    """Eq. 26 on features averaged over frames.

    Args:
        videos: features (N, K, D) of the K frames of N >= 2 videos.
        unit_frames: scale each frame's features to length 1 before they are averaged.
    """
    frames = _directions(videos) if unit_frames else np.asarray(videos, np.float64)
    return float(pair_distances(frames.mean(axis=1)).mean())


def per_frame_diversity(videos: np.ndarray, pairing: str = "same") -> float:
    """The mean of 1 - cosine over pairs of frames of different videos, (N, K, D) with N >= 2.

    Args:
        pairing: "same": frame k of one video with frame k of the other; "all": with every frame of the other.

    Raises:
        UserError: unknown ``pairing``; a frame's features are zero or not finite.
    """
    if pairing not in PAIRINGS:
        raise unknown_name("pairing", pairing, PAIRINGS)
    if pairing == "same":
        return float(np.mean([pair_distances(frame) for frame in np.moveaxis(np.asarray(videos), 1, 0)]))
    unit = _directions(videos)
    # The mean cosine of all pairs of frames of two videos is the product of their mean directions.
    centres = unit.mean(axis=1)
    first, second = np.triu_indices(len(centres), k=1)
    return float(1.0 - (centres @ centres.T)[first, second].mean())


class SpacedFrames:
    """Evenly spaced frames of a video whose length is not known beforehand, in bounded memory.

    Keeps every frame, as ``prepare`` leaves it, until there are more than ``room``; then every second, every fourth
    and so on. The frames picked are exactly those asked for if the video has at most ``room`` frames, and otherwise
    less than two ``room``-ths of its length away.
    """

    def __init__(self, prepare: Callable[[np.ndarray], np.ndarray], room: int = 128) -> None:
        self.prepare, self.room = prepare, room
        self.kept: list[np.ndarray] = []
        self.stride, self.seen = 1, 0

    def see(self, frame: np.ndarray) -> None:
        """Take the next frame."""
        if self.seen % self.stride == 0:
            self.kept.append(self.prepare(frame))
            if len(self.kept) > self.room:
                self.kept, self.stride = self.kept[::2], 2 * self.stride
        self.seen += 1

    def pick(self, count: int, spacing: str = "ends") -> list[np.ndarray]:
        """``count`` of the frames seen, in order; a video with fewer frames shows some more than once."""
        nearest = np.floor(frame_positions(self.seen, count, spacing) / self.stride + 0.5).astype(int)
        return [self.kept[min(i, len(self.kept) - 1)] for i in nearest]


def frame_positions(length: int, count: int, spacing: str) -> np.ndarray:
    """Places (count,) of evenly spaced frames among ``length``, as fractions of frames.

    Args:
        spacing: "ends": the first and the last frame are among them; "middle": the middles of equal parts.

    Raises:
        UserError: unknown ``spacing``.
    """
    if spacing not in SPACINGS:
        raise unknown_name("spacing", spacing, SPACINGS)
    if spacing == "ends":
        return np.linspace(0.0, length - 1.0, count)
    return np.clip((np.arange(count) + 0.5) * length / count - 0.5, 0.0, length - 1.0)


def stack_videos(features: Sequence[np.ndarray]) -> np.ndarray:
    """Features of each video, (K, D), as one array (N, K, D).

    Raises:
        UserError: videos whose features were made with different settings.
    """
    shapes = {array.shape for array in features}
    if len(shapes) > 1:
        found = " and ".join(str(shape) for shape in sorted(shapes))
        raise UserError(f"features of shapes {found} in one prompt: score all its videos with the same settings")
    return np.stack([np.asarray(array, np.float64) for array in features])


def _directions(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, np.float64)
    length = np.linalg.norm(features, axis=-1, keepdims=True)
    if not (np.isfinite(length).all() and (length > 0).all()):
        raise UserError("some features are zero or not finite, so they have no direction: check the weights")
    return features / length
