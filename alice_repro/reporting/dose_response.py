"""The lab's own question: does a student follow the mass of its teacher's samples, or their quality?

In each caption's setting another share of the web clips (0 to 90 %) carries a defect. A sampler that keeps its data's
distribution has as many defects as they; one that seeks the larger mass has fewer below one half and more above.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from alice_repro.reporting.arms import Arms
from alice_repro.reporting.estimates import rate
from alice_repro.reporting.figures import MARKERS, colour, styled
from alice_repro.world.captions import SETTINGS, parse_caption

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = {"teacher-full": "teacher, all steps", "teacher-short": "teacher, few steps", "student": "student"}


def dose_response(arms: list[Arms], n_boot: int = 2000) -> pd.DataFrame:
    """Share of clips with a defect (not sound), in percent, by teacher, arm and setting.

    Columns: teacher, arm, setting, prevalence (percent of web clips with a defect), value, low, high, clips, captions.
    Empty where the scores have no column `sound`.
    """
    rows = []
    for one in arms:
        for arm, table in one.by_arm().items():
            if "sound" not in table.columns:
                continue
            table = table.assign(
                setting=[parse_caption(text).setting for text in table["caption"]], defect=1 - table["sound"]
            )
            for setting, share in SETTINGS.items():
                measured = rate(table[table["setting"] == setting], "defect", n_boot)
                if measured:
                    e = measured.estimate
                    rows.append(
                        (
                            one.teacher,
                            arm,
                            setting,
                            100 * share,
                            e.value,
                            e.low,
                            e.high,
                            measured.clips,
                            measured.captions,
                        )
                    )
    columns = ["teacher", "arm", "setting", "prevalence", "value", "low", "high", "clips", "captions"]
    return pd.DataFrame(rows, columns=columns)


def draw_dose_response(data: pd.DataFrame) -> Figure:
    """A panel per teacher: defects made against defects in the web clips, with the line on which they are equal."""
    from matplotlib.figure import Figure

    teachers = list(dict.fromkeys(data["teacher"]))
    with styled():
        figure = Figure(figsize=(4.0 * len(teachers), 3.3), layout="constrained")
        for axes, teacher in zip(figure.subplots(1, len(teachers), squeeze=False)[0], teachers, strict=True):
            axes.plot([0, 100], [0, 100], color="#aaaaaa", linewidth=0.8, linestyle="--", label="as the web clips")
            panel = data[data["teacher"] == teacher]
            for shift, (arm, rows) in zip((-1.3, 0.0, 1.3), panel.groupby("arm", sort=False), strict=False):
                x = rows["prevalence"] + shift
                axes.vlines(x, rows["low"], rows["high"], color=colour(arm), linewidth=1.0)
                axes.plot(x, rows["value"], MARKERS[teacher] + "-", color=colour(arm), markersize=4, label=LABELS[arm])
            axes.set(xlim=(-4, 100), ylim=(-2, 102), xlabel="web clips with a defect in the setting, %")
            axes.set_ylabel("sampled clips with a defect, %")
            axes.set_title(f"{teacher} teacher")
            axes.set_xticks([100 * share for share in SETTINGS.values()])
            axes.grid(axis="y")
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure
