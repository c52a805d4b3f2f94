from __future__ import annotations

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from alice_repro.errors import UserError
from alice_repro.media import VideoError, contact_sheet, iter_frames, read_video, write_video

COLOURS = np.array(
    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255]]
    + [[255, 255, 255], [0, 0, 0], [128, 128, 128], [230, 60, 20], [20, 180, 90]],
    dtype=np.uint8,
)


def moving_square(frames: int = 17, size: int = 64) -> np.ndarray:
    clip = np.full((frames, size, size, 3), (40, 60, 200), np.uint8)
    for t in range(frames):
        clip[t, 20:36, 2 * t : 2 * t + 16] = (250, 30, 30)
    return clip


def remux(source, target, container_format: str, **options: str) -> None:
    """The same packets in another container, with FFmpeg's options for its writer."""
    with (
        av.open(str(source)) as old,
        av.open(str(target), "w", format=container_format, options=options) as new,
    ):
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)


def test_flat_saturated_colours_survive_the_round_trip(tmp_path):
    clip = np.broadcast_to(COLOURS[:, None, None], (len(COLOURS), 64, 64, 3))
    write_video(tmp_path / "a.mp4", clip, fps=8)
    error = np.abs(read_video(tmp_path / "a.mp4").astype(int) - clip)
    assert error.max() <= 4


def test_readers_that_ignore_colour_tags_see_the_same_pixels(tmp_path):
    write_video(tmp_path / "a.mp4", moving_square(), fps=8)
    capture = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    frames = []
    while (got := capture.read())[0]:
        frames.append(got[1][..., ::-1])
    assert np.array_equal(np.stack(frames), read_video(tmp_path / "a.mp4"))


def test_colour_tags_say_bt601_limited_range(tmp_path):
    write_video(tmp_path / "a.mp4", moving_square(), fps=8)
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        tags = (context.colorspace, context.color_range, context.color_primaries, context.color_trc)
    assert tags[0] in (5, 6) and tags[1:] == (1, 6, 6)  # 5 and 6 are the two names of the BT.601 matrix


def test_motion_frame_count_and_rate_survive(tmp_path):
    clip = moving_square()
    write_video(tmp_path / "a.mp4", clip, fps=12.5)
    back = read_video(tmp_path / "a.mp4")
    assert back.shape == clip.shape and back.dtype == np.uint8
    # The square (red at least 100 above blue) lies where it was drawn, in every frame.
    for t, frame in enumerate(back.astype(int)):
        columns = np.flatnonzero((frame[..., 0] - frame[..., 2] > 100).any(axis=0))
        assert abs(columns.mean() - (2 * t + 7.5)) < 1.0
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert float(container.streams.video[0].average_rate) == 12.5


def test_equal_frames_give_equal_bytes_and_no_leftovers(tmp_path):
    write_video(tmp_path / "a.mp4", moving_square(), fps=8)
    write_video(tmp_path / "b.mp4", moving_square(), fps=8)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_one_frame_is_a_video(tmp_path):
    write_video(tmp_path / "a.mp4", moving_square(1), fps=8)
    assert len(read_video(tmp_path / "a.mp4")) == 1


def test_frames_stream(tmp_path):
    write_video(tmp_path / "a.mp4", moving_square(), fps=8)
    frames = iter_frames(tmp_path / "a.mp4")
    assert next(frames).shape == (64, 64, 3)
    frames.close()


@pytest.mark.parametrize(
    "clip",
    [
        np.zeros((2, 63, 64, 3), np.uint8),
        np.zeros((2, 64, 64), np.uint8),
        np.zeros((0, 64, 64, 3), np.uint8),
        np.zeros((2, 64, 64, 3), np.float32),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_the_old_file(tmp_path, clip):
    (tmp_path / "a.mp4").write_bytes(b"old")
    with pytest.raises(UserError, match=r"a\.mp4"):
        write_video(tmp_path / "a.mp4", clip, fps=8)
    assert (tmp_path / "a.mp4").read_bytes() == b"old"


@pytest.mark.parametrize("content", [b"", b"this is no video", b"\0\0\0\x20ftypisom" + bytes(500)])
def test_undecodable_file_is_named(tmp_path, content):
    (tmp_path / "bad.mp4").write_bytes(content)
    with pytest.raises(VideoError, match=r"bad\.mp4"):
        read_video(tmp_path / "bad.mp4")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(VideoError, match=r"absent\.mp4"):
        read_video(tmp_path / "absent.mp4")


def test_file_without_video_stream(tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError, match=r"sound\.mp4: holds no video"):
        read_video(tmp_path / "sound.mp4")


def noisy_video(path) -> None:
    """Frames that do not compress, so that any cut falls into picture data."""
    write_video(path, np.random.default_rng(0).integers(0, 256, (17, 64, 64, 3), dtype=np.uint8), fps=8)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.97])
