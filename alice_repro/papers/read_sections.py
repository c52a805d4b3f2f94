"""Strict reading of the entries other than tables and facts; their format stands in `loader`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from alice_repro.errors import UserError
from alice_repro.papers.checks import Malformed, check_keys, check_known, check_slug, comparison, strings
from alice_repro.papers.quantity import parse_quantity
from alice_repro.papers.record import (
    Claim,
    Count,
    Equation,
    Figure,
    Lost,
    Note,
    Paper,
    Plot,
    Quote,
    Ranking,
    Relation,
    Statement,
)


def read_claim(raw: dict[str, Any], where: str) -> Claim:
    """Check a [[claim]] entry."""
    required = {"id": str, "quote": str, "place": str, "endpoint": str, "better": str, "worse": list}
    optional = {"experiment": str, "because": str, "tables": list}
    fields = check_keys(raw, where, required | {"testable": bool | str}, optional)
    testable = fields.pop("testable")
    if testable in (False, ""):
        raise Malformed(f"{where}.testable", "say true, or a string with the reason why not")
    if testable is True and not fields.get("experiment"):
        raise Malformed(f"{where}.experiment", "missing; a testable claim names the command that tests it")
    worse = strings(fields["worse"], f"{where}.worse")
    if not worse:
        raise Malformed(f"{where}.worse", "names no arm")
    tables = strings(fields.get("tables", []), f"{where}.tables")
    fields |= {"worse": worse, "tables": tables, "not_testable": "" if testable is True else testable}
    return Claim(**fields)


def read_figure(raw: dict[str, Any], where: str) -> Figure:
    """Check a [[figure]] entry."""
    required = {"id": str, "number": int, "place": str, "caption": str, "content": str}
    fields = check_keys(raw, where, required, {"plots": list})
    plots = [
        Plot(**check_keys(plot, f"{where}.plots[{i}]", {"table": str, "column": str}, {}))
        for i, plot in enumerate(fields.get("plots", []))
    ]
    return Figure(**fields | {"plots": tuple(plots)})


def read_sentences(raw: list[Any]) -> tuple[Statement, ...]:
    """Check the [[sentence]] entries; each of their values becomes a statement."""
    statements = []
    for i, entry in enumerate(raw):
        where = f"sentence[{i}]"
        sentence = check_keys(entry, where, {"place": str, "quote": str, "values": list}, {})
        for j, value in enumerate(sentence["values"]):
            statements.append(_statement(value, sentence, f"{where}.values[{j}]"))
    return tuple(statements)


def _statement(raw: Any, sentence: dict[str, Any], where: str) -> Statement:
    fields = check_keys(raw, where, {"id": str, "printed": str}, {"about": str, "exact": bool, "damaged": str})
    where = f"{where} {fields['id']!r}"
    check_slug(fields["id"], f"{where}.id")
    about = fields.get("about", fields["id"])
    check_slug(about, f"{where}.about")
    printed = fields["printed"]
    if printed not in sentence["quote"]:
        raise Malformed(f"{where}.printed", f"{printed!r} does not occur in the quote")
    quantity = parse_quantity(printed, exact=fields.get("exact", False))
    if not quantity.is_number:
        raise Malformed(f"{where}.printed", f"{printed!r} is not a number")
    quantity = replace(quantity, damaged=fields.get("damaged", ""))
    return Statement(fields["id"], about, quantity, sentence["place"], sentence["quote"])


def read_relation(raw: dict[str, Any], where: str) -> Relation:
    """Check a [[relation]] entry."""
    required = {"id": str, "place": str, "readings": list, "basis": str}
    fields = check_keys(raw, where, required, {"quote": str, "why": str, "word": str})
    if fields["basis"] not in ("stated", "implied"):
        raise Malformed(f"{where}.basis", f"{fields['basis']!r} is neither 'stated' nor 'implied'")
    missing = {"stated": "quote", "implied": "why"}[fields["basis"]]
    if not fields.get(missing) or not fields["readings"]:
        raise Malformed(f"{where}.{missing if fields['readings'] else 'readings'}", "missing")
    if fields.get("word", "") not in fields.get("quote", ""):
        raise Malformed(f"{where}.word", f"{fields['word']!r} does not occur in the quote")
    readings = tuple(comparison(text, f"{where}.readings[{i}]") for i, text in enumerate(fields["readings"]))
    return Relation(**fields | {"readings": readings})


def read_count(raw: dict[str, Any], where: str) -> Count:
    """Check a [[count]] entry; that `stated` exists is left to `check_references`."""
    fields = check_keys(raw, where, dict.fromkeys(("id", "place", "quote", "stated"), str) | {"items": list}, {})
    for item in strings(fields["items"], f"{where}.items"):
        if item not in fields["quote"]:
            raise Malformed(f"{where}.items", f"{item!r} does not occur in the quote")
    return Count(**fields | {"items": tuple(fields["items"])})


def read_ranking(raw: dict[str, Any], where: str) -> Ranking:
    """Check a [[ranking]] entry; `better` and `worse` keep their labels until `check_references`."""
    texts = dict.fromkeys(("id", "quote", "place", "table"), str)
    lists = dict.fromkeys(("better", "worse", "columns"), list)
    fields = check_keys(raw, where, texts | lists, {"demand": str})
    check_known(fields.get("demand", "each"), ("each", "most"), f"{where}.demand")
    return Ranking(**fields | {key: tuple(fields[key]) for key in lists})


def read_equation(raw: dict[str, Any], where: str) -> Equation:
    """Check an [[equation]] entry."""
    optional = dict.fromkeys(("latex", "says", "damaged"), str)
    return Equation(**check_keys(raw, where, {"id": str, "number": int, "place": str}, optional))


def read_note(raw: dict[str, Any], where: str) -> Note:
    """Check a [[note]] entry."""
    fields = check_keys(raw, where, {"id": str, "date": str, "quotes": list, "reading": str}, {})
    keys = dict.fromkeys(("document", "place", "quote"), str)
    quotes = [Quote(**check_keys(q, f"{where}.quotes[{i}]", keys, {})) for i, q in enumerate(fields["quotes"])]
    if len(quotes) < 2:
        raise Malformed(f"{where}.quotes", "a reading sets at least two quotes against each other")
    return Note(**fields | {"quotes": tuple(quotes)})


def read_lost(raw: dict[str, Any], where: str) -> Lost:
    """Check a [[lost]] entry."""
    return Lost(**check_keys(raw, where, dict.fromkeys(("id", "place", "quote", "why"), str), {}))


def check_references(paper: Paper) -> Paper:
    """Tables, columns, rows and models that other entries name must exist; rankings get row indices."""
    keys = {table.id: table.keys for table in paper.tables}
    for claim in paper.claims:
        for table in claim.tables:
            check_known(table, keys, f"claim {claim.id!r}.tables")
    for figure in paper.figures:
        for plot in figure.plots:
            check_known(plot.table, keys, f"figure {figure.id!r}.plots")
            check_known(plot.column, keys[plot.table], f"figure {figure.id!r}.plots")
    models = [model.id for model in paper.models]
    for model in paper.models:
        check_known(model.like or model.id, models, f"model {model.id!r}.like")
    for what in ("timings", "budgets", "overheads"):
        for fact in getattr(paper, what):
            check_known(fact.model, models, f"{what.removesuffix('s')} {fact.id!r}.model")
    for count in paper.counts:
        check_known(count.stated, [quantity.id for quantity in paper.quantities], f"count {count.id!r}.stated")
    for ranking in paper.rankings:
        check_known(ranking.table, keys, f"ranking {ranking.id!r}.table")
        for column in ranking.columns:
            check_known(column, keys[ranking.table], f"ranking {ranking.id!r}.columns")
    return replace(paper, rankings=tuple(_with_rows(ranking, paper) for ranking in paper.rankings))


def _with_rows(ranking: Ranking, paper: Paper) -> Ranking:
    table = paper.table(ranking.table)
    try:
        better = tuple(table.row_index(row) for row in ranking.better)
        worse = tuple(table.row_index(row) for row in ranking.worse)
    except UserError as error:
        raise Malformed(f"ranking {ranking.id!r}", str(error)) from None
    if not worse:
        worse = tuple(i for i in range(len(table.rows)) if i not in (*better, table.total_row))
    return replace(ranking, better=better, worse=worse)
