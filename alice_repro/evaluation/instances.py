"""Instance preservation in the lab: does every object that the caption names stay until the clip ends?

VBench-2.0 asks a vision-language model whether objects keep their number. In the lab's world the oracle knows, so the
question is answered from columns that score tables already have; ``_world`` marks that it is not VBench-2.0's value.
"""

from __future__ import annotations

import pandas as pd

from alice_repro.errors import UserError

NAME = "instance_preservation_world"
COLUMNS = ("flag_vanish", "multiple_objects")


def instance_preservation(scores: pd.DataFrame) -> pd.Series:
    """1 where the object never vanishes and, where the caption names two, both are there; else 0.

    Args:
        scores: a score table of ``evaluation.lab``; ``multiple_objects`` is empty where the caption names one object.

    Raises:
        UserError: a table without the oracle's columns.
    """
    missing = [name for name in COLUMNS if name not in scores]
    if missing:
        raise UserError(f"instance preservation needs the lab's score table; this one lacks {', '.join(missing)}")
    kept = (scores["flag_vanish"] == 0) & (scores["multiple_objects"].fillna(1.0) == 1)
    return kept.astype(float).rename(NAME)
