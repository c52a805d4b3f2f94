"""The evaluation stage: an arm's videos and captions to its score table. Reads pixels; imports no torch."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd

from alice_repro import media
from alice_repro.evaluation.index import OPTIONAL_COLUMNS, index_videos, write_scores
from alice_repro.evaluation.vbench import temporal_flickering
from alice_repro.files import sha256_file
from alice_repro.manifest import write_manifest
from alice_repro.progress import track


def score_arm(videos: Path, output: Path, world: bool, captions: Path | None = None) -> pd.DataFrame:
    """Score a folder of videos, write the table with its manifest, and return it.

    Args:
        videos: folder of mp4 files.
        output: score table (CSV), a row per video.
        world: captions are of the lab's world, so the oracle can judge; else VBench's temporal flickering alone.
        captions: caption table; None for ``captions.csv`` in the folder.

    Raises:
        UserError: a video that does not decode, or files and captions that do not match.
    """
    started = time.time()
    captions = captions or videos / "captions.csv"
    if world:
        from alice_repro.evaluation.lab import evaluate_folder

        scores = evaluate_folder(videos, captions, output)
    else:
        scores = _flickering(videos, captions, output)
    protocol = "lab" if world else "vbench temporal_flickering"
    extra = {"videos": len(scores), "protocol": protocol, "captions_sha256": sha256_file(captions)}
    write_manifest(output, inputs={"videos": videos}, extra=extra, started=started)
    return scores


def _flickering(videos: Path, captions: Path, output: Path) -> pd.DataFrame:
    rows = []
    for video in track(index_videos(videos, captions), f"temporal flickering of {videos.name}"):
        row = {"video": video.video, "caption": video.caption, **video.columns}
        rows.append(row | {"temporal_flickering": temporal_flickering(media.read_video(video.path))})
    scores = pd.DataFrame(rows)
    for name in OPTIONAL_COLUMNS:
        if name not in scores:
            scores[name] = pd.NA if name in ("seed", "run") else ""
    output.parent.mkdir(parents=True, exist_ok=True)
    write_scores(output, scores)
    return scores
