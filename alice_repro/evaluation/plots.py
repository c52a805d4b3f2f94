"""Pictures of an evaluation and of a comparison, for notebooks."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

DOT, LINE = "#7f8c9b", "#0b5394"


def plot_scores(scores: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """A row a measure, on a scale of its own: a dot a video, the folder's value and its 95 % interval."""
    shown = summary[(summary["of"] == "video") & (summary["n"] > 0)]
    figure, grid = _figure(len(shown), 0.8 * len(shown) + 0.4)
    axes = grid[:, 0]
    rng = np.random.default_rng(0)
    for axis, row in zip(axes, shown.to_dict("records"), strict=True):
        values = scores[row["measure"]].dropna().to_numpy(float)
        axis.plot(values, rng.uniform(-1, 1, len(values)), ".", color=DOT, alpha=0.6, markersize=4)
        axis.plot([row["value"]], [0], "o", color=LINE)
        if row["low"] == row["low"]:
            axis.plot([row["low"], row["high"]], [0, 0], color=LINE, linewidth=2)
        axis.set(yticks=[], ylim=(-2, 2))
        axis.set_ylabel(row["measure"], rotation=0, ha="right", va="center")
        axis.spines[["left", "right", "top"]].set_visible(False)
    return figure


def plot_differences(table: pd.DataFrame) -> Figure:
    """A - B of each measure over the half-width of its interval: beyond 1 is beyond its own noise."""
    known = table[table["low"].notna() & (table["high"] > table["low"])]
    figure, grid = _figure(1, 0.35 * len(known) + 1)
    axis = grid[0, 0]
    half = (known["high"] - known["low"]) / 2
    place = np.arange(len(known))[::-1]
    centre = known["difference"] / half
    axis.hlines(place, (known["low"] / half), (known["high"] / half), color=LINE)
    axis.plot(centre, place, "o", color=LINE)
    axis.axvline(0, color=DOT, linewidth=1)
    axis.set(yticks=place, yticklabels=known["measure"], xlabel="A - B, in half-widths of its 95 % interval")
    axis.spines[["right", "top"]].set_visible(False)
    return figure


def _figure(rows: int, height: float) -> tuple[Figure, np.ndarray]:
    """A figure that notebooks can show: through pyplot, which tells them how, and closed, so that they show it once."""
    figure, grid = plt.subplots(max(1, rows), 1, figsize=(7, height), layout="constrained", squeeze=False)
    plt.close(figure)
    return figure, grid
