"""What a document states, as frozen data: tables, sentences' numbers, relations, claims, figures, equations, facts.

Cells are kept as printed; `Quantity` says what they mean. Files are read by `loader`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from alice_repro.errors import unknown_name
from alice_repro.papers.expressions import Comparison, Name
from alice_repro.papers.facts import Budget, Model, Overhead, Timing
from alice_repro.papers.quantity import Quantity
from alice_repro.papers.table import Table


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
    """A number stated in running text. `about` names the quantity: one name in several places is one quantity."""

    id: str
    about: str
    quantity: Quantity
    place: str
    quote: str


@dataclass(frozen=True)
class Relation:
    """Arithmetic between printed numbers. It holds if any of the `readings` does.

    basis: "stated" if the document says it, "implied" if it follows from what the quantities are; quote: the
    sentence, where one states it; why: the reason of an implied one; word: the word of the quote that the readings
    put a number to, where it has none of its own ("small", "comparable"), else "".
    """

    id: str
    place: str
    readings: tuple[Comparison, ...]
    basis: str
    quote: str = ""
    why: str = ""
    word: str = ""


@dataclass(frozen=True)
class Count:
    """A sentence that says how many things it lists: `stated` (a quantity's id) against the `items` as printed."""

    id: str
    place: str
    quote: str
    stated: str
    items: tuple[str, ...]


@dataclass(frozen=True)
class Ranking:
    """A superlative about a table: each row in `better` beats each in `worse` on the `columns`.

    demand: "each" (on every column) or "most" (on more than half of them).
    """

    id: str
    quote: str
    place: str
    table: str
    better: tuple[int, ...]
    worse: tuple[int, ...]
    columns: tuple[str, ...]
    demand: str = "each"


@dataclass(frozen=True)
class Equation:
    """A numbered equation; `latex` as in the paper's source, "" where the text lost it.

    says: what the text claims of it; damaged: what the extraction did to it, "" if nothing.
    """

    id: str
    number: int
    place: str
    latex: str = ""
    says: str = ""
    damaged: str = ""


@dataclass(frozen=True)
class Quote:
    """Words of a document ("alice", "alice_release") at a place."""

    document: str
    place: str
    quote: str


@dataclass(frozen=True)
class Note:
    """What a person read and no rule computes: two or more quotes that do not fit, and why."""

    id: str
    date: str
    quotes: tuple[Quote, ...]
    reading: str


@dataclass(frozen=True)
class Lost:
    """A passage of which the extraction lost something: nothing can be said of it but "check the PDF"."""

    id: str
    place: str
    quote: str
    why: str


@dataclass(frozen=True)
class Mention:
    """A place at which a quantity is stated: a sentence's number (id) or a table's cell ("table04[Sora2*].vbench")."""

    document: str
    id: str
    place: str
    quote: str
    quantity: Quantity


@dataclass(frozen=True)
class Paper:
    """One document's record. Look-ups take an id, or a number where the paper numbers the thing.

    of: id of the paper that this document is about (a review, a release), "" for a paper itself.
    """

    id: str
    title: str
    of: str = ""
    source: str = ""
    arxiv: str = ""
    date: str = ""
    authors: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    claims: tuple[Claim, ...] = ()
    figures: tuple[Figure, ...] = ()
    quantities: tuple[Statement, ...] = ()
    relations: tuple[Relation, ...] = ()
    counts: tuple[Count, ...] = ()
    rankings: tuple[Ranking, ...] = ()
    equations: tuple[Equation, ...] = ()
    models: tuple[Model, ...] = ()
    timings: tuple[Timing, ...] = ()
    budgets: tuple[Budget, ...] = ()
    overheads: tuple[Overhead, ...] = ()
    notes: tuple[Note, ...] = ()
    lost: tuple[Lost, ...] = ()

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

    def value(self, name: Name) -> Quantity:
        """What a name in this document's expressions stands for (see `expressions`), K, M and B multiplied in.

        Raises:
            UserError: no such quantity, table, row or column.
        """
        if name.row:
            return self.table(name.id).cell(name.row, name.column).scaled()
        return self.quantity(name.id).quantity.scaled()

    def mentions(self) -> Mapping[str, tuple[Mention, ...]]:
        """`about` -> every number in this document that states it."""
        found: dict[str, list[Mention]] = {}
        for statement in self.quantities:
            mention = Mention(self.id, statement.id, statement.place, statement.quote, statement.quantity)
            found.setdefault(statement.about, []).append(mention)
        for table in self.tables:
            for (row, column), about in table.about.items():
                cell = table.cell(row, column)
                place = f"{table.id}[{table.labels[row] or f'#{row}'}].{column}"
                if cell.is_number:
                    found.setdefault(about, []).append(Mention(self.id, place, table.place, cell.printed, cell))
        return {about: tuple(mentions) for about, mentions in found.items()}

    def _find(self, what: str, name: int | str, entries: tuple[_Entry, ...]) -> _Entry:
        field_name = "number" if isinstance(name, int) else "id"
        for entry in entries:
            if getattr(entry, field_name, None) == name:
                return entry
        known = [str(getattr(entry, field_name)) for entry in entries]
        raise unknown_name(f"{what} of paper {self.id!r}", str(name), known)


_Entry = TypeVar("_Entry", Table, Figure, Equation, Claim, Statement)
