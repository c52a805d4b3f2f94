"""Tables of dimension scores as people have them: CSV in three shapes, score tables of ours, official result files."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from alice_repro.errors import UserError
from alice_repro.evaluation.index import SCORE_COLUMNS, measures, read_scores
from alice_repro.evaluation.official.results import official_scores
from alice_repro.evaluation.vbench import Suite, suites
from alice_repro.files import read_json

NOTHING = ("", "-", "--", "\u2013", "\u2014", "n/a", "na", "nan", "none", "null")
_NUMBER = re.compile(r"[+-]?(\d+(?:\.(\d*))?|\.(\d+))(?:e[+-]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Scores:
    """Scores by model and name, as written.

    Attributes:
        models: model -> name of a dimension, group or total -> number; None where there is none.
        unit: "percent" or "fraction" if the source leaves no doubt, and `unit_source` says why.
        decimals: model -> our name of a dimension or group -> printed decimals, where numbers came as text.
        measured: means of measurements, whose table may hold other metrics too.
    """

    models: dict[str, dict[str, float | None]]
    unit: str | None = None
    unit_source: str = ""
    decimals: dict[str, dict[str, int]] = field(default_factory=dict)
    measured: bool = False
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(name for cells in self.models.values() for name in cells))


def read_dimension_scores(source: str | Path | pd.DataFrame) -> Scores:
    """Read any of the shapes that `totals.recompute_totals` takes.

    Raises:
        UserError: the source is missing, damaged, or of no such shape; the message names it.
    """
    if isinstance(source, pd.DataFrame):
        if set(SCORE_COLUMNS) <= set(source.columns):
            return _means(source)
        return _from_cells(source.astype(object).map(_as_text), "the table")
    path = Path(source)
    if path.is_dir():
        files = sorted(path.rglob("*eval_results.json"))
        if not files:
            raise UserError(f"{path}: holds no *_eval_results.json")
        return _official(files, path.name)
    if path.suffix.lower() == ".json":
        return _official([path], path.stem)
    try:
        cells = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: not a readable CSV table ({error})") from error
    if set(SCORE_COLUMNS) <= set(cells.columns):
        return _means(read_scores(path))
    if cells.shape[1] == 2 and str(cells.columns[1]).strip().lower() in ("score", "scores", "value"):
        cells = cells.set_axis([cells.columns[0], path.stem], axis=1)  # one model, which has no name but the file's
    return _from_cells(cells, str(path))


def dimension_or_none(chosen: Suite, name: str) -> str | None:
    """Our name of a dimension of a suite; None if it has no such dimension."""
    try:
        return chosen.dimension(name).name
    except UserError:
        return None


def group_or_none(chosen: Suite, name: str) -> str | None:
    """ "total" or a group's name, if that is what a column is called; None if not."""
    key = "_".join(name.lower().replace("-", " ").replace("_", " ").split()).removesuffix("_score")
    return key if key == "total" or key in chosen.group_weights else None


def _known(name: str) -> bool:
    return any(dimension_or_none(one, name) or group_or_none(one, name) for one in suites())


