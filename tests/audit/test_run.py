"""The audit from end to end: what the record gives, sorted; findings that follow the cells they are computed from."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path

import pytest

from alice_repro.audit import run
from alice_repro.audit.findings import CONSISTENT, IMPOSSIBLE, INCONSISTENT, SEVERITIES, Record
from alice_repro.audit.run import RULES, audit, load_records, reaches, report
from alice_repro.errors import UserError
from alice_repro.papers import companions, load_paper_file


@pytest.fixture(scope="module")
def whole():
    return audit(load_records())


def findings(path: Path) -> set[str]:
    paper = load_paper_file(path)
    return {finding.id for finding in audit([Record((paper, *companions(paper.id)))]).findings}


def test_every_entry_has_its_part(whole):
    assert {e.verdict for e in whole.findings} <= {INCONSISTENT, IMPOSSIBLE}
    assert {e.verdict for e in whole.sound} == {CONSISTENT}
    assert not {e.verdict for e in whole.notes} & {INCONSISTENT, IMPOSSIBLE, CONSISTENT}
    assert len({e.id for e in whole.entries}) == len(whole.entries)
    assert all(e.severity == "note" for e in whole.sound)


def test_the_most_severe_come_first(whole):
    ranks = [SEVERITIES.index(finding.severity) for finding in whole.findings]
    assert ranks == sorted(ranks)


def test_entries_are_complete(whole):
    for entry in whole.entries:
        assert entry.id.startswith(f"{entry.paper}.") and entry.place and entry.rule and entry.explanation, entry.id
        assert entry.rule.partition(".")[0] in RULES, entry.id
        if entry.verdict in (INCONSISTENT, IMPOSSIBLE):
            assert entry.printed and entry.computed, entry.id
            assert not any(reading.holds for reading in entry.readings if reading.admissible), entry.id


def test_json_has_the_keys_of_the_format_and_is_plain(whole):
    parts = json.loads(json.dumps(whole.to_dict(), allow_nan=False))
    assert list(parts) == ["findings", "sound", "notes"]
    keys = "id paper place quote rule printed computed readings verdict severity explanation".split()
    assert all(list(entry) == keys for part in parts.values() for entry in part)
    reading = parts["findings"][0]["readings"][0]
    assert list(reading) == ["name", "computed", "holds", "admissible"]


def test_known_faults_come_out(whole):
    found = {finding.id for finding in whole.findings}
    assert {
        "alice_release.agreement.architecture.hidden",
        "alice_release.arithmetic.relation.frames-of-example",
        "avd.arithmetic.count.clipping-thresholds",
        "avd.repairs.table01",
        "dfd.agreement.relation.post-training-of-i2v",
        "dfd.arithmetic.ranking.large-batch",
    } <= found


def test_known_sound_claims_are_not_accused(whole):
    sound = {entry.id for entry in whole.sound}
    assert {
        "alice.arithmetic.relation.training-cost",
        "alice.arithmetic.relation.generation-cost",
        "alice.arithmetic.relation.real-components",
        "alice.arithmetic.relation.preference-judgements",
        "alice.arithmetic.row.table10.a100-40gb.speedup",
        "alice.arithmetic.row.table06.vs-wan2.2.sum",
        "alice.agreement.speedup.h100-80gb",
        "avd.arithmetic.relation.acceleration-of-speed",
        "avd.arithmetic.ranking.teacher-14b",
        "dfd.agreement.source-videos",
    } <= sound


def test_what_has_an_admissible_reading_is_no_finding(whole):
    notes = {entry.id for entry in whole.notes}
    assert {
        "alice.person.note.terms-of-stage4",
        "alice.limits.parameters.alice-v1",
        "alice_release.person.note.steps-by-default",
        "alice_release.person.note.teacher-beside-its-defaults",
        "avd.person.note.best-on-totals-only",
        "dfd.person.note.two-or-three",
    } <= notes
    words = [finding for finding in whole.findings if "No number says how much" in finding.explanation]
    assert words and {finding.severity for finding in words} == {"minor"}


@pytest.mark.parametrize(
    ("document", "changes", "planted"),
    [
        ("alice", {'"A100 40GB", "14s", "100s", "7.1×"': '"A100 40GB", "14s", "100s", "8.1×"'}, "row.table10"),
        ("alice", {'"vs Wan2.2", "68%", "15%"': '"vs Wan2.2", "68%", "25%"'}, "row.table06"),
        ("dfd", {'"Ours", "0.9417"': '"Ours", "0.9717"'}, "row.table05"),
        ("avd", {'"88.88", "72.22"': '"88.88", "82.22"'}, "relation.motion-loss-of-dmd"),
        ("alice", {'["1", "78.4", "2s"]': '["1", "78.4", "0.5s"]'}, "relation.time-of-one-step"),
        ("alice", {'printed = "27B total parameters"': 'printed = "57B total parameters"',
                   "With 27B total": "With 57B total"}, "relation.two-experts-of-the-teacher"),
        ("dfd", {'"3.0", "3.0", "3.0", "5.0", "5.0", "5.0"': '"3.0", "3.0", "3.0", "5.0", "5.0", "4.0"'},
         "relation.guidance-of-baseline-t2v"),
    ],
)  # fmt: skip
def test_a_planted_fault_adds_its_finding(whole, edit, document, changes, planted):
    before = {finding.id for finding in whole.findings if finding.paper.startswith(document)}
    after = findings(edit(document, changes))
    assert before <= after
    assert any(planted in finding for finding in after - before)


@pytest.mark.parametrize(
    ("document", "changes", "gone"),
    [
        ("alice", {'["8", "91.5", "16s"]': '["8", "91.5", "12s"]'}, "alice.arithmetic.relation.seconds-per-step"),
        ("dfd", {'"0.9638", "0.9685"': '"0.9638", "0.9695"'}, "dfd.arithmetic.ranking.large-batch"),
    ],
)  # fmt: skip
def test_a_corrected_cell_takes_its_finding_away(whole, edit, document, changes, gone):
    assert gone in {finding.id for finding in whole.findings}
    assert gone not in findings(edit(document, changes))


def test_a_table_selects_what_speaks_of_it_and_no_other():
    part = audit(load_records(["alice"]), table=1)
    assert "alice.arithmetic.relation.head-dimension" in {entry.id for entry in part.entries}
    assert not any("table11" in entry.id or "table10" in entry.id for entry in part.entries)
    with pytest.raises(UserError, match="no table 13; there are alice 1 to 12"):
        audit(load_records(["alice"]), table=13)


def test_unknown_papers_are_named():
    with pytest.raises(UserError, match="did you mean 'alice'"):
        load_records(["alise"])


def test_fail_on_counts_what_does_not_hold_and_nothing_else(whole):
    minor = report(whole.documents, [e for e in whole.entries if e.severity in ("minor", "note")])
    assert minor.findings and reaches(minor, "minor") and not reaches(minor, "major")
    assert not reaches(report(whole.documents, whole.sound + whole.notes), "minor")


def test_an_id_given_twice_is_a_fault_of_the_code(monkeypatch):
    monkeypatch.setattr(run, "RULES", ("person", "person"))
    with pytest.raises(ValueError, match="several entries have the id"):
        audit(load_records(["dfd"]))


def test_rules_name_no_paper_and_no_table():
    for source in sorted(Path(run.__file__).parent.glob("*.py")):
        if source.stem.startswith("equation"):
            continue  # these check one given equation each
        code = source.read_text(encoding="utf-8").replace("alice_repro", "").replace("alice-repro", "")
        assert not re.search(r"\b(alice|Alice|avd|AVD|dfd|DFD)\b|[Tt]able ?\d\d", code), source.name


def test_each_rule_states_its_argument():
    modules = sorted(path.stem for path in Path(run.__file__).parent.glob("*.py"))
    for rule in RULES:
        family = [import_module(f"alice_repro.audit.{name}") for name in modules if name.split("_")[0] == rule]
        assert sum(len(module.__doc__) for module in family) > 300, rule
        assert callable(import_module(f"alice_repro.audit.{rule}").check), rule
