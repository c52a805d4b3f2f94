"""Copies of videos that every browser plays, without sound, names, dates or tags that would tell the arms apart."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np

import alice_repro.media as media
from alice_repro.files import atomic_path

_BLOCK = 12  # the damage: this many pixels across become one, at the size below
_DAMAGED_WIDTH = 256
_FALLBACK_FPS = 8.0


def make_playable(source: str | Path, target: str | Path) -> None:
    """Write an mp4 of H.264 that shows what `source` shows: as it is where it is 8-bit H.264, else encoded again.

    Raises:
        VideoError: the file does not decode whole; the message names it.
    """
    info = media.probe(source)
    # Whether it turns with the file's rotation is up to the browser, so turned videos are encoded as they are shown.
    if info.codec == "h264" and info.pixel_format in ("yuv420p", "yuvj420p") and not info.rotation:
        for _ in media.iter_frames(source):  # a file that breaks off is found here, not in front of a rater
            pass
        _copy_stream(Path(source), Path(target))
    else:
        media.write_video(target, _even(media.read_video(source)), info.fps or _FALLBACK_FPS)


def make_damaged(source: str | Path, target: str | Path, seed: int) -> None:
    """Write a version of a video that nobody can prefer: coarse blocks, frames in a random order."""
    frames, fps = media.read_video(source), media.probe(source).fps or _FALLBACK_FPS
    height, width = frames.shape[1:3]
    size = (_DAMAGED_WIDTH, max(2, round(_DAMAGED_WIDTH * height / width)))
    coarse = (max(1, size[0] // _BLOCK), max(1, size[1] // _BLOCK))
    order = np.random.default_rng(seed).permutation(len(frames))
    small = [cv2.resize(frames[i], coarse, interpolation=cv2.INTER_AREA) for i in order]
    blocks = np.stack([cv2.resize(image, size, interpolation=cv2.INTER_NEAREST) for image in small])
    media.write_video(target, _even(blocks), fps)


def _copy_stream(source: Path, target: Path) -> None:
    """The coded pictures untouched, in a new container that holds nothing else."""
    options = {"fflags": "+bitexact", "movflags": "+faststart"}
    with (
        atomic_path(target) as temporary,
        av.open(str(source)) as container,
        av.open(str(temporary), "w", format="mp4", options=options) as copy,
    ):
        stream = container.streams.video[0]
        out = copy.add_stream_from_template(stream)
        out.metadata.clear()
        for packet in container.demux(stream):
            if packet.dts is not None:
                packet.stream = out
                copy.mux(packet)


def _even(frames: np.ndarray) -> np.ndarray:
    """Repeat the last row or column where a size is odd: 4:2:0 chroma needs even sizes."""
    height, width = frames.shape[1:3]
    return np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
