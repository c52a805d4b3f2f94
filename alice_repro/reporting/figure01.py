"""Alice Figure 1: the published VBench scores, and beside them, on an axis of its own, what was measured in the lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from alice_repro.papers import Table
from alice_repro.reporting.figures import ESTIMATED, MARKERS, PAPER, colour, styled
from alice_repro.reporting.render import bounds, points

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {"published": "a  As published: VBench", "lab": "b  Measured in the lab: correct and sound clips"}
AXES = {"published": "VBench score (published)", "lab": "clips correct and sound, % (lab, not VBench)"}


def figure01_data(published: Table, arms: pd.DataFrame) -> pd.DataFrame:
    """What both versions of the figure draw, a row per bar or point.

    Columns: panel ("published", "lab"), label, teacher, arm, value, low, high, printed, estimated, n. Only rows with a
    value are there.
    """
    cells = published.column("vbench")
    rows = [
        {
            "panel": "published",
            "label": label,
            "value": cell.value,
            "printed": cell.printed,
            "estimated": "*" in label or cell.approximate,
        }
        for label, cell in zip(published.labels, cells, strict=True)
        if cell.value is not None
    ]
    for row in arms[arms["value"].notna()].to_dict("records"):
        keys = ("label", "teacher", "arm", "value", "low", "high", "n")
        printed = f"{points(row['value'])} {bounds(row['low'], row['high'])}"
        rows.append({"panel": "lab", **{key: row[key] for key in keys}, "printed": printed, "estimated": False})
    columns = ["panel", "label", "teacher", "arm", "value", "low", "high", "printed", "estimated", "n"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype({"value": float, "low": float, "high": float}).fillna({"teacher": "", "arm": "", "n": ""})


def caption(data: pd.DataFrame, claim: str, scale: str) -> str:
    """The caption: claim, n, interval."""
    lab = data[data["panel"] == "lab"]
    sizes = "; ".join(
        f"{t} teacher: {rows['n'].iloc[0]} an arm at most" for t, rows in lab.groupby("teacher", sort=False)
    )
    return (
        f'Claim: "{claim}" a, VBench of the systems as Table 4 prints it; hatched: printed as approximate or estimated '
        f'("~", "*"). b, the same comparison in the lab (scale {scale}), with 95 % intervals over captions (and '
        f"training runs where there are several); {sizes}. The axes measure different things and cannot be compared."
    )


def draw(data: pd.DataFrame) -> Figure:
    """The printed version (matplotlib)."""
    from matplotlib.figure import Figure

    paper, lab = data[data["panel"] == "published"], data[data["panel"] == "lab"]
    with styled():
        figure = Figure(figsize=(9.4, max(2.9, 0.27 * max(len(paper), len(lab) + 2) + 0.9)), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
        for y, row in enumerate(paper.to_dict("records")):
            hatch = "////" if row["estimated"] else ""
            left.barh(y, row["value"], height=0.62, color=ESTIMATED if hatch else PAPER, hatch=hatch, edgecolor="white")
            left.text(row["value"] + 1.5, y, row["printed"], va="center")
        left.set(yticks=range(len(paper)), yticklabels=paper["label"], xlim=(0, 108), xlabel=AXES["published"])
        left.set_xticks(range(0, 101, 20))
        _draw_lab(right, lab)
        for axes, panel in ((left, "published"), (right, "lab")):
            axes.set_title(TITLES[panel])
            axes.invert_yaxis()
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
    return figure


def _draw_lab(axes: Axes, lab: pd.DataFrame) -> None:
    y, places, names = 0.0, [], []
    for teacher, rows in lab.groupby("teacher", sort=False):
        axes.text(-1, y, f"{teacher} teacher", ha="right", va="center", fontweight="bold", fontsize=8)
        for row in rows.to_dict("records"):
            y += 1
            tone = colour(row["arm"])
            if row["low"] == row["low"]:  # a single caption gives no interval
                axes.plot([row["low"], row["high"]], [y, y], color=tone, solid_capstyle="butt", linewidth=2)
            axes.plot(row["value"], y, MARKERS[teacher], color=tone, markersize=5.5, clip_on=False)
            axes.text(102, y, points(row["value"]), va="center", color="#333333")
            places.append(y)
            names.append(row["label"])
        y += 1.3
    axes.set(yticks=places, yticklabels=names, xlim=(0, 100), ylim=(-0.6, y - 0.7), xlabel=AXES["lab"])
    axes.grid(axis="x")


def interactive(data: pd.DataFrame) -> go.Figure:
    """The interactive version (plotly), from the same data."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    paper, lab = data[data["panel"] == "published"], data[data["panel"] == "lab"]
    figure = make_subplots(
        cols=2, column_widths=[0.42, 0.58], subplot_titles=list(TITLES.values()), horizontal_spacing=0.22
    )
    figure.add_bar(
        x=paper["value"],
        y=paper["label"],
        text=paper["printed"],
        textposition="outside",
        orientation="h",
        marker={
            "color": [ESTIMATED if e else PAPER for e in paper["estimated"]],
            "pattern": {"shape": ["/" if e else "" for e in paper["estimated"]]},
        },
        hovertemplate="%{y}: VBench %{text} (published)<extra></extra>",
        row=1,
        col=1,
    )
    for row in lab.to_dict("records"):
        spread = {"array": [row["high"] - row["value"]], "arrayminus": [row["value"] - row["low"]], "symmetric": False}
        figure.add_trace(
            go.Scatter(
                x=[row["value"]],
                y=[f"{row['label']}<br>{row['teacher']} teacher"],
                error_x=spread | {"thickness": 2, "width": 0} if row["low"] == row["low"] else None,
                mode="markers",
                marker={
                    "color": colour(row["arm"]),
                    "size": 10,
                    "symbol": "diamond" if row["teacher"] == "exact" else "circle",
                },
                customdata=[[row["printed"], row["n"]]],
                hovertemplate="%{y}<br>%{customdata[0]} %<br>%{customdata[1]}<extra></extra>",
            ),
            row=1,
            col=2,
        )
    figure.update_xaxes(title_text=AXES["published"], range=[0, 108], col=1)
    figure.update_xaxes(title_text=AXES["lab"], range=[-1, 101], gridcolor="#e4e4e4", col=2)
    figure.update_yaxes(autorange="reversed")
    figure.update_annotations(font_size=13, xanchor="center")
    height = max(330, 34 * max(len(paper), len(lab)) + 130)
    font = {"family": "system-ui, DejaVu Sans, sans-serif", "size": 12}
    figure.update_layout(template="plotly_white", showlegend=False, height=height, margin={"t": 50, "r": 20}, font=font)
    return figure


def plotly_html(figure: go.Figure, whole: bool = True) -> str:
    """The figure as HTML that works offline (plotly.js inside), with a fixed element id; `whole`: a page of its own."""
    config = {"displaylogo": False, "responsive": True}
    return figure.to_html(include_plotlyjs=True, full_html=whole, div_id="figure01", config=config)
