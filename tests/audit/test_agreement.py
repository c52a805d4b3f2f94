"""Agreement: one quantity in several places and documents."""

from __future__ import annotations

import pytest

from alice_repro.audit.agreement import check
from alice_repro.audit.findings import CHECK_PDF, CONSISTENT, INCONSISTENT, Record
from alice_repro.papers import load_paper, load_paper_file

PRINTED = {'about = "architecture.hidden", printed = "5120"': 'about = "architecture.hidden", printed = "4096"'}


def stated(*printed: str, damaged: str = "") -> str:
    """A sentence for each printed number, all about one quantity; `damaged` marks the last."""
    sentences = []
    for i, text in enumerate(printed):
        mark = f', damaged = "{damaged}"' if damaged and i == len(printed) - 1 else ""
        sentences.append(
            f'[[sentence]]\nplace = "Section {i}"\nquote = "it is {text}"\n'
            f'values = [{{ id = "v{i}", about = "speed", printed = "{text}"{mark} }}]\n'
        )
    return "\n".join(sentences)


def verdicts(*papers):
    return {entry.id: entry for entry in check(Record(papers))}


@pytest.mark.parametrize(
    ("printed", "verdict"),
    [
        (("7x", "7.5x"), CONSISTENT),  # 7.5 rounds down as well as up
        (("7x", "7.6x"), INCONSISTENT),
        (("~7x", "7.6x"), CONSISTENT),
        (("14B", "14-billion", "14.2B"), CONSISTENT),
        (("14B", "14.4B", "13.6B"), INCONSISTENT),  # each pair with 14B agrees, not all three
        (("50-100 steps", "80 steps"), CONSISTENT),
        (("50-100 steps", "300 steps"), INCONSISTENT),
        (("1 million", "1M videos"), CONSISTENT),
    ],
)
def test_all_places_must_leave_room_for_one_value(read, printed, verdict):
    entry = verdicts(read(stated(*printed)))["small.agreement.speed"]
    assert entry.verdict == verdict
    assert all(text in entry.printed for text in printed)


def test_a_quantity_stated_once_is_not_checked(read):
    assert not verdicts(read(stated("7x")))


def test_the_place_is_that_of_the_number_that_stands_alone(read):
    entry = verdicts(read(stated("24", "24", "16")))["small.agreement.speed"]
    assert (entry.place, entry.severity, entry.computed) == ("Section 2", "major", "16 against 24")


def test_a_count_in_words_is_a_minor_slip(read):
    assert verdicts(read(stated("two tasks", "three settings")))["small.agreement.speed"].severity == "minor"


def test_damaged_text_makes_no_disagreement(read):
    entry = verdicts(read(stated("24", "24", "16", damaged="OCR")))["small.agreement.speed"]
    assert (entry.verdict, entry.severity) == (CHECK_PDF, "note")


def test_damaged_text_hides_no_disagreement_of_the_rest(read):
    assert verdicts(read(stated("24", "30", "16", damaged="OCR")))["small.agreement.speed"].verdict == INCONSISTENT


def test_a_companion_is_compared_with_the_paper(read):
    paper, release = read(stated("24")), read(stated("16"), "small_release")
    found = verdicts(paper, release)
    assert set(found) == {"small_release.agreement.speed"}
    entry = found["small_release.agreement.speed"]
    assert (entry.verdict, entry.rule, entry.paper) == (INCONSISTENT, "agreement.documents", "small_release")
    assert verdicts(paper, read(stated("24"), "small_release"))["small_release.agreement.speed"].sound


def test_one_of_the_papers_own_mentions_is_enough_for_a_companion(read):
    found = verdicts(read(stated("24", "16")), read(stated("16"), "small_release"))
    assert found["small.agreement.speed"].verdict == INCONSISTENT
    assert found["small_release.agreement.speed"].sound


def test_an_equality_of_two_printed_numbers_is_checked_here(read):
    text = stated("24", "16").replace('about = "speed", ', "") + (
        '[[relation]]\nid = "same"\nplace = "Section 3"\nreadings = ["v0 = v1"]\nbasis = "implied"\nwhy = "one clip"\n'
    )
    assert verdicts(read(text))["small.agreement.relation.same"].verdict == INCONSISTENT
    assert verdicts(read(text.replace("16", "24")))["small.agreement.relation.same"].sound


def test_the_releases_width_differs_from_the_papers_and_agrees_once_corrected(edit):
    width = "alice_release.agreement.architecture.hidden"
    release = load_paper("alice_release")
    assert verdicts(load_paper("alice"), release)[width].verdict == INCONSISTENT
    corrected = load_paper_file(edit("alice_release", {"dim 5120, ffn_dim 13824": "dim 4096, ffn_dim 13824"} | PRINTED))
    assert verdicts(load_paper("alice"), corrected)[width].sound
