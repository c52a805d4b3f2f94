"""A printed table as data: its cells as printed, and what its columns and rows are to each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from alice_repro.errors import UserError, unknown_name
from alice_repro.papers.expressions import Comparison, Node
from alice_repro.papers.quantity import MARKS, Quantity, parse_quantity

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("name", "number", "text")
ROLES = {
    "dimension": "a benchmark's dimension: the label of a number column, or the cells of a name column",
    "category": "a benchmark's group of dimensions (VBench's quality score, VBench-2.0's creativity)",
    "total": "a benchmark's total",
    "average": "a plain mean of other columns",
    "score": "any other measured score",
    "baseline": "values of what is compared with (a teacher), a row for each dimension or setting",
    "new": "values of what is proposed, a row for each dimension or setting",
    "delta": "a difference of two columns",
    "ratio": "a quotient of two columns",
    "share": "a share of cases, in percent",
    "steps": "sampling steps",
    "seconds": "seconds per clip",
    "parameters": "parameters of a model",
    "resolution": "frame size, or frame size and frames",
    "hardware": "the machine on which a row was measured",
    "setting": "a setting of training or of an ablation",
}


@dataclass(frozen=True)
class Column:
    """A column: `kind` is "name" (labels the row), "number" (each cell parses or is missing) or "text".

    unit: of every cell, "" if none; exact: a count, not rounded; group: the heading printed above several
    columns; role: a key of ROLES; benchmark: whose dimension, category or total it is, "" for the table's;
    measures: the benchmark's own name of the dimension where the printed one differs; about: the quantity
    that each cell states, with "{row}" for the slug of the row's label.
    """

    key: str
    label: str
    unit: str = ""
    kind: str = "number"
    higher_is_better: bool | None = None
    exact: bool = False
    group: str = ""
    role: str = ""
    benchmark: str = ""
    measures: str = ""
    about: str = ""


@dataclass(frozen=True)
class Damage:
    """Cells read from damaged text: a cell, or a whole row or column where the other is None."""

    why: str
    row: int | None = None
    column: str | None = None


@dataclass(frozen=True)
class RowRule:
    """What holds within each row, over column keys: "delta = student - teacher", "win + tie + loss = 100".

    rows: indices of the rows that it governs; basis: "definition" if it follows from what the columns are
    called, "stated" if the paper says it.
    """

    rule: Comparison
    rows: tuple[int, ...]
    basis: str = "definition"


@dataclass(frozen=True)
class Sample:
    """How many cases stand behind printed shares or means: `sizes` holds an expression for each reading of the text.

    columns: keys; rows: indices; unit: of what ("judgements"); why: whence the sizes.
    """

    columns: tuple[str, ...]
    rows: tuple[int, ...]
    sizes: tuple[Node, ...]
    unit: str
    why: str


@dataclass(frozen=True)
class Table:
    """A printed table: `rows[i][j]` are the characters of row i under `columns[j]`.

    label_columns: whose cells name a row (by default the "name" columns); footnotes: mark -> text; arms: name
    of an experiment's arm ("teacher-50") -> label of its row, or key of its column where methods stand side
    by side; benchmark: of its dimensions and totals; total_row: index of the row that totals the others;
    about: (row, column key) -> the quantity that the cell states, columns' patterns filled in.
    """

    id: str
    number: int
    place: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    label_columns: tuple[str, ...]
    footnotes: Mapping[str, str] = field(default_factory=dict)
    arms: Mapping[str, str] = field(default_factory=dict)
    damaged: tuple[Damage, ...] = ()
    benchmark: str = ""
    total_row: int | None = None
    rules: tuple[RowRule, ...] = ()
    samples: tuple[Sample, ...] = ()
    about: Mapping[tuple[int, str], str] = field(default_factory=dict)
    unplaced: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns' keys, left to right."""
        return tuple(column.key for column in self.columns)

    @property
    def labels(self) -> tuple[str, ...]:
        """The rows' names as printed; several label columns are joined by " / "."""
        places = [self.keys.index(key) for key in self.label_columns]
        return tuple(" / ".join(row[place] for place in places) for row in self.rows)

    def cell(self, row: int | str, column: str) -> Quantity:
        """The cell in `row` (index from 0, or label with or without its footnote marks) under key `column`.

        Raises:
            UserError: no such row or column, or a label that several rows bear.
        """
        i, j = self.row_index(row), self._column_index(column)
        quantity = parse_quantity(self.rows[i][j], exact=self.columns[j].exact)
        why = [d.why for d in self.damaged if d.row in (None, i) and d.column in (None, column)]
        return replace(quantity, damaged="; ".join(why)) if why else quantity

    def column(self, key: str) -> tuple[Quantity, ...]:
        """All cells of a column, top to bottom."""
        return tuple(self.cell(row, key) for row in range(len(self.rows)))

    def with_role(self, role: str) -> tuple[Column, ...]:
        """The columns that play a role, left to right."""
        return tuple(column for column in self.columns if column.role == role)

    def row_index(self, row: int | str) -> int:
        """Index of a row given by its index, its label, or "#" and its index.

        Raises:
            UserError: no such row, or a label that several rows bear.
        """
        if isinstance(row, str) and re.fullmatch(r"#\d+", row):
            row = int(row[1:])
        if isinstance(row, int):
            if not 0 <= row < len(self.rows):
                raise UserError(f"{self.id}: no row {row}; rows are 0 to {len(self.rows) - 1}")
            return row
        found = [i for i, label in enumerate(self.labels) if label == row]
        found = found or [i for i, label in enumerate(self.labels) if _unmarked(label) == row]
        if len(found) > 1:
            raise UserError(f"{self.id}: rows {found} all bear the label {row!r}; give the row's index")
        if not found:
            raise unknown_name(f"row of {self.id}", row, self.labels)
        return found[0]

    def to_frame(self, printed: bool = False) -> pd.DataFrame:
        """A frame with the columns' keys: strings as printed, or number columns as float in their unit.

        NaN stands for a missing cell and for a printed range, which has no single value.
        """
        import pandas as pd

        frame = pd.DataFrame(list(self.rows), columns=list(self.keys), dtype=object)
        for column in () if printed else self.columns:
            if column.kind == "number":
                values = [cell.value for cell in self.column(column.key)]
                frame[column.key] = pd.Series(values, index=frame.index, dtype=float)
        return frame

    def to_markdown(self) -> str:
        """A pipe table of the printed labels and cells; backslashes and pipes inside a cell are escaped."""
        lines = [[column.label for column in self.columns], ["---"] * len(self.columns), *self.rows]
        return "".join("| " + " | ".join(_escape(text) for text in line) + " |\n" for line in lines)

    def _column_index(self, key: str) -> int:
        if key not in self.keys:
            raise unknown_name(f"column of {self.id}", key, self.keys)
        return self.keys.index(key)


def slug(label: str) -> str:
    """A row's label as part of a key: "H100 80GB" becomes "h100-80gb"."""
    return re.sub(r"[^a-z0-9.]+", "-", _unmarked(label).lower()).strip("-.")


def _unmarked(label: str) -> str:
    return "".join(character for character in label if character not in MARKS).strip()


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")
