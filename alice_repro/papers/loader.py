"""Strict reading of a document's TOML file. Anything unknown, missing, doubled or unreadable is a UserError.

The format (`alice.toml` is a full example; `?` marks what may be left out; expressions: see `expressions`):

    [paper]      id, title, of? (the paper that a review or release is about), source?, arxiv?, date?, authors?
    [[table]]    id, number, place, caption, columns, rows, label_columns?, footnotes?, arms?, unplaced?, damaged?,
                 benchmark? ("vbench", "vbench-i2v", "vbench-2.0"), total_row?, rules?, samples?, about?
                 columns: key, label, kind ("name", "number", "text"), role? (see `table.ROLES`), unit?, exact?,
                 group?, higher_is_better?, benchmark?, measures?, about? ("{row}": slug of the row's label)
                 rows: lists of strings, the cells as printed; damaged: why, row? (from 0), column?
                 rules: a comparison of column keys, or rule, rows?, basis? ("definition" or "stated")
                 samples: columns, rows?, sizes (a list of readings), unit, why; about: row, column, states
    [[sentence]] place, quote, values: id, printed, about? (the quantity, where others state it too), exact?, damaged?
    [[relation]] id, place, readings (comparisons; one must hold), basis ("stated", "implied"), quote?, why?,
                 word? (of the quote, without a size of its own, that the readings put a number to: "small")
    [[count]]    id, place, quote, stated (a quantity's id), items (what the sentence lists, as printed)
    [[ranking]]  id, quote, place, table, better (rows), worse (rows, [] for all others), columns, demand?
                 ("each" or "most")
    [[claim]]    id, quote, place, endpoint, better, worse, testable (true, or why not), experiment?,
                 because?, tables?
    [[figure]]   id, number, place, caption, content, plots? (table, column)
    [[equation]] id, number, place, latex?, says?, damaged?
    [[model]], [[timing]], [[budget]], [[overhead]]   see `facts`
    [[note]]     id, date, quotes (document, place, quote), reading
    [[lost]]     id, place, quote, why
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from alice_repro.errors import UserError, unknown_name
from alice_repro.files import read_toml
from alice_repro.papers.checks import Malformed, check_keys, check_slug, check_unique, strings
from alice_repro.papers.expressions import Name, Node, names
from alice_repro.papers.facts import read_budget, read_model, read_overhead, read_timing
from alice_repro.papers.read_sections import (
    check_references,
    read_claim,
    read_count,
    read_equation,
    read_figure,
    read_lost,
    read_note,
    read_ranking,
    read_relation,
    read_sentences,
)
from alice_repro.papers.read_table import read_table
from alice_repro.papers.record import Paper

_FOLDER = Path(__file__).parent
_NO_RECORDS = ("hardware",)
_SECTIONS = {
    "table": ("tables", read_table),
    "claim": ("claims", read_claim),
    "figure": ("figures", read_figure),
    "relation": ("relations", read_relation),
    "count": ("counts", read_count),
    "ranking": ("rankings", read_ranking),
    "equation": ("equations", read_equation),
    "model": ("models", read_model),
    "timing": ("timings", read_timing),
    "budget": ("budgets", read_budget),
    "overhead": ("overheads", read_overhead),
    "note": ("notes", read_note),
    "lost": ("lost", read_lost),
}
_T = TypeVar("_T")


def available_documents() -> tuple[str, ...]:
    """Ids of all records that are shipped: papers, their reviews, what their authors released."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml") if path.stem not in _NO_RECORDS))


def available_papers() -> tuple[str, ...]:
    """Ids of the papers whose record is shipped."""
    return tuple(document for document in available_documents() if "_" not in document)


def companions(paper: str) -> tuple[Paper, ...]:
    """The records of documents about a paper, by their file names: "alice_review" is about "alice"."""
    return tuple(load_paper(document) for document in available_documents() if document.startswith(f"{paper}_"))


@cache
def load_paper(paper: str) -> Paper:
    """The shipped record of a document, for example "alice" or "alice_review".

    Raises:
        UserError: no such document.
    """
    if paper not in available_documents():
        raise unknown_name("paper", paper, available_documents())
    return load_paper_file(_FOLDER / f"{paper}.toml")


def load_paper_file(path: str | Path) -> Paper:
    """Read a record from a file of the user's own, by the same rules.

    Raises:
        UserError: naming the file, the key and the reason.
    """
    raw = read_toml(path)
    try:
        return _paper(raw)
    except Malformed as error:
        raise UserError(f"{path}: {error}") from None


def _paper(raw: dict[str, Any]) -> Paper:
    check_keys(raw, "top level", {"paper": dict}, dict.fromkeys([*_SECTIONS, "sentence"], list))
    optional = {"arxiv": str, "date": str, "authors": list, "of": str, "source": str}
    head = check_keys(raw["paper"], "paper", {"id": str, "title": str}, optional)
    check_slug(head["id"], "paper.id")
    sections = {field: _entries(raw, section, read) for section, (field, read) in _SECTIONS.items()}
    quantities = read_sentences(raw.get("sentence", []))
    check_unique([quantity.id for quantity in quantities], "sentence", "id")
    authors = strings(head.get("authors", []), "paper.authors")
    paper = Paper(**head | {"authors": authors, "quantities": quantities} | sections)
    paper = check_references(paper)
    _check_names(paper)
    return paper


def _entries(raw: dict[str, Any], section: str, read: Callable[[dict[str, Any], str], _T]) -> tuple[_T, ...]:
    """Read each [[section]] entry; an error names it by its id where it has one."""
    entries = []
    for i, entry in enumerate(raw.get(section, [])):
        named = isinstance(entry, dict) and isinstance(entry.get("id"), str)
        where = f"{section}[{i}]" + (f" {entry['id']!r}" if named else "")
        entries.append(read(entry, where))
        check_slug(entry["id"], f"{where}.id")
    for name in ("id", "number"):
        check_unique([e[name] for e in raw.get(section, []) if name in e], section, name)
    return tuple(entries)


def _check_names(paper: Paper) -> None:
    """Every name in an expression must stand for something, here or in the document that it names."""
    for where, nodes in _expressions(paper):
        for name in (name for node in nodes for name in names(node)):
            try:
                _check_name(paper, name)
            except UserError as error:
                raise Malformed(where, str(error)) from None


def _check_name(paper: Paper, name: Name) -> None:
    document = load_paper(name.document) if name.document else paper
    if not document.value(name).is_number:
        raise UserError(f"{name.id!r} {name.row} {name.column} is no number")


def _expressions(paper: Paper) -> list[tuple[str, list[Node]]]:
    found = [(f"relation {r.id!r}", list(r.readings)) for r in paper.relations]
    found += [(f"timing {t.id!r}", [t.steps, t.seconds]) for t in paper.timings]
    found += [(f"model {m.id!r}", [m.parameters]) for m in paper.models if m.parameters]
    found += [(f"overhead {o.id!r}", [o.ratio]) for o in paper.overheads]
    for budget in paper.budgets:
        stages = [node for stage in budget.stages for node in (stage.steps, stage.batch)]
        found.append((f"budget {budget.id!r}", [budget.hours, *stages]))
    for table in paper.tables:
        found += [(f"{table.id}.samples", list(sample.sizes)) for sample in table.samples]
    return found
