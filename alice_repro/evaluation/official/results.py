"""The official result files, `{dimension: [score, [{video_path, video_results, ...}, ...]]}`, as values of our rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from alice_repro.errors import UserError
from alice_repro.evaluation.official.catalogue import OfficialDimension

NO_ROW = "the official code returned no score for it and did not say why"
NOT_A_NUMBER = "the official code returned NaN"
NOTHING_TO_JUDGE = "the official code found nothing in it to judge (-1)"
NOT_UNDERSTOOD = "the official code returned something that is no number"


@dataclass(frozen=True)
class DimensionResult:
    """What the official code says of a dimension.

    Attributes:
        score: its own score for all videos, which may weigh them otherwise than a mean does; None if it is NaN.
        values: name of the link, without suffix -> score of the video, or a sentence that says why there is none.
    """

    score: float | None
    values: dict[str, float | str] = field(default_factory=dict)


def read_dimension(results: Any, dimension: OfficialDimension, names: Sequence[str], where: str) -> DimensionResult:
    """One dimension of a result file.

    Args:
        results: the file's content.
        names: of the links that were handed over, without suffix; each is in `values` afterwards.
        where: the file's name, for errors.

    Raises:
        UserError: the file has another layout.
    """
    try:
        entry = results[dimension.official]
        score, rows = entry[0], entry[-1]  # camera_motion and VBench-Long put something between the two
        if not isinstance(rows, list):
            raise TypeError(f"its last item is a {type(rows).__name__}, not a list of videos")
        found: dict[str, list[float | str]] = {}
        for row in rows:
            if "video_path" in row:  # VBench-Long may append a count
                found.setdefault(PurePath(row["video_path"]).stem, []).append(_value(row["video_results"], dimension))
    except (KeyError, IndexError, TypeError) as error:
        raise UserError(f"{where}: not a result of the official {dimension.official}: {error!r}") from error
    values = {name: _mean(found[name]) if name in found else NO_ROW for name in names}
    number = _number(score)
    return DimensionResult(number if number is None or math.isfinite(number) else None, values)


def official_scores(results: Mapping[str, Any]) -> dict[str, float | None]:
    """Dimension -> its official score, of a whole `*_eval_results.json`; None where it is no finite number."""
    scores = {}
    for name, entry in results.items():
        number = _number(entry[0] if isinstance(entry, (list, tuple)) and entry else entry)
        scores[name] = number if number is not None and math.isfinite(number) else None
    return scores


def _value(raw: Any, dimension: OfficialDimension) -> float | str:
    number = _number(raw)
    if raw is None or (number is not None and not math.isfinite(number)):
        return NOT_A_NUMBER
    if number is None:
        return NOT_UNDERSTOOD
    if number == -1 and dimension.official[0].isupper():  # VBench-2.0's mark; a cosine of VBench may be -1
        return NOTHING_TO_JUDGE
    return number / dimension.scale


def _number(raw: Any) -> float | None:
    while isinstance(raw, list) and len(raw) == 1:
        raw = raw[0]
    return float(raw) if isinstance(raw, (int, float)) else None


def _mean(values: list[float | str]) -> float | str:
    numbers = [value for value in values if not isinstance(value, str)]
    return sum(numbers) / len(numbers) if numbers else values[0]
