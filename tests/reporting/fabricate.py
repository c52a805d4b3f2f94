"""Fabricated score tables with known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from alice_repro.world.captions import SETTINGS

SETTING = list(SETTINGS)


def score_table(endpoint: np.ndarray, arm: str, run: int | None = None) -> pd.DataFrame:
    """A score table from 0/1 outcomes of shape (prompts, seeds)."""
    rows = []
    for (prompt, seed), right in np.ndenumerate(np.asarray(endpoint, float)):
        rows.append(
            {
                "video": f"{prompt:04d}_s{seed}.mp4",
                "caption": f"a red ball falls in the {SETTING[prompt % len(SETTING)]}",
                "prompt_id": str(prompt),
                "seed": seed,
                "arm": arm,
                "run": run,
                "endpoint": right,
                "correct": 1.0,
                "sound": right,
                "temporal_flickering": 0.9 + 0.01 * seed,
                "dynamic_degree": 1.0,
                "color": 1.0,
            }
        )
    return pd.DataFrame(rows).astype({"run": "Int64"})


def outcomes(share: float, prompts: int = 20, seeds: int = 4, seed: int = 0) -> np.ndarray:
    """0/1 outcomes with exactly `share` right, spread at random over prompts and sampling seeds."""
    values = np.zeros(prompts * seeds)
    values[: round(share * values.size)] = 1.0
    return np.random.default_rng(seed).permutation(values).reshape(prompts, seeds)


def better(base: np.ndarray, points: float, seed: int = 0) -> np.ndarray:
    """The same outcomes with `points` percent of all clips turned from wrong to right, or back if negative."""
    shifted = base.copy().ravel()
    turned = np.random.default_rng(seed).permutation(np.flatnonzero(shifted == (points < 0)))
    shifted[turned[: round(abs(points) / 100 * shifted.size)]] = points > 0
    return shifted.reshape(base.shape)


def write_arm(root: Path, teacher: str, arm: str, endpoint: np.ndarray, run: int | None = None) -> Path:
    path = root / "scores" / teacher / f"{arm}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    score_table(endpoint, arm, run).to_csv(path, index=False)
    return path
