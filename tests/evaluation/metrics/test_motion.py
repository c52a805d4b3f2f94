"""Motion: known shifts, sizes and rates, and a table of measures against clips of known truth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from alice_repro.errors import UserError
from alice_repro.evaluation.metric import Clip, Metric, Tools
from alice_repro.evaluation.metrics.colour import Colour
from alice_repro.evaluation.metrics.motion import Motion, RunningVariance, correlation, top_mean
from alice_repro.world.captions import Caption
from alice_repro.world.clips import draw_scene, make_clip


def values(metric: Metric, frames: np.ndarray, fps: float = 8.0) -> dict[str, float | str]:
    watcher = metric.watch(Clip("a.mp4", Path("a.mp4"), None, fps, *frames[0].shape[:2]))
    for frame in frames:
        frame.flags.writeable = False  # metrics share frames
        watcher.see(frame)
    return watcher.result().values


def motion(frames: np.ndarray, fps: float = 8.0, **options) -> dict[str, float | str]:
    return values(Motion(Tools(), options), frames, fps)


def panned(width: int, step: float, count: int) -> np.ndarray:
    """A camera that moves over a painting: ``step`` widths of the frame a frame to the right, frames of 4:3."""
    size = (width, 3 * width // 4)
    noise = np.random.default_rng(0).normal(size=(200, 400, 3)).astype(np.float32)
    painting = cv2.GaussianBlur(noise, (0, 0), 3)
    painting = np.clip(127 + 60 * painting / painting.std(), 0, 255)
    frames = []
    for i in range(count):
        # 160 painted pixels fill a frame's width; drawn three times too large, then averaged.
        unit = 3 * width / 160
        place = np.float32([[unit, 0, -i * step * 3 * width], [0, unit, 0]])
        drawn = cv2.warpAffine(painting, place, (3 * size[0], 3 * size[1]), flags=cv2.INTER_LINEAR)
        frames.append(cv2.resize(drawn, size, interpolation=cv2.INTER_AREA).round().astype(np.uint8))
    return np.stack(frames)


def test_a_pan_has_the_speed_that_it_was_given():
    found = motion(panned(160, 0.0125, 6))  # 2 pixels a frame, 120 of them in the short side
    assert found["flow_mean"] == pytest.approx(2.0, rel=0.03)
    assert found["flow_top"] == pytest.approx(2.0, rel=0.15)
    assert found["flow_mean_rate"] == pytest.approx(2 / 120 * 8, rel=0.03)
    assert found["frozen_share"] == 0 and found["adjacent_similarity"] > 0.8


def test_neither_size_nor_frame_rate_changes_a_rate():
    """The same pan in 160, 320 and 640 pixels of width, and at twice the frame rate with half the steps."""
    base = motion(panned(160, 0.0125, 5))
    for width in (320, 640):  # the larger one is reduced to a short side of 256
        found = motion(panned(width, 0.0125, 5))
        assert found["flow_mean"] == pytest.approx(width / 80, rel=0.03)
        for name in ("flow_mean_rate", "flow_top_rate", "pixel_variance", "adjacent_similarity"):
            assert found[name] == pytest.approx(base[name], rel=0.05), name
    fine = motion(panned(160, 0.00625, 9), fps=16.0)
    assert fine["flow_mean"] == pytest.approx(base["flow_mean"] / 2, rel=0.05)
    for name in ("flow_mean_rate", "flow_top_rate", "pixel_variance"):
        assert fine[name] == pytest.approx(base[name], rel=0.12 if name == "pixel_variance" else 0.05), name
    assert fine["adjacent_similarity"] > base["adjacent_similarity"]


def test_doubled_frames_are_frozen_pairs():
    frames = panned(64, 0.03, 5)
    assert motion(frames)["frozen_share"] == 0
    assert motion(np.repeat(frames, 2, axis=0)[:-1])["frozen_share"] == 0.5
    still = motion(np.repeat(frames[:1], 4, axis=0))
    assert still["frozen_share"] == still["adjacent_similarity"] == pytest.approx(1.0)
    assert still["pixel_variance"] == 0 and still["flow_mean"] == pytest.approx(0, abs=1e-3)


def test_what_cannot_be_measured_has_a_reason():
    grey = np.full((3, 48, 64, 3), 90, np.uint8)
    assert motion(grey[:1]) == dict.fromkeys(Motion.measures, "needs two frames or more")
    assert motion(grey)["adjacent_similarity"] == "every frame is of one colour, so none has a pattern"
    assert motion(grey, fps=0.0)["flow_mean_rate"] == "the file does not say its frame rate"
    assert motion(grey, fps=0.0)["flow_mean"] == pytest.approx(0, abs=1e-3)
    small = motion(grey[:, :16])
    assert "32 pixels or more" in small["flow_mean"] and small["frozen_share"] == 1.0
    wide = motion(np.full((2, 64, 2000, 3), 90, np.uint8))
    assert wide["frozen_share"] == 1.0
    with pytest.raises(UserError, match="at least 32 pixels"):
        Motion(Tools(), {"short_side": 8})


def test_parts_by_hand():
    assert top_mean(np.arange(100.0)) == 97.0  # 95 .. 99
    assert top_mean(np.arange(4.0)) == 3.0
    a = np.array([[0, 2], [4, 6]], np.uint8)
    assert correlation(a, a // 2 + 100) == pytest.approx(1.0) and correlation(a, 6 - a) == pytest.approx(-1.0)
    frames = np.random.default_rng(2).integers(0, 256, (7, 5, 6, 3), dtype=np.uint8)
    running = RunningVariance()
    for frame in frames:
        running.add(frame)
    assert running.mean() == pytest.approx((frames / 255.0).var(axis=0).mean(), rel=1e-12)


MOTIONS = [
    ("fall", "red", "ball"),
    ("slide", "blue", "box"),
    ("float", "yellow", "triangle"),
    ("orbit", "green", "ball"),
]
DEFECTS = ("frozen", "flicker", "colour_drift", "blur")
SATURATED = 1.3  # times the distance from grey


def saturate(frames: np.ndarray) -> np.ndarray:
    grey = frames.mean(axis=-1, keepdims=True)
    return np.clip(grey + SATURATED * (frames - grey), 0, 255).round().astype(np.uint8)


@pytest.fixture(scope="module")
def table() -> dict[str, dict[str, float]]:
    """Mean of each measure over four scenes: clean, with each defect, oversaturated, and too bright."""
    metrics = (Motion(Tools()), Colour(Tools()))
    found = {}
    for kind in (None, *DEFECTS, "oversaturated", "overexposed"):
        rows = []
        for index, (moves, colour, shape) in enumerate(MOTIONS):
            defect = kind if kind in DEFECTS else None
            frames = make_clip(draw_scene(Caption(colour, shape, moves, "studio"), 5, index, defect)).frames
            if kind == "oversaturated":
                frames = saturate(frames)
            elif kind == "overexposed":
                frames = np.clip(2.0 * frames, 0, 255).astype(np.uint8)
            rows.append(values(metrics[0], frames) | values(metrics[1], frames))
        found[kind or "clean"] = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return found


# measure: (what moves it, change of the mean), then how still it stays under what is listed; shares of the clean mean
MOVES = {
    "flow_top_rate": ({"frozen": (-1.0, -0.9)}, 0.25, ("flicker", "colour_drift", "blur", "oversaturated")),
    "pixel_variance": ({"frozen": (-1.0, -0.9), "flicker": (0.2, 2.0)}, None, ()),
    "chroma": ({"oversaturated": (0.2, 0.4)}, 0.08, ("frozen", "flicker", "colour_drift", "blur")),
    "hsv_saturation": ({"oversaturated": (0.15, 0.4)}, 0.05, ("frozen", "flicker", "colour_drift", "blur")),
    "colourfulness": ({"oversaturated": (0.2, 0.4)}, 0.1, ("frozen", "flicker", "colour_drift")),
}


@pytest.mark.parametrize("measure", MOVES)
def test_a_measure_moves_by_its_defect_and_by_no_other(table, measure):
    moved, tolerance, still = MOVES[measure]
    change = {kind: row[measure] / table["clean"][measure] - 1 for kind, row in table.items()}
    for kind, (low, high) in moved.items():
        assert low <= change[kind] <= high, kind
    for kind in still:
        assert abs(change[kind]) <= tolerance, kind


def test_shares_move_by_their_defect_and_by_no_other(table):
    frozen = {kind: row["frozen_share"] for kind, row in table.items()}
    assert frozen.pop("frozen") > 0.85 and max(frozen.values()) < 0.25
    clipped = {kind: row["clipped_share"] for kind, row in table.items()}
    assert clipped.pop("overexposed") > 0.03 and max(clipped.values()) < 0.001
    likeness = {kind: 1 - row["adjacent_similarity"] for kind, row in table.items()}
    assert likeness["frozen"] < 0.1 * likeness["clean"]
    for kind in ("flicker", "colour_drift", "oversaturated"):
        assert likeness[kind] == pytest.approx(likeness["clean"], rel=0.5), kind


@pytest.mark.slow
def test_stillness_was_set_on_clips_of_known_truth():
    """After an mp4 file: 1 % of the pairs of clean clips are nearly frozen, and 88 % of those of frozen ones."""
    from alice_repro.world.validation import CALIBRATION_SEED, _clips, through_file

    found = {}
    for defect in (None, "frozen"):
        clips = [
            through_file(make_clip(draw_scene(caption, CALIBRATION_SEED, index, defect)).frames)
            for caption, index, _ in _clips(defect, CALIBRATION_SEED, 60)
        ]
        found[defect] = np.mean([motion(clip)["frozen_share"] for clip in clips])
    assert found[None] == pytest.approx(0.010, abs=0.002) and found["frozen"] == pytest.approx(0.88, abs=0.01)
