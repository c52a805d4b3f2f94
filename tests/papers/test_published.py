"""The records of all documents: complete tables with golden cells, one key a quantity, arithmetic that resolves."""

from __future__ import annotations

from collections import Counter

import pytest

from alice_repro.papers import (
    Name,
    Paper,
    available_documents,
    available_papers,
    companions,
    evaluate,
    gpus,
    load_paper,
    names,
    parse_expression,
)

# Rows, columns and cells (row, column, printed) of the tables of AVD (an OCR) and of DFD, arXiv:2606.18478.
PRINTED = {
    ("avd", 1): (12, 14, [("Teacher / 1.3B", "steps", "50x2"), ("Ours / 14B", "vbench1-total", "82.57")]),
    ("avd", 2): (6, 6, [("Teacher", "instance", "92.39"), ("+TR+RegLoss", "dynamic", "78.61")]),
    ("dfd", 1): (4, 13, [("Teacher", "subject", "0.956"), ("Ours", "trajectory", "19.256")]),
    ("dfd", 2): (4, 9, [("Teacher", "subject", "0.9616"), ("DP-DMD", "i2v-background", "0.9520")]),
    ("dfd", 3): (2, 9, [("#0", "average", "0.9303"), ("#1", "average", "0.9316")]),
    ("dfd", 4): (12, 7, [("Num. of Frame", "cosmos-dmd2", "81"), ("Total Iterations", "cosmos-dfd", "300")]),
    ("dfd", 5): (4, 9, [("Teacher", "subject", "0.9340"), ("Ours", "average", "0.9207")]),
    ("dfd", 6): (2, 8, [("w/o GAN", "dynamic", "0.5000"), ("w GAN", "imaging", "0.7210")]),
    ("dfd", 7): (2, 8, [("#0", "dynamic", "0.5625"), ("#1", "imaging", "0.7210")]),
}
DOCUMENTS = available_documents()


def family(paper: str) -> list[Paper]:
    return [load_paper(paper), *companions(paper)]


def point(document: Paper):
    """Values of names as single numbers; a range counts as its middle."""

    def value(name: Name) -> float:
        found = (load_paper(name.document) if name.document else document).value(name)
        return (found.low + found.high) / 2 if found.value is None else found.value

    return value


def test_documents() -> None:
    assert available_papers() == ("alice", "avd", "dfd")
    assert [record.id for record in companions("alice")] == ["alice_release", "alice_review"]
    assert [record.id for record in companions("dfd")] == ["dfd_release", "dfd_review"]
    assert [record.id for record in companions("avd")] == ["avd_release"]
    for document in DOCUMENTS:
        record = load_paper(document)
        assert (record.id, record.of) == (document, document.partition("_")[0] if "_" in document else "")


@pytest.mark.parametrize(
    ("paper", "tables", "figures", "equations"), [("alice", 12, 8, 9), ("avd", 2, 15, 9), ("dfd", 7, 10, 26)]
)
def test_everything_numbered_is_there(paper: str, tables: int, figures: int, equations: int) -> None:
    record = load_paper(paper)
    for entries, count in ((record.tables, tables), (record.figures, figures), (record.equations, equations)):
        assert [entry.number for entry in entries] == list(range(1, count + 1))
    assert all(equation.says for equation in record.equations)
    assert all(equation.latex or equation.damaged for equation in record.equations)
    assert len(record.claims) >= 10


@pytest.mark.parametrize(("paper", "number"), PRINTED)
def test_each_table_is_complete(paper: str, number: int) -> None:
    rows, columns, cells = PRINTED[paper, number]
    table = load_paper(paper).table(number)
    assert (len(table.rows), len(table.columns)) == (rows, columns)
    for row, column, printed in cells:
        assert table.cell(row, column).printed == printed


def test_damage_is_marked() -> None:
    avd, dfd = load_paper("avd"), load_paper("dfd")
    restored = avd.table(1).cell("PCM / 1.3B", "human-fidelity")  # "8148" in the text
    assert restored.value == 81.48 and "check the PDF" in restored.damaged
    assert not avd.table(1).cell("Teacher / 1.3B", "human-fidelity").damaged
    assert avd.table(2).cell("Full+VIF", "dynamic").damaged
    assert avd.quantity("learning-rate").quantity.damaged
    assert dfd.table(4).cell("Diversity weights", "wan-dp-dmd").damaged
    assert all(cell.damaged for cell in dfd.table(7).column("model")) and not dfd.table(7).cell(0, "dynamic").damaged
    assert all(equation.damaged and not equation.latex for equation in dfd.equations)
    for document in DOCUMENTS:
        for table in load_paper(document).tables:
            assert all("check the PDF" in damage.why for damage in table.damaged), table.id


@pytest.mark.parametrize("paper", available_papers())
def test_a_shared_key_is_shared(paper: str) -> None:
    """`about` is written where a quantity is stated elsewhere too, and only there; nothing states it alone."""
    counts = Counter(about for record in family(paper) for about, m in record.mentions().items() for _ in m)
    for record in family(paper):
        for statement in record.quantities:
            if statement.about != statement.id:
                assert counts[statement.about] > 1, statement.id


