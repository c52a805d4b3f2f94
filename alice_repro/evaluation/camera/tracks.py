"""Points followed through a clip (KLT), frame by frame: what is kept is tracks and one small grey frame.

A track is dropped where following it back does not lead home; new points are sought where there is room. Small errors
add up from frame to frame, so each place is settled by following the point once more, from the frame in which it was
found (its anchor; a few such frames are kept). A frame that almost no track survives, and that looks unlike the one
before, is a cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from alice_repro.evaluation.camera.gates import GATES
from alice_repro.evaluation.camera.poses import NoPose

_THUMBNAIL = (32, 32)
_ANCHORS = 8  # frames kept, at most
_NO_ANCHOR = -1
_REFILL = 0.85  # new points are sought when fewer than this share of those after the last search are left


@dataclass(frozen=True)
class Tracks:
    """Observations of points, in pixels of the working picture, from its centre, x right and y down.

    Attributes:
        frame, point: (M,) indices; a point is seen at most once in a frame.
        place: (M, 2).
        frames: of the clip.
        size: of the working picture, (height, width).
        shrink: working pixels per pixel of the clip.
    """

    frame: np.ndarray
    point: np.ndarray
    place: np.ndarray
    frames: int
    size: tuple[int, int]
    shrink: float

    def select(self, keep: np.ndarray) -> Tracks:
        """Only the observations where `keep` (M,) is true."""
        return Tracks(self.frame[keep], self.point[keep], self.place[keep], self.frames, self.size, self.shrink)

    def numbered(self) -> Tracks:
        """The same with points numbered 0, 1, 2 ... without gaps."""
        _, point = np.unique(self.point, return_inverse=True)
        return Tracks(self.frame, point, self.place, self.frames, self.size, self.shrink)


class Tracker:
    """Follows points through the frames that it is given.

    Attributes:
        broken: index of the first frame to which (almost) no point could be followed; None if there is none.
        cut: whether the picture there is another one, as after a cut, and not only a fast one.
        textured: most points that were followed at any time.
    """

    def __init__(self) -> None:
        self.broken: int | None = None
        self.cut = False
        self.textured = 0
        self._grey: np.ndarray | None = None
        self._thumbnail: np.ndarray | None = None
        self._shrink = 1.0
        self._ids = np.empty(0, np.int64)
        self._places = np.empty((0, 2), np.float32)
        self._anchors: dict[int, np.ndarray] = {}
        self._anchor = np.empty(0, np.int64)  # of each point, the frame it was found in
        self._found = np.empty((0, 2), np.float32)  # and where
        self._after_refill = 0
        self._next = 0
        self._seen: list[tuple[np.ndarray, np.ndarray]] = []

    def see(self, frame: np.ndarray) -> None:
        """Take the next frame, uint8 (H, W, 3) RGB."""
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        self._shrink = min(1.0, GATES.working_size / max(grey.shape))
        if self._shrink < 1:
            size = (round(grey.shape[1] * self._shrink), round(grey.shape[0] * self._shrink))
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        thumbnail = cv2.resize(grey, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        if self._grey is not None:
            self._follow(grey, thumbnail)
        self._grey, self._thumbnail = grey, thumbnail
        if len(self._ids) <= _REFILL * self._after_refill:
            self._refill()
            self._after_refill = len(self._ids)
        self.textured = max(self.textured, len(self._ids))
        self._seen.append((self._ids, self._places))

    def require_unbroken(self) -> None:
        """Raises `NoPose` if a frame cannot be followed from the one before."""
        if self.broken is not None:
            kind = "it is another picture, as after a cut" if self.cut else "a cut, a jump or a flash"
            raise NoPose(f"frame {self.broken} cannot be followed from the one before: {kind}; cut the clip there")

    def tracks(self) -> Tracks:
        """All observations of points that were seen in two frames or more.

        Raises:
            NoPose: no frame was seen.
        """
        if self._grey is None:
            raise NoPose("has no frame")
        frame = np.repeat(np.arange(len(self._seen)), [len(ids) for ids, _ in self._seen])
        point = np.concatenate([ids for ids, _ in self._seen])
        height, width = self._grey.shape
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        place = np.concatenate([places for _, places in self._seen]).astype(np.float64) - centre
        lengths = np.bincount(point, minlength=self._next)
        tracks = Tracks(frame, point, place, len(self._seen), (height, width), self._shrink)
        return tracks.select(lengths[point] > 1).numbered()

    def _follow(self, grey: np.ndarray, thumbnail: np.ndarray) -> None:
        before = len(self._ids)
        if before:
            there, ok = _flow(self._grey, grey, self._places, None)
            back, ok_back = _flow(grey, self._grey, there, self._places)
            home = np.linalg.norm(back - self._places, axis=1) < GATES.forward_backward * pixel_scale(grey.shape)
            height, width = grey.shape
            inside = ((there >= 1) & (there <= np.array([width - 2, height - 2]))).all(axis=1)
            keep = ok & ok_back & home & inside
            lost = ~(ok & ok_back & home) & inside
            self._ids, self._places = self._ids[keep], there[keep]
            self._anchor, self._found = self._anchor[keep], self._found[keep]
            self._settle(grey)
            followed = keep.sum() / max(1, keep.sum() + lost.sum())
            if self.broken is None and before >= GATES.least_tracks and followed < GATES.cut_followed:
                self.broken, self.cut = len(self._seen), _likeness(self._thumbnail, thumbnail) < GATES.cut_likeness

    def _settle(self, grey: np.ndarray) -> None:
        """Follow each point from its anchor too; where it looks too different by now, its anchor is given up."""
        for frame, image in list(self._anchors.items()):
            mine = np.flatnonzero(self._anchor == frame)
            if len(mine):
                again, ok = _flow(image, grey, self._found[mine], self._places[mine], levels=1)
                near = np.linalg.norm(again - self._places[mine], axis=1) < GATES.settle * pixel_scale(grey.shape)
                self._places[mine[ok & near]] = again[ok & near]
                self._anchor[mine[~(ok & near)]] = _NO_ANCHOR
            if not (self._anchor == frame).any():
                del self._anchors[frame]

    def _refill(self) -> None:
        """Seek new points, at least a spacing away from those that are followed."""
        grey, spacing = self._grey, max(4, round(GATES.spacing * max(self._grey.shape)))
        room = np.full(grey.shape, 255, np.uint8)
        for x, y in self._places.round().astype(int):
            cv2.circle(room, (int(x), int(y)), spacing, 0, -1)
        border = max(3, _window(grey) // 4)
        room[:border], room[-border:], room[:, :border], room[:, -border:] = 0, 0, 0, 0
        strength = cv2.cornerMinEigenVal(grey, 5, ksize=3)
        top = float(strength[room > 0].max(initial=0.0))
        if top < GATES.corner:
            return
        found = cv2.goodFeaturesToTrack(
            grey, 2000, max(GATES.corner / top, 0.002), spacing, mask=room, blockSize=5, useHarrisDetector=False
        )  # fmt: skip
        if found is None:
            return
        found = found.reshape(-1, 2).astype(np.float32)
        self._ids = np.concatenate([self._ids, np.arange(self._next, self._next + len(found))])
        self._places = np.concatenate([self._places, found])
        self._next += len(found)
        frame = len(self._seen)
        self._anchor = np.concatenate([self._anchor, np.full(len(found), frame)])
        self._found = np.concatenate([self._found, found])
        self._anchors[frame] = grey
        if len(self._anchors) > _ANCHORS:
            oldest = min(self._anchors)
            self._anchor[self._anchor == oldest] = _NO_ANCHOR
            del self._anchors[oldest]


def pixel_scale(size: tuple[int, int]) -> float:
    """What a tolerance of one pixel at the reference size is for a picture of another size.

    The square root: motion shrinks with the picture, the errors of following a point hardly do.
    """
    return float(np.sqrt(max(size) / GATES.reference_size))


def shared_places(tracks: Tracks, a: int, b: int) -> tuple[np.ndarray, np.ndarray]:
    """Places in two frames of the points that both show."""
    in_a, in_b = tracks.frame == a, tracks.frame == b
    _, at_a, at_b = np.intersect1d(tracks.point[in_a], tracks.point[in_b], assume_unique=True, return_indices=True)
    return tracks.place[in_a][at_a], tracks.place[in_b][at_b]


def _flow(
    a: np.ndarray, b: np.ndarray, places: np.ndarray, guess: np.ndarray | None, levels: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    window, levels = _window(a), min(levels, 4 if max(a.shape) >= 256 else 2)
    flags = 0 if guess is None else cv2.OPTFLOW_USE_INITIAL_FLOW
    start = None if guess is None else guess.reshape(-1, 1, 2).copy()
    there, ok, _ = cv2.calcOpticalFlowPyrLK(
        a, b, places.reshape(-1, 1, 2), start, winSize=(window, window), maxLevel=levels, flags=flags,
        criteria=(cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.005),
    )  # fmt: skip
    return there.reshape(-1, 2), ok.ravel().astype(bool)


def _window(grey: np.ndarray) -> int:
    """Side of the patch that is followed: 21 pixels at 480 rows, never below 9."""
    return int(np.clip(round(21 * min(grey.shape) / 480), 9, 21)) | 1


def _likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of two thumbnails, 0 if one is flat."""
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / norm if norm > 0 else 0.0
