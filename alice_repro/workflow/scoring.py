"""The evaluation stage: an arm's videos and captions to its score table. Reads pixels; imports no torch."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd

from alice_repro.errors import UserError
from alice_repro.evaluation.engine import measure_videos
from alice_repro.evaluation.index import REASON_SUFFIX, TECHNICAL_COLUMNS, index_videos, write_scores
from alice_repro.evaluation.inventory import take_inventory
from alice_repro.evaluation.metric import Tools
from alice_repro.evaluation.registry import build_metrics
from alice_repro.files import sha256_file
from alice_repro.manifest import write_manifest


def score_arm(videos: Path, output: Path, world: bool) -> pd.DataFrame:
    """Score a folder of videos with captions.csv in it, write the table with its manifest, and return it.

    Stricter than `evaluate`: our own samples are all there and whole, or something is wrong.

    Args:
        videos: folder of mp4 files.
        output: score table (CSV), a row per video.
        world: captions are of the lab's world, so the oracle can judge; else VBench's temporal flickering alone.

    Raises:
        UserError: a video that does not decode or cannot be judged, or files and captions that do not match.
    """
    started, captions = time.time(), videos / "captions.csv"
    index_videos(videos, captions)
    metrics = build_metrics(["lab" if world else "temporal_flickering"], Tools())
    store = output.with_name(output.name + ".rows.jsonl")
    measured = measure_videos(take_inventory(videos, captions).entries, metrics, store, f"scores of {videos.name}")
    decisive = "endpoint" if world else "temporal_flickering"
    bad = measured.scores[measured.scores[decisive].isna()]
    if len(bad):
        first = bad.iloc[0]
        raise UserError(f"{videos / first['video']}: {first[decisive + REASON_SUFFIX]}")
    scores = measured.scores.drop(columns=list(TECHNICAL_COLUMNS))
    write_scores(output, scores)
    protocol = "lab" if world else "vbench temporal_flickering"
    extra = {"videos": len(scores), "protocol": protocol, "captions_sha256": sha256_file(captions)}
    write_manifest(output, inputs={"videos": videos}, extra=extra, started=started)
    return scores
