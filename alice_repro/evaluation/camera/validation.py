"""Is the built-in odometry right? Clips with a known camera, written as mp4, measured from the file alone.

`validate_camera` writes the tables; `parallax_table` is the noise data behind the parallax gate in `gates.toml`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from alice_repro.evaluation.camera import measures
from alice_repro.evaluation.camera.gates import GATES, GATES_FILE
from alice_repro.evaluation.camera.odometry import camera_trajectory, turning_parallax
from alice_repro.evaluation.camera.poses import NoPose
from alice_repro.evaluation.camera.scenes import Rendered, build_scene, camera_path, render_scene
from alice_repro.evaluation.camera.tracks import Tracker
from alice_repro.files import atomic_write_text, write_csv
from alice_repro.manifest import write_manifest
from alice_repro.media import iter_frames, write_video
from alice_repro.progress import track

MEASURES = {
    "path_length_normalised": measures.path_length,
    "max_translation_normalised": measures.max_translation,
    "rotation_total_degrees": measures.rotation_total,
    "rotation_max_degrees": measures.rotation_max,
}
FPS = 16
SEED = 5


@dataclass(frozen=True)
class Case:
    """A clip to be measured: its camera, its scene, and the focal lengths that the engine is told.

    Attributes:
        amount: see `scenes.camera_path`.
        told: factors of the true focal length that the engine is given; 0: it is not given any.
        cut: another scene follows in the middle.
    """

    path: str
    amount: float
    texture: str = "blobs"
    movers: int = 0
    noise: float = 2.0
    height: int = 240
    width: int = 416
    frames: int = 17
    focal: float = 0.84  # of the longer side
    told: tuple[float, ...] = (1.0, 0.0)
    cut: bool = False
    seed: int = SEED

    @property
    def name(self) -> str:
        """In words, what differs from a plain clip."""
        words = [f"{self.path} {self.amount:g}" if self.amount else self.path]
        words += [f"{self.movers} moving" for _ in range(min(1, self.movers))]
        words += [f"noise {self.noise:g}"] if self.noise != 2.0 else []
        return ", ".join([*words, *(["cut"] if self.cut else []), self.texture])


_WRONG = (1.0, 0.0, 0.8, 0.9, 1.1, 1.25)
_LARGE = {"height": 480, "width": 832, "frames": 49}
CASES = (
    *(Case(p, a, **_LARGE) for p, a in (("static", 0), ("pan", 24), ("truck", 1.27), ("dolly", 1.5))),
    Case("orbit", 36, **_LARGE),
    *(Case(p, a) for p, a in (("static", 0), ("tilt", 12), ("roll", 20), ("pan_truck", 1.2), ("handheld", 0.4))),
    *(Case(p, a, told=_WRONG) for p, a in (("pan", 24), ("truck", 1.27), ("dolly", 1.5), ("orbit", 36))),
    *(Case(p, a, texture="shapes", frames=33) for p, a in (("orbit", 20), ("dolly", -1.0), ("pan", 40))),
    *(Case(p, a, texture="fine", height=416, width=240) for p, a in (("orbit", -25), ("truck", -0.6))),
    *(Case(p, a, movers=1) for p, a in (("static", 0), ("pan", 24), ("dolly", 1.5), ("orbit", 36))),
    *(Case(p, a, noise=8) for p, a in (("static", 0), ("pan", 24), ("truck", 1.27), ("orbit", 36))),
    *(Case(p, a, height=128, width=128) for p, a in (("pan", 24), ("orbit", 36))),
    Case("orbit", 60, frames=81, height=288, width=512),
    Case("truck", 0.05),
    Case("static", 0, texture="plain"),
    Case("orbit", 36, cut=True),
)
QUICK = (
    Case("static", 0, height=144, width=256, frames=9),
    Case("orbit", 24, height=144, width=256, frames=9, told=(0.0,)),
    Case("orbit", 24, height=144, width=256, frames=9, told=(0.0,), cut=True),
)


def validate_camera(out: str | Path, cases: tuple[Case, ...] = CASES, lab_clips: int = 20) -> pd.DataFrame:
    """Write `camera_validation.csv` and `.md` (and, with `lab_clips`, `camera_lab.csv`) with their manifest.

    Args:
        lab_clips: clips of the lab's world for each kind of camera; 0: none.

    Returns:
        the table: a row for each case, focal length told and measure.
    """
    from alice_repro.evaluation.camera.validation_lab import lab_table  # the world is not needed for the rest

    started, out = time.time(), Path(out)
    table = pd.DataFrame([row for case in track(cases, "camera of rendered clips") for row in _measure(case)])
    lab = lab_table(lab_clips) if lab_clips else None
    files = {"camera_validation.csv": table} | ({} if lab is None else {"camera_lab.csv": lab})
    for name, content in files.items():
        write_csv(out / name, content)
    atomic_write_text(out / "camera_validation.md", _markdown(table, lab))
    write_manifest(
        [out / name for name in (*files, "camera_validation.md")], inputs={"gates": GATES_FILE},
        config={"cases": len(cases), "lab_clips": lab_clips}, seeds={"scenes": SEED}, started=started,
    )  # fmt: skip
    return table


def render_case(case: Case) -> Rendered:
    """The clip of a case, not yet compressed."""
    scene = build_scene(case.texture, case.seed, case.movers)
    poses = camera_path(case.path, case.frames, case.amount, scene.middle, case.seed)
    focal = case.focal * max(case.height, case.width)
    clip = render_scene(scene, poses, case.height, case.width, focal, case.noise, case.seed)
    if case.cut:
        other = render_scene(build_scene("shapes", case.seed + 1), poses, case.height, case.width, focal, case.noise)
        half = case.frames // 2
        frames = np.concatenate([clip.frames[:half], other.frames[half:]])
        return Rendered(frames, clip.poses, clip.depth, clip.focal)
    return clip


def watch_file(clip: Rendered) -> Tracker:
    """A tracker that has seen a clip as an mp4 file gives it back."""
    tracker = Tracker()
    with tempfile.TemporaryDirectory() as folder:
        write_video(Path(folder) / "clip.mp4", clip.frames, FPS)
        for frame in iter_frames(Path(folder) / "clip.mp4"):
            tracker.see(frame)
    return tracker


def parallax_table(seeds: int = 3) -> pd.DataFrame:
    """The statistic of the parallax gate on clips without parallax, and on clips with ever less of it.

    Returns:
        a row a clip: path, texture, noise, movers, moved (in median depths), share, error_90 (pixels of a picture 832
        wide, 90th percentile over tracks).
    """
    rows = []
    for case in track([*_parallax_cases(seeds)], "parallax of rendered clips"):
        clip = render_case(case)
        try:
            seen = turning_parallax(watch_file(clip))
        except NoPose:
            continue
        moved = measures.max_translation(clip.poses) / clip.depth
        rows.append(
            {
                "path": case.path, "texture": case.texture, "noise": case.noise, "movers": case.movers,
                "size": f"{case.height}x{case.width}", "moved": moved, "share": seen.share,
                "error_90": float(np.quantile(seen.errors, 0.9)),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _parallax_cases(seeds: int) -> Iterator[Case]:
    for seed in range(100, 100 + seeds):
        for path, amount in (("static", 0), ("pan", 30), ("tilt", 12), ("roll", 25)):
            for texture in ("blobs", "shapes", "fine"):
                for noise, movers in ((2, 0), (8, 0), (2, 1)):
                    yield Case(path, amount, texture, movers, noise, seed=seed)
            yield Case(path, amount, height=128, width=128, seed=seed)
        for path in ("truck", "dolly"):
            for amount in (0.01, 0.02, 0.05, 0.1, 0.2):
                yield Case(path, amount, "blobs", seed=seed)


def _measure(case: Case) -> Iterator[dict[str, object]]:
    clip = render_case(case)
    tracker = watch_file(clip)
    true = measures.scale_translation(clip.poses, clip.depth)
    for told in case.told:
        started, found, verdict = time.process_time(), None, ""
        try:
            found = camera_trajectory(tracker, told * clip.focal if told else None)
            verdict = "moves" if found.translates else "turns only or is static: lengths are 0 by design"
        except NoPose as reason:
            verdict = str(reason)
        for name, function in MEASURES.items():
            truth, seen = function(true), None if found is None else function(found.poses)
            yield {
                "case": case.name, "size": f"{case.height}x{case.width}", "frames": case.frames,
                "focal_told": f"x{told:g}" if told else "not told",
                "focal_found": None if found is None else found.focal / clip.focal,
                "measure": name, "truth": truth, "measured": seen, "error": None if seen is None else seen - truth,
                "verdict": verdict, "rigid_share": None if found is None else found.rigid_share,
                "seconds": time.process_time() - started,
            }  # fmt: skip


def _markdown(table: pd.DataFrame, lab: pd.DataFrame | None) -> str:
    def pair(row: pd.Series, name: str) -> str:
        digits = 1 if name.endswith("degrees") else 3
        seen = "-" if pd.isna(row[("measured", name)]) else f"{row[('measured', name)]:.{digits}f}"
        return f"{row[('truth', name)]:.{digits}f} / {seen}"

    keys = ["case", "size", "frames", "focal_told", "verdict"]
    wide = table.pivot_table(index=keys, columns="measure", values=["truth", "measured"], sort=False, dropna=False)
    wide = wide.dropna(how="all")
    shown = pd.DataFrame([dict(zip(keys, key, strict=True)) for key in wide.index])
    for name in MEASURES:
        shown[name] = [pair(row, name) for _, row in wide.iterrows()]
    parts = [
        "# The built-in odometry on clips with a known camera",
        "Each cell: truth / measured from the mp4 file alone. Lengths in median depths of the first frame. The focal "
        f"length is told as a multiple of the true one, or not told: then {GATES.focal:g} of the longer side is the "
        "guess. A camera that moves straight ahead or sideways shows its focal length to nobody: then lengths sideways "
        "are off by as much as the guess is.",
        shown.to_markdown(index=False, disable_numparse=True),
    ]
    if lab is not None:
        parts += [
            "## The lab's world",
            "Two-dimensional drawings: no parallax exists, so the engine ought to say that the camera turns only, or "
            "that there is too little to follow. Beside it the motion of the picture as a whole; medians over the "
            "clips in which it could be measured.",
            lab.to_markdown(index=False, floatfmt=".3f"),
        ]
    return "\n\n".join(parts) + "\n"