def test_mentions_join_text_and_tables() -> None:
    mentions = load_paper("alice").mentions()["seconds.h100-80gb.alice-v1"]
    ids = {mention.id for mention in mentions}
    assert {"abstract-time", "table04[Alice v1].time", "table09[4].time", "table10[H100 80GB].student"} <= ids
    assert {mention.quantity.value for mention in mentions} == {8.0}
    release = load_paper("alice_release").mentions()["architecture.hidden"]
    assert {mention.quantity.value for mention in release} == {4096.0, 5120.0}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_sentence_states_a_number_twice(document: str) -> None:
    """Each number once: one quantity for one printed number at one place in a quote."""
    record = load_paper(document)
    for quote in {statement.quote for statement in record.quantities}:
        printed = [statement.quantity.printed for statement in record.quantities if statement.quote == quote]
        for text, count in Counter(printed).items():
            assert quote.count(text) >= count, quote


@pytest.mark.parametrize("document", DOCUMENTS)
def test_expressions_can_be_computed(document: str) -> None:
    record = load_paper(document)
    nodes = [side for relation in record.relations for r in relation.readings for side in (r.left, r.right)]
    nodes += [node for timing in record.timings for node in (timing.steps, timing.seconds)]
    nodes += [size for table in record.tables for sample in table.samples for size in sample.sizes]
    nodes += [stage.steps for budget in record.budgets for stage in budget.stages]
    assert all(evaluate(node, point(record)) >= 0 for node in nodes)
    models = {model.id for record in map(load_paper, DOCUMENTS) for model in record.models}
    assert {entry.model for entry in (*record.timings, *record.budgets)} <= models


def test_row_rules_on_golden_rows() -> None:
    for paper, number, row, left, right in [
        ("alice", 11, "Total", 7.2, 7.2),
        ("alice", 6, "vs Veo3 (API)", 100.0, 100.0),
        ("alice", 10, "A100 40GB", 7.1, 100 / 14),
        ("dfd", 2, "Teacher", 0.9285, 6.4998 / 7),
    ]:
        table = load_paper(paper).table(number)
        (rule,) = table.rules
        assert table.row_index(row) in rule.rows
        cells = {name: table.cell(row, name.id).value for name in names(rule.rule)}
        sides = [evaluate(side, cells.__getitem__) for side in (rule.rule.left, rule.rule.right)]
        assert sides == pytest.approx([left, right])


@pytest.mark.parametrize(
    ("document", "relation", "left", "right"),
    [
        ("alice", "generation-cost", 17000, 60e6 / 3600),
        ("alice", "real-components", 130e3, 130e3),
        ("alice", "training-cost", 40000, 64 * 4 * 168),
        ("alice", "preference-judgements", 3000, 3000),
        ("alice", "seconds-per-step", 2.0, 1.2),
        ("avd", "interpolated-length", 21, 21),
        ("dfd", "post-training-of-i2v", 75, 300),
        ("alice_release", "frames-of-example", 81, 120),
        ("alice_review", "rebuttal-frames", 5e6, 36e6),
    ],
)
def test_relations_on_golden_values(document: str, relation: str, left: float, right: float) -> None:
    record = load_paper(document)
    (found,) = (entry for entry in record.relations if entry.id == relation)
    reading = found.readings[0]
    sides = [evaluate(side, point(record)) for side in (reading.left, reading.right)]
    assert sides == pytest.approx([left, right])
    assert (found.basis == "stated") == bool(found.quote)


def test_counts_and_rankings() -> None:
    avd, dfd = load_paper("avd"), load_paper("dfd")
    (thresholds,) = (count for count in avd.counts if count.id == "clipping-thresholds")
    assert avd.quantity(thresholds.stated).quantity.value == 3 and len(thresholds.items) == 4
    (large,) = (ranking for ranking in dfd.rankings if ranking.id == "large-batch")
    assert (large.table, large.better, large.worse, large.demand) == ("table03", (1,), (0,), "each")
    (gains,) = (ranking for ranking in load_paper("alice").rankings if ranking.id == "largest-gains-of-all")
    assert len(gains.better) == 2 and len(gains.worse) == 14  # the total row is no dimension


def test_notes_quote_documents_that_exist() -> None:
    for document in DOCUMENTS:
        for note in load_paper(document).notes:
            assert {quote.document for quote in note.quotes} <= set(DOCUMENTS), note.id


def test_every_named_column_exists_in_its_benchmark_table() -> None:
    for document in DOCUMENTS:
        for table in load_paper(document).tables:
            for column in table.columns:
                if column.role in ("dimension", "category", "total"):
                    assert column.benchmark or table.benchmark, (table.id, column.key)
            for rule in table.rules:
                assert {name.id for name in names(rule.rule)} <= set(table.keys)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_markdown_has_every_cell(document: str) -> None:
    for table in load_paper(document).tables:
        lines = table.to_markdown().splitlines()
        assert [line[2:-2].split(" | ") for line in lines[2:]] == [list(row) for row in table.rows], table.id


def test_hardware() -> None:
    assert gpus()["h100-sxm-80gb"].peaks["bf16"] == 989.4  # dense; the datasheet's 1,979 is with sparsity
    assert gpus()["a100-40gb"].memory == 40 and "fp8" not in gpus()["a100-80gb"].peaks
    assert all(gpu.source and gpu.bandwidth > 0 for gpu in gpus().values())


def test_models() -> None:
    stated, public = load_paper("alice").models
    assert (stated.hidden, stated.mlp, stated.heads, stated.experts) == (4096, 16384, 32, 1)
    assert (public.hidden, public.mlp, public.heads, public.experts) == (5120, 13824, 40, 2)
    assert stated.hidden % stated.heads == 0 and evaluate(stated.parameters, point(load_paper("alice"))) == 14e9
    assert parse_expression("4") == load_paper("avd").timings[1].steps
