"""Videos as the official packages can read them: every file decoded once beforehand, under a safe name, as .mp4.

The official code skips .webm, .mov, .mkv and .avi in silence, dies on .MP4, and one corrupt file ends a whole
dimension. So a file that does not decode is kept away from it (with the reason), an .mp4 is handed over untouched
behind a link, and any other container is re-encoded without loss (RGB H.264): the same pixels as our decoder yields.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from alice_repro.evaluation.index import VideoRow
from alice_repro.files import atomic_path, sha256_file
from alice_repro.media import VideoError, iter_frames
from alice_repro.progress import track

UNTOUCHED, RE_ENCODED = "as it is", "re-encoded without loss"
DEFAULT_FPS = 25.0


@dataclass(frozen=True)
class Staged:
    """A video for the official package.

    Attributes:
        video: its name in the folder of videos.
        file: what the official code reads; None if it cannot be given to it, and `problem` says why.
        how: UNTOUCHED or RE_ENCODED.
        sha256: of the user's file.
    """

    video: str
    file: Path | None
    how: str = ""
    frames: int = 0
    fps: float = 0.0
    height: int = 0
    width: int = 0
    sha256: str = ""
    problem: str = ""

    @property
    def seconds(self) -> float:
        return self.frames / self.fps if self.fps else 0.0

    def facts(self) -> dict[str, object]:
        """For the protocol's record: no path, which differs from machine to machine."""
        names = ("video", "how", "frames", "fps", "height", "width", "sha256", "problem")
        return {name: getattr(self, name) for name in names}


def stage(rows: Sequence[VideoRow], folder: Path) -> list[Staged]:
    """Decode each video once and make those ready that need it, in `folder`; a row for each, in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_stage(row, folder) for row in track(rows, "check videos")]


def _stage(row: VideoRow, folder: Path) -> Staged:
    try:
        fps = _frame_rate(row.path)
        if row.path.suffix.lower() == ".mp4":
            count, shape, _ = _measure(iter_frames(row.path))
            file, how = row.path.absolute(), UNTOUCHED
        else:
            file, how = folder / f"{sha256_file(row.path)[:16]}.mp4", RE_ENCODED
            count, shape = _re_encode(row.path, file, fps or DEFAULT_FPS)
    except VideoError as error:
        return Staged(row.video, None, problem=str(error).replace(str(row.path), row.video))
    return Staged(row.video, file, how, count, fps or DEFAULT_FPS, shape[0], shape[1], sha256_file(row.path))


def _frame_rate(path: Path) -> float:
    if not path.is_file():
        raise VideoError(f"{path}: no such video file")
    try:
        with av.open(str(path)) as container:
            streams = container.streams.video
            return float(streams[0].average_rate or 0) if streams else 0.0
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{path}: does not decode as a video ({error})") from error


def _re_encode(source: Path, target: Path, fps: float) -> tuple[int, tuple[int, ...]]:
    """Write the frames of `source` as lossless RGB H.264, then read them back and compare every one."""
    before = hashlib.sha256()
    with atomic_path(target) as temporary:
        with av.open(str(temporary), "w", format="mp4") as container:
            stream = None
            for image in iter_frames(source):
                if stream is None:
                    stream = container.add_stream("libx264rgb", rate=Fraction(fps).limit_denominator(1001))
                    stream.height, stream.width, stream.pix_fmt = *image.shape[:2], "rgb24"
                    stream.codec_context.options = {"qp": "0", "preset": "ultrafast"}
                before.update(np.ascontiguousarray(image))
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
        count, shape, after = _measure(iter_frames(temporary), digest=True)
        if after != before.hexdigest():
            raise VideoError(f"{source}: could not be re-encoded without changing its pixels; make it an .mp4 yourself")
    return count, shape


def _measure(frames: Iterable[np.ndarray], digest: bool = False) -> tuple[int, tuple[int, ...], str]:
    count, shape, seen = 0, (0, 0, 0), hashlib.sha256()
    for image in frames:
        count, shape = count + 1, image.shape
        if digest:
            seen.update(np.ascontiguousarray(image))
    return count, shape, seen.hexdigest()


def link_names(captions: Sequence[str | None], read_by_name: bool) -> Iterator[str]:
    """Names of the links that the official code sees, without suffix, one a video.

    A number, unless a dimension takes its target from the name: then the caption, made safe, and a number. VBench-Long
    wants `-0` at the end and splits at `_`.
    """
    for number, caption in enumerate(captions):
        if not read_by_name or not caption:
            yield f"v{number:05d}-0"
            continue
        safe = "".join(" " if c in "/\\_" or not c.isprintable() else c for c in caption)
        while len(safe.encode()) > 200:  # a file's name has 255 bytes; the target stands at the end
            safe = safe[1:]
        yield f"{safe.strip()}-{number}"
