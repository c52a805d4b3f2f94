"""Video files in and out: RGB frames as uint8 arrays of shape (T, H, W, 3), through PyAV.

Colour. Files are written with the BT.601 matrix, limited range, and tagged so. Readers that ignore the tags
(OpenCV among them) assume BT.601, readers that obey them find BT.601: all see the same colours. Decoding uses
swscale's default conversion, which is what OpenCV uses, so that measures defined on OpenCV frames (VBench's
temporal flickering) come out equal to the last digit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation
from PIL import Image, ImageDraw, ImageFont

from alice_repro.errors import UserError
from alice_repro.files import atomic_path

CRF = 8
_CAPTION_SIZE = 13
_GAP = 4


class VideoError(UserError):
    """A video file that cannot be read whole; the message names the file."""


@dataclass(frozen=True)
class VideoInfo:
    """What a file says of its video, and its first frame shows.

    Attributes:
        fps: frames a second on average; 0 if the file does not say.
        frames: as announced; 0 if it does not say. Never trust it: count what decodes.
        height, width: of a frame as shown, after `rotation`, in pixels.
        rotation: degrees counterclockwise by which frames are turned to be shown.
        codec, pixel_format: in FFmpeg's words.
        bits: of a colour component.
    """

    fps: float
    frames: int
    height: int
    width: int
    rotation: int
    codec: str
    pixel_format: str
    bits: int


def probe(path: str | Path) -> VideoInfo:
    """Look at a video file as far as its first frame.

    Raises `VideoError` if the file is missing or empty, holds no video, or no frame decodes.
    """
    path = Path(path)
    with _opened(path) as (container, stream):
        frame = next(container.decode(stream), None)
        if frame is None:
            raise VideoError(f"{path}: holds no decodable frame")
        turned = frame.rotation % 180 != 0
        height, width = (frame.width, frame.height) if turned else (frame.height, frame.width)
        components = frame.format.components
        return VideoInfo(
            fps=float(stream.average_rate or 0),
            frames=stream.frames,
            height=height,
            width=width,
            rotation=frame.rotation,
            codec=stream.codec_context.name,
            pixel_format=frame.format.name,
            bits=max((component.bits for component in components), default=8),
        )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """A file and its first video stream; whatever goes wrong in reading it is a `VideoError` that names it."""
    if not path.is_file():
        raise VideoError(f"{path}: no such video file")
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: the file is empty")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise VideoError(f"{path}: holds no video stream")
            yield container, container.streams.video[0]
    except (av.FFmpegError, OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise VideoError(f"{path}: does not decode as a video ({why})") from error


def iter_frames(path: str | Path) -> Iterator[np.ndarray]:
    """Yield the frames of a video one by one, each uint8 (H, W, 3) RGB as shown, holding one frame at a time.

    Frames that the file wants turned (a phone held upright) are turned, as OpenCV does.

    Raises `VideoError` if the file is missing, does not decode, has no frame, changes its frame size, or
    holds fewer frames than it announces (a truncated file is an error, not a short clip). The last check can
    only come after the last frame: consume the iterator before trusting what it gave.
    """
    path = Path(path)
    with _opened(path) as (container, stream):
        count, end, shape = 0, None, None
        for frame in container.decode(stream):
            if frame.is_corrupt:  # the decoder patched what it could not decode, and goes on
                raise VideoError(f"{path}: frame {count} is damaged; make the file again")
            image = frame.to_ndarray(format="rgb24")
            if frame.rotation:
                image = np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))
            shape = shape or image.shape
            if image.shape != shape:
                raise VideoError(f"{path}: frame size changes from {shape[:2]} to {image.shape[:2]}")
            count, end = count + 1, _frame_end(frame, stream) or end
            yield image
        if count == 0:
            raise VideoError(f"{path}: holds no decodable frame")
        _require_whole(path, container, stream, count, end)


def read_video(path: str | Path) -> np.ndarray:
    """All frames of a video, uint8 (T, H, W, 3) RGB. Raises `VideoError` as `iter_frames` does."""
    return np.stack(list(iter_frames(path)))


def _frame_end(frame: av.VideoFrame, stream: av.VideoStream) -> float | None:
    """Time in seconds at which a frame stops being shown, if the file says when it starts."""
    if frame.time is None:
        return None
    return frame.time + (1 / float(stream.average_rate) if stream.average_rate else 0.0)


def _require_whole(
    path: Path, container: av.container.InputContainer, stream: av.VideoStream, count: int, end: float | None
) -> None:
    """Compare what was decoded with what the file announces: frames, and where those are unknown or fewer,
    time.

    Fewer frames than announced alone are no fault: an edit list may hide some (a clip cut without
    re-encoding). Then the last frame must still end, within three quarters of a frame, where the stream says
    that it ends.
    """
    if stream.frames and count >= stream.frames:
        return
    if stream.duration is not None:
        announced = float((stream.duration + (stream.start_time or 0)) * stream.time_base)
    elif container.duration is not None and len(container.streams) == 1:
        announced = (container.duration + max(container.start_time or 0, 0)) / av.time_base
    else:
        announced = None
    if announced is None or end is None:
        if stream.frames:
            raise VideoError(f"{path}: {count} frames decode, {stream.frames} are announced; make the file again")
        return
    frame_time = 1 / float(stream.average_rate) if stream.average_rate else 0.0
    if end < announced - 0.75 * frame_time:
        raise VideoError(
            f"{path}: truncated: {count} frames reach {end:.2f} s of {announced:.2f} s; make the file again"
        )


def write_video(path: str | Path, frames: np.ndarray, fps: float) -> None:
    """Write uint8 (T, H, W, 3) RGB frames as an H.264 mp4 (yuv420p, CRF 8, BT.601), `fps` frames a second.

    One encoder thread and no time stamps: equal frames give equal bytes with the same FFmpeg build. Height
    and width must be even (4:2:0 chroma). The file appears under its name only when complete.
    """
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise UserError(f"{path}: frames must be uint8 (T, H, W, 3), got {frames.dtype} {frames.shape}")
    _, height, width, _ = frames.shape
    if height % 2 or width % 2:
        raise UserError(f"{path}: H.264 with 4:2:0 chroma needs an even height and width, got {height}x{width}")
    if not fps > 0:
        raise UserError(f"{path}: fps must be positive, got {fps}")
    with atomic_path(Path(path)) as temporary:
        options = {"fflags": "+bitexact"}
        with av.open(str(temporary), "w", format="mp4", options=options) as container:
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.thread_count = 1
            stream.codec_context.options = {"crf": str(CRF), "preset": "medium"}
            stream.codec_context.colorspace = Colorspace.ITU601
            stream.codec_context.color_range = ColorRange.MPEG
            stream.codec_context.color_primaries = ColorPrimaries.SMPTE170M
            stream.codec_context.color_trc = ColorTrc.SMPTE170M
            for image in frames:
                container.mux(stream.encode(_to_yuv(image)))
            container.mux(stream.encode(None))


def _to_yuv(image: np.ndarray) -> av.VideoFrame:
    """One RGB image as a BT.601 limited-range yuv420p frame, chroma averaged rather than picked."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU601,
        dst_color_range=ColorRange.MPEG,
        interpolation=Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INP | Interpolation.ACCURATE_RND,
        threads=1,
    )
    frame.colorspace, frame.color_range = Colorspace.ITU601, ColorRange.MPEG
    return frame


