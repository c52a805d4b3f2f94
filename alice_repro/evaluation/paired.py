"""Two evaluations compared: paired differences a measure, with intervals, and which are beyond noise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from alice_repro.errors import UserError
from alice_repro.evaluation.evaluate import SETS, load_scores
from alice_repro.evaluation.index import measures
from alice_repro.evaluation.summary import DRAWS, prompts_of
from alice_repro.statistics import Estimate, hierarchical_bootstrap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVEL = 0.95
ROUNDING = 1e-9  # relative difference that sums in another order may leave; no difference


@dataclass(frozen=True)
class Comparison:
    """A - B.

    Attributes:
        table: a row a measure: n pairs, prompts, means of both sides over the pairs, difference, low, high, and
            `beyond_noise`: whether 0 lies outside the interval that holds for all measures together (Bonferroni).
        paired_by: what makes a pair.
        left_out: measures and videos that only one side has.
    """

    table: pd.DataFrame
    paired_by: str
    left_out: list[str]

    def plot(self) -> Figure:
        """The differences with their intervals, each over its own spread."""
        from alice_repro.evaluation.plots import plot_differences

        return plot_differences(self.table)

    def show(self) -> str:
        """For the terminal."""
        rows = []
        for row in self.table.to_dict("records"):
            interval = "" if row["low"] != row["low"] else f"[{row['low']:+.4f}, {row['high']:+.4f}]"
            numbers = {"A": f"{row['a']:.4f}", "B": f"{row['b']:.4f}", "A - B": f"{row['difference']:+.4f}"}
            verdict = {True: "yes", False: "no", None: "cannot tell"}[row["beyond_noise"]]
            rows.append({"measure": row["measure"], "pairs": row["pairs"], "prompts": row["prompts"], **numbers,
                         "95 % interval": interval, "beyond noise": verdict})  # fmt: skip
        shown = pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)
        notes = [f"Paired by {self.paired_by}. Beyond noise: 0 lies outside the interval at {_joint(len(rows)):.2%},"
                 f" so that all {len(rows)} measures together err in at most {1 - LEVEL:.0%} of cases."]  # fmt: skip
        return "\n".join([shown, "", *notes, *(f"left out: {line}" for line in self.left_out)])


def compare(a: str | Path, b: str | Path) -> Comparison:
    """Compare two evaluations, on the measures and pairs that both have.

    Args:
        a, b: folders of evaluations, or score tables.

    Raises:
        UserError: a table that cannot be read, or nothing in common.
    """
    left, right = load_scores(a), load_scores(b)
    keys, by = _pairing(left, right)
    first, second = left.set_index(keys[0]), right.set_index(keys[1])
    common = [key for key in first.index if key in set(second.index)]
    if not common:
        raise UserError(f"{a} and {b} have no video in common, by {by}: were they made from the same prompts?")
    first, second = first.loc[common], second.loc[common]
    prompt = prompts_of(first).to_numpy(str)
    shared = [name for name in measures(left) if name in measures(right)]
    rows = []
    for name in shared:
        x, y = first[name].to_numpy(float), second[name].to_numpy(float)
        both = ~(np.isnan(x) | np.isnan(y))
        y = np.where(np.isclose(x, y, rtol=ROUNDING, atol=0), x, y)
        if both.any():
            rows.append(_row(name, prompt[both], x[both], y[both], len(shared)))
    rows += _sets(a, b, len(shared))
    if not rows:
        raise UserError(f"{a} and {b} have no measure in common that a pair of videos has")
    out = [f"{name}: only in one of them" for name in dict.fromkeys([*measures(left), *measures(right)])
           if name not in shared]  # fmt: skip
    out += [f"{len(table) - len(common)} videos of {side} without a partner"
            for side, table in ((a, left), (b, right)) if len(table) > len(common)]  # fmt: skip
    return Comparison(pd.DataFrame(rows), by, out)


def _pairing(a: pd.DataFrame, b: pd.DataFrame) -> tuple[tuple[pd.Index, pd.Index], str]:
    """Keys of the rows: prompt and seed, else prompt, else the video's name; the first that names each row once."""
    for by in ("prompt and seed", "prompt", "file name"):
        keys = []
        for table in (a, b):
            if by == "file name":
                keys.append(pd.Index(table["video"]))
            elif by == "prompt":
                keys.append(pd.Index(prompts_of(table)))
            else:
                seeds = table["seed"].astype("string").fillna("")
                keys.append(pd.Index(prompts_of(table) + "\0" + seeds) if (seeds != "").all() else pd.Index([]))
        usable = all(len(key) == len(table) and key.is_unique for key, table in zip(keys, (a, b), strict=True))
        if usable and len(keys[0].intersection(keys[1])):
            return (keys[0], keys[1]), by
    raise UserError("no pairs: neither prompt and seed, nor prompt, nor file name names each video once on both sides")


def _row(name: str, prompt: np.ndarray, x: np.ndarray, y: np.ndarray, together: int) -> dict[str, object]:
    one = np.zeros(len(x))
    estimate = hierarchical_bootstrap(one, prompt, x - y, DRAWS)
    joint = hierarchical_bootstrap(one, prompt, x - y, DRAWS, level=_joint(together))
    row = {"measure": name, "pairs": len(x), "prompts": len(set(prompt)), "a": float(x.mean()), "b": float(y.mean())}
    return row | {
        "difference": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "beyond_noise": _beyond(joint),
    }


def _sets(a: str | Path, b: str | Path, together: int) -> list[dict[str, object]]:
    """Measures of sets, paired by prompt, where both evaluations have some."""
    paths = [Path(place) / SETS for place in (a, b)]
    if not all(path.is_file() for path in paths):
        return []
    tables = [pd.read_csv(path, dtype={"prompt": str}).dropna(subset="value") for path in paths]
    rows = []
    for measure in dict.fromkeys(tables[0]["measure"]):
        x, y = (table[table["measure"] == measure].set_index("prompt")["value"] for table in tables)
        common = [prompt for prompt in x.index if prompt in y.index]
        if common:
            rows.append(_row(measure, np.array(common), x[common].to_numpy(), y[common].to_numpy(), together))
    return rows


def _beyond(joint: Estimate) -> bool | None:
    return None if np.isnan(joint.low) else not joint.low <= 0 <= joint.high


def _joint(measures: int) -> float:
    return 1 - (1 - LEVEL) / max(1, measures)