@pytest.mark.parametrize("container", ["mp4", "faststart", "matroska"])
def test_truncated_file_is_an_error_not_a_short_clip(tmp_path, container, share):
    whole, short = tmp_path / "whole.mp4", tmp_path / "short.mp4"
    noisy_video(whole)
    if container != "mp4":
        source, whole = whole, tmp_path / "other"
        if container == "faststart":
            remux(source, whole, "mp4", movflags="+faststart")
        else:
            remux(source, whole, "matroska")
        assert np.array_equal(read_video(whole), read_video(source))
    content = whole.read_bytes()
    short.write_bytes(content[: int(share * len(content))])
    with pytest.raises(VideoError, match=r"short\.mp4"):
        read_video(short)


def test_overwritten_picture_data_is_an_error(tmp_path):
    noisy_video(tmp_path / "a.mp4")
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(VideoError, match=r"a\.mp4"):
        read_video(tmp_path / "a.mp4")


def test_damage_that_the_decoder_conceals_is_an_error(tmp_path):
    """Eight garbled bytes: the decoder may patch the picture and go on; where it says so, we stop.

    Not all damage can be seen, as garbled data may be legal by chance, so most of the places must raise.
    """
    noisy_video(tmp_path / "whole.mp4")
    whole = (tmp_path / "whole.mp4").read_bytes()
    rng = np.random.default_rng(0)
    damaged = 0
    for _ in range(12):
        content, place = bytearray(whole), int(rng.integers(3000, len(whole) - 3000))
        content[place : place + 8] = rng.integers(0, 256, 8, dtype=np.uint8).tobytes()
        (tmp_path / "a.mp4").write_bytes(content)
        try:
            read_video(tmp_path / "a.mp4")
        except VideoError as error:
            damaged += "is damaged" in str(error)
    assert damaged >= 6


def test_contact_sheet_shows_evenly_spaced_frames_twice_as_large(tmp_path):
    clip = np.zeros((9, 16, 16, 3), np.uint8)
    clip[:] = 25 * np.arange(9, dtype=np.uint8)[:, None, None, None]
    contact_sheet(tmp_path / "s.png", [clip, clip[::-1]], ["up", "down"], frames=5)
    sheet = np.asarray(Image.open(tmp_path / "s.png").convert("RGB"))
    tile = 16 * 2
    assert sheet.shape[1] == 5 * (tile + 4) + 4
    middle = [4 + tile // 2 + i * (tile + 4) for i in range(5)]
    rows = np.split(sheet, 2)
    assert [int(rows[0][-20, x, 0]) for x in middle] == [0, 50, 100, 150, 200]
    assert [int(rows[1][-20, x, 0]) for x in middle] == [200, 150, 100, 50, 0]
    assert (rows[0][:16] != rows[1][:16]).any()  # the captions differ


def test_contact_sheet_keeps_a_long_caption_whole(tmp_path):
    clip = np.zeros((2, 16, 16, 3), np.uint8)
    contact_sheet(tmp_path / "short.png", [clip], ["a red ball"], frames=2)
    contact_sheet(tmp_path / "long.png", [clip], ["a red ball " * 10], frames=2)
    short, long = (Image.open(tmp_path / name) for name in ("short.png", "long.png"))
    assert long.width == short.width and long.height > short.height + 100


def test_contact_sheet_wants_a_caption_for_each_clip(tmp_path):
    with pytest.raises(UserError, match=r"s\.png"):
        contact_sheet(tmp_path / "s.png", [np.zeros((2, 16, 16, 3), np.uint8)], [])