def _from_cells(cells: pd.DataFrame, where: str) -> Scores:
    """A table of text, a model a column or a row; which, is told by where the dimensions' names stand."""
    if cells.shape[1] < 2 or cells.empty:
        raise UserError(f"{where}: a table needs a column of names, one of scores, and a row at least")
    first = [str(cell).strip() for cell in cells.iloc[:, 0]]
    header = [str(name).strip() for name in cells.columns]
    down, across = sum(map(_known, first)), sum(map(_known, header))
    if not down and not across:
        raise UserError(
            f"{where}: neither its first column nor its first line names dimensions, such as {header[-1]!r}"
        )
    if down >= across:
        body = {header[i]: list(cells.iloc[:, i]) for i in range(1, cells.shape[1])}
        names = first
    else:
        # Columns before the first known one name the model: "model", or "model,version".
        start = next(i for i, name in enumerate(header) if _known(name))
        labels = [
            " ".join(str(cells.iloc[r, i]).strip() for i in range(start)) or f"row {r + 1}" for r in range(len(cells))
        ]
        _require_unique(labels, f"{where}: model")
        body = {label: list(cells.iloc[r, start:]) for r, label in enumerate(labels)}
        names = header[start:]
    _require_unique(names, f"{where}: dimension")
    models: dict[str, dict[str, float | None]] = {}
    decimals: dict[str, dict[str, int]] = {}
    signs: set[bool] = set()
    for model, column in body.items():
        models[model], decimals[model] = {}, {}
        for name, cell in zip(names, column, strict=True):
            number, digits, percent = _cell(str(cell), f"{where}: {name} of {model}")
            models[model][name] = number
            if number is not None:
                signs.add(percent)
                decimals[model] |= {ours: digits for ours in _our_names(name)}
    if len(signs) > 1:
        raise UserError(f"{where}: some numbers have a percent sign and some have not; write all of them one way")
    unit = ("percent", "by its percent signs") if signs == {True} else (None, "")
    return Scores(models, *unit, decimals=decimals)


def _our_names(name: str) -> set[str]:
    found = {dimension_or_none(one, name) or group_or_none(one, name) for one in suites()}
    return {one for one in found if one}


def _cell(text: str, where: str) -> tuple[float | None, int, bool]:
    """Number, printed decimals, and whether it has a percent sign."""
    bare = text.strip().strip("*").strip()
    if bare.lower() in NOTHING:
        return None, 0, False
    percent = bare.endswith("%")
    bare = bare.removesuffix("%").strip()
    found = _NUMBER.fullmatch(bare)
    if not found:
        raise UserError(f"{where}: {text!r} is no number; leave the cell empty where there is none")
    exponent = int(bare.lower().partition("e")[2] or 0)
    digits = len(found[2] or found[3] or "")
    return float(bare), digits - exponent, percent


def _as_text(value: object) -> str:
    """Cells of a DataFrame; what is NaN or None is missing."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def _means(scores: pd.DataFrame) -> Scores:
    """Means of our score rows. Rows without a value do not count, and are told of."""
    arms = scores["arm"].fillna("").astype(str)
    notes, models = [], {}
    for arm in dict.fromkeys(arms):
        rows = scores[arms == arm]
        name = arm or "scores"
        means = {measure: rows[measure].mean() for measure in measures(scores)}
        models[name] = {measure: None if math.isnan(mean) else float(mean) for measure, mean in means.items()}
        for measure in measures(scores):
            missing = int(rows[measure].isna().sum())
            if 0 < missing < len(rows):
                notes.append(f"{name}: {measure} is the mean of {len(rows) - missing} of {len(rows)} videos")
    notes.append("means of the rows: the official code weighs subject and background consistency by frames")
    return Scores(models, "fraction", "as score tables have it", measured=True, notes=tuple(notes))


def _official(files: list[Path], model: str) -> Scores:
    """Official results: {dimension: [score, videos]}; a dimension in two files must have one score."""
    merged: dict[str, float | None] = {}
    for file in files:
        content = _lenient_json(file)
        if not isinstance(content, Mapping) or not content:
            raise UserError(f"{file}: not an official result file, {{dimension: [score, videos]}}")
        for name, score in official_scores(content).items():
            if name in merged and merged[name] != score:
                raise UserError(f"{file}: {name} has another score in another file of the folder")
            merged[name] = score
    return Scores({model: merged}, "fraction", "as official results have it", measured=True)


def _lenient_json(file: Path) -> object:
    """Official files may hold NaN, which is no JSON: it stands for a missing score here."""
    try:
        return read_json(file)
    except UserError:
        import json

        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{file}: malformed JSON: {error}") from error


def _require_unique(names: list[str], what: str) -> None:
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise UserError(f"{what} {twice[0]!r} stands twice")
