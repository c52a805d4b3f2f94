from __future__ import annotations

import av
import numpy as np
import pytest
from PIL import Image

import alice_repro.media as media
from alice_repro.evaluation.preference.playable import make_damaged, make_playable


def bars(frames=6, height=32, width=48) -> np.ndarray:
    clip = np.full((frames, height, width, 3), 60, dtype=np.uint8)
    clip[:, : height // 2, : width // 2] = (220, 60, 60)  # the top left corner tells a turned picture
    return clip


def coded(path) -> tuple[str, str]:
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        return context.name, context.pix_fmt


def write(path, codec: str, pix_fmt: str, clip: np.ndarray, **tags: str) -> None:
    with av.open(str(path), "w") as container:
        container.metadata.update(tags)
        stream = container.add_stream(codec, rate=8)
        stream.width, stream.height, stream.pix_fmt = clip.shape[2], clip.shape[1], pix_fmt
        for image in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(("name", "codec", "pix_fmt"), [
    ("a.avi", "mpeg4", "yuv420p"), ("a.mov", "prores_ks", "yuv422p10le"), ("a.webm", "libvpx-vp9", "yuv444p"),
    ("a.mkv", "libx264", "yuv420p10le"),
])  # fmt: skip
def test_what_browsers_may_not_play_becomes_h264(tmp_path, name, codec, pix_fmt):
    write(tmp_path / name, codec, pix_fmt, bars())
    make_playable(tmp_path / name, tmp_path / "out.mp4")
    assert coded(tmp_path / "out.mp4") == ("h264", "yuv420p")
    seen = media.read_video(tmp_path / "out.mp4")
    assert seen.shape == bars().shape
    assert np.abs(seen.astype(int) - bars()).mean() < 8


def test_a_gif_of_odd_size_is_padded(tmp_path):
    images = [Image.fromarray(image) for image in bars(height=31, width=45)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=125)
    make_playable(tmp_path / "a.gif", tmp_path / "out.mp4")
    assert media.read_video(tmp_path / "out.mp4").shape[1:3] == (32, 46)


def test_h264_keeps_its_pictures_and_loses_its_tags(tmp_path):
    write(tmp_path / "a.mp4", "libx264", "yuv420p", bars(), title="made by STUDENT", comment="STUDENT")
    assert b"STUDENT" in (tmp_path / "a.mp4").read_bytes()
    make_playable(tmp_path / "a.mp4", tmp_path / "out.mp4")
    assert b"STUDENT" not in (tmp_path / "out.mp4").read_bytes()
    assert np.array_equal(media.read_video(tmp_path / "a.mp4"), media.read_video(tmp_path / "out.mp4"))


def test_a_turned_video_is_shown_upright(tmp_path):
    clip = bars()
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = clip.shape[2], clip.shape[1], "yuv420p"
        stream.set_display_rotation(90)
        for image in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    assert abs(media.probe(tmp_path / "a.mp4").rotation) == 90
    make_playable(tmp_path / "a.mp4", tmp_path / "out.mp4")
    assert media.probe(tmp_path / "out.mp4").rotation == 0
    shown, copied = media.read_video(tmp_path / "a.mp4"), media.read_video(tmp_path / "out.mp4")
    assert copied.shape == (6, 48, 32, 3)
    assert np.abs(shown.astype(int) - copied).mean() < 8


def test_sound_is_left_out(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        video, sound = container.add_stream("libx264", rate=8), container.add_stream("aac", rate=8000)
        video.width, video.height, video.pix_fmt = 48, 32, "yuv420p"
        for image in bars():
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode(None))
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 6000), dtype=np.float32), format="fltp", layout="mono")
        samples.sample_rate = 8000
        container.mux(sound.encode(samples))
        container.mux(sound.encode(None))
    make_playable(tmp_path / "a.mp4", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_a_truncated_video_is_found_before_anyone_sees_it(tmp_path):
    media.write_video(tmp_path / "a.mp4", np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), np.uint8), 8)
    content = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(content[: len(content) // 2])
    with pytest.raises(media.VideoError, match="a.mp4"):
        make_playable(tmp_path / "a.mp4", tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_a_damaged_copy_looks_worse(tmp_path):
    clip = np.random.default_rng(0).integers(0, 255, (8, 64, 96, 3), np.uint8)
    media.write_video(tmp_path / "a.mp4", clip, 8)
    make_damaged(tmp_path / "a.mp4", tmp_path / "out.mp4", 0)
    seen = media.read_video(tmp_path / "out.mp4")
    assert seen.shape[0] == 8 and seen.shape[2] == 256
    assert np.abs(np.diff(seen[0, :, 2:10].astype(int), axis=1)).mean() < 3  # blocks 12 pixels wide are flat inside
