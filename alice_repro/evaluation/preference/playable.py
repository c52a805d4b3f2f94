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
    source, target = Path(source), Path(target)
    if _is_plain(source):
        for _ in media.iter_frames(source):  # a file that breaks off is found here, not in front of a rater
            pass
        _copy_stream(source, target)
    else:
        frames, fps = _frames(source)
        media.write_video(target, _even(frames), fps)


def make_damaged(source: str | Path, target: str | Path, seed: int) -> None:
    """Write a version of a video that nobody can prefer: coarse blocks, frames in a random order."""
    frames, fps = _frames(Path(source))
    height, width = frames.shape[1:3]
    size = (_DAMAGED_WIDTH, max(2, round(_DAMAGED_WIDTH * height / width)))
    coarse = (max(1, size[0] // _BLOCK), max(1, size[1] // _BLOCK))
    order = np.random.default_rng(seed).permutation(len(frames))
    small = [cv2.resize(frames[i], coarse, interpolation=cv2.INTER_AREA) for i in order]
    blocks = np.stack([cv2.resize(image, size, interpolation=cv2.INTER_NEAREST) for image in small])
    media.write_video(target, _even(blocks), fps)


def _is_plain(source: Path) -> bool:
    """Whether this is 8-bit H.264 with 4:2:0 chroma, which every browser plays."""
    try:
        with av.open(str(source)) as container:
            context = container.streams.video[0].codec_context
            return context.name == "h264" and context.pix_fmt in ("yuv420p", "yuvj420p")
    except (av.FFmpegError, OSError, IndexError):
        return False  # decoding says what is wrong


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


def _frames(source: Path) -> tuple[np.ndarray, float]:
    """All frames (T, H, W, 3), turned as the file says, and frames a second."""
    frames = media.read_video(source)
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        fps = float(stream.average_rate or stream.guessed_rate or _FALLBACK_FPS)
        turn = next(container.decode(stream)).rotation
    return np.rot90(frames, k=turn // 90, axes=(1, 2)), fps


def _even(frames: np.ndarray) -> np.ndarray:
    """Repeat the last row or column where a size is odd: 4:2:0 chroma needs even sizes."""
    height, width = frames.shape[1:3]
    return np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
