"""What a paper states, as frozen data: tables, claims, figures, single quantities and equations.

Cells are kept as printed; `Quantity` says what they mean. Files are read by `loader`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from alice_repro.errors import UserError, unknown_name
from alice_repro.papers.quantity import MARKS, Quantity, parse_quantity

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("name", "number", "text")


@dataclass(frozen=True)
class Column:
    """A column: `kind` is "name" (labels the row), "number" (each cell parses or is missing) or "text".

    unit: of every cell, "" if none; exact: a count, not rounded; group: the heading printed above several
    columns.
    """

    key: str
    label: str
    unit: str = ""
    kind: str = "number"
    higher_is_better: bool | None = None
    exact: bool = False
    group: str = ""


@dataclass(frozen=True)
class Damage:
    """Cells read from damaged text: a cell, or a whole row or column where the other is None."""

    why: str
    row: int | None = None
    column: str | None = None


@dataclass(frozen=True)
class Table:
    """A printed table: `rows[i][j]` are the characters of row i under `columns[j]`.

    label_columns: whose cells name a row (by default the "name" columns); footnotes: mark -> text; arms: name
    of an experiment's arm ("teacher-50") -> label of its row, or key of its column where methods stand side
    by side.
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
        i, j = self._row_index(row), self._column_index(column)
        quantity = parse_quantity(self.rows[i][j], exact=self.columns[j].exact)
        why = [d.why for d in self.damaged if d.row in (None, i) and d.column in (None, column)]
        return replace(quantity, damaged="; ".join(why))

    def column(self, key: str) -> tuple[Quantity, ...]:
        """All cells of a column, top to bottom."""
        return tuple(self.cell(row, key) for row in range(len(self.rows)))

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

    def _row_index(self, row: int | str) -> int:
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


@dataclass(frozen=True)
class Claim:
    """A comparison that the paper asserts: on `endpoint`, arm `better` beats each arm in `worse`.

    because: the cause that the paper gives, if any; tables: ids of those that carry it; experiment: the
    command that tests it; not_testable: why nothing here can test it, "" if something can.
    """

    id: str
    quote: str
    place: str
    endpoint: str
    better: str
    worse: tuple[str, ...]
    experiment: str = ""
    not_testable: str = ""
    because: str = ""
    tables: tuple[str, ...] = ()

    @property
    def testable(self) -> bool:
        """Whether a command of this project tests it."""
        return not self.not_testable


@dataclass(frozen=True)
class Plot:
    """A column of a table that a figure draws."""

    table: str
    column: str


@dataclass(frozen=True)
class Figure:
    """A figure: what it is said to show, and the table columns that it draws."""

    id: str
    number: int
    place: str
    caption: str
    content: str
    plots: tuple[Plot, ...] = ()


@dataclass(frozen=True)
class Statement:
    """A number stated in running text. `name` says of what; one name in several places is one quantity."""

    id: str
    name: str
    quantity: Quantity
    place: str
    quote: str


@dataclass(frozen=True)
class Equation:
    """A numbered equation; `latex` as in the paper's source, "" where the text lost it."""

    id: str
    number: int
    place: str
    latex: str = ""


@dataclass(frozen=True)
class Paper:
    """One paper's record. Look-ups take an id, or a number where the paper numbers the thing."""

    id: str
    title: str
    arxiv: str = ""
    date: str = ""
    authors: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    claims: tuple[Claim, ...] = ()
    figures: tuple[Figure, ...] = ()
    quantities: tuple[Statement, ...] = ()
    equations: tuple[Equation, ...] = ()

    def table(self, name: int | str) -> Table:
        """Table by number (4) or id ("table04")."""
        return self._find("table", name, self.tables)

    def figure(self, name: int | str) -> Figure:
        """Figure by number or id."""
        return self._find("figure", name, self.figures)

    def equation(self, name: int | str) -> Equation:
        """Equation by number or id."""
        return self._find("equation", name, self.equations)

    def claim(self, name: str) -> Claim:
        """Claim by id."""
        return self._find("claim", name, self.claims)

    def quantity(self, name: str) -> Statement:
        """Quantity stated in the text, by id."""
        return self._find("quantity", name, self.quantities)

    def _find(self, what: str, name: int | str, entries: tuple[_Entry, ...]) -> _Entry:
        field_name = "number" if isinstance(name, int) else "id"
        for entry in entries:
            if getattr(entry, field_name, None) == name:
                return entry
        known = [str(getattr(entry, field_name)) for entry in entries]
        raise unknown_name(f"{what} of paper {self.id!r}", str(name), known)


_Entry = TypeVar("_Entry", Table, Figure, Equation, Claim, Statement)


def _unmarked(label: str) -> str:
    return "".join(character for character in label if character not in MARKS).strip()


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")