def contact_sheet(path: str | Path, clips: Iterable[np.ndarray], captions: Sequence[str], frames: int = 5) -> None:
    """Write a PNG: one row a clip, its caption above, `frames` evenly spaced frames (first and last among
    them).

    Clips are uint8 (T, H, W, 3) RGB; each pixel becomes a 2 x 2 block, so that small clips can be judged by
    eye.
    """
    clips = list(clips)
    if not clips or len(clips) != len(captions):
        raise UserError(f"{path}: a contact sheet needs as many captions as clips, got {len(captions)}, {len(clips)}")
    font = ImageFont.load_default(size=_CAPTION_SIZE)
    rows = [_sheet_row(clip, caption, frames, font) for clip, caption in zip(clips, captions, strict=True)]
    width = max(row.width for row in rows)
    sheet = Image.new("RGB", (width, sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    with atomic_path(Path(path)) as temporary:
        sheet.save(temporary, format="PNG")


def _sheet_row(clip: np.ndarray, caption: str, frames: int, font: ImageFont.FreeTypeFont) -> Image.Image:
    picked = [Image.fromarray(clip[i]) for i in np.linspace(0, len(clip) - 1, frames).round().astype(int)]
    tiles = [image.resize((2 * image.width, 2 * image.height), Image.Resampling.NEAREST) for image in picked]
    width = sum(tile.width + _GAP for tile in tiles) + _GAP
    text = _wrap(caption, font, width - 2 * _GAP)
    line_height = _CAPTION_SIZE + 3
    text_height = line_height * len(text) + _GAP
    row = Image.new("RGB", (width, text_height + tiles[0].height + _GAP), "white")
    draw = ImageDraw.Draw(row)
    for i, line in enumerate(text):
        draw.text((_GAP, i * line_height), line, fill="black", font=font)
    left = _GAP
    for tile in tiles:
        row.paste(tile, (left, text_height))
        left += tile.width + _GAP
    return row


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Greedy line breaks at spaces, so that each line is at most `width` pixels where its words allow."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
