"""The page: everything is on it, nothing in it is markup of a document's, and nothing is loaded from anywhere."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from alice_repro.audit import findings
from alice_repro.audit.findings import Finding, Reading
from alice_repro.audit.page import VERDICTS, arguments, card, counts, deciding, most_serious, render, sections
from alice_repro.audit.run import Report, report
from alice_repro.papers import Paper

HOSTILE = '</details><script>alert("1")</script><img src=x onerror=alert(2)> & {{ 7 * 7 }} \' " --> “ß”'
PAPER = Paper(id="mine", title="A <b>bold</b> title")
READING = Reading("as printed", "1 = 2", holds=False)


def entry(name: str, verdict: str = findings.INCONSISTENT, severity: str = "major", **changes) -> Finding:
    base = Finding(
        id=f"mine.arithmetic.{name}",
        paper="mine",
        place="Table 1",
        quote="one is two",
        rule="arithmetic.relation",
        printed=f"printed in {name}",
        computed=f"computed for {name}",
        readings=(READING,),
        verdict=verdict,
        severity=severity,
        explanation=f"Explained for {name}.",
    )
    return replace(base, **changes)


def small(*entries: Finding) -> Report:
    return report([PAPER], entries)


class Page(HTMLParser):
    """Tags with their attributes, ids, and the text outside style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._raw = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._raw = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._raw = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._raw else data

    @property
    def ids(self) -> Counter[str]:
        return Counter(attributes["id"] for _, attributes in self.tags if "id" in attributes)


@pytest.fixture(scope="module")
def every() -> Report:
    """An entry of each verdict, and of each severity."""
    found = [entry(f"v{i}", verdict, "note") for i, verdict in enumerate(VERDICTS)]
    return small(*found, *(entry(f"s-{severity}", severity=severity) for severity in findings.SEVERITIES))


def test_every_entry_is_there_once_with_all_that_it_says(every):
    page = Page(render(every))
    assert page.ids.most_common(1)[0][1] == 1
    for one in every.entries:
        assert page.ids[one.id] == 1
        for text in (one.printed, one.computed, one.explanation):
            assert text in page.text
    assert len([1 for tag, attributes in page.tags if attributes.get("class") == "entry"]) == len(every.entries)


def test_an_entry_that_is_not_in_the_report_is_not_on_the_page(every):
    left = replace(every, sound=())
    assert every.sound and every.sound[0].id not in Page(render(left)).ids


def test_links_on_the_page_lead_somewhere(every):
    page = Page(render(every))
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert links and all(link.startswith("#") and link[1:] in page.ids for link in links)


def test_text_of_documents_is_never_markup():
    fields = ("id", "place", "quote", "printed", "computed", "explanation")
    bad = entry(
        "x", **dict.fromkeys(fields, HOSTILE) | {"quote": f"{HOSTILE}."}, readings=(Reading(HOSTILE, HOSTILE, False),)
    )
    plain, hostile = Page(render(small(entry("x")))), Page(render(small(bad)))
    assert Counter(tag for tag, _ in hostile.tags) == Counter(tag for tag, _ in plain.tags)
    assert hostile.text.count(HOSTILE) >= len(fields) + 2
    assert not any(name.startswith("on") for _, attributes in hostile.tags for name in attributes)
    assert "49" not in hostile.text
    assert hostile.ids[HOSTILE] == 1
    assert "<b>bold" not in render(small())


def test_nothing_is_loaded_from_elsewhere():
    text = render(small(entry("x", quote="see https://example.org/a.png")))
    page = Page(text)
    assert not {"link", "img", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.tags}
    assert not [attributes for _, attributes in page.tags if attributes.keys() & {"src", "srcset", "data", "action"}]
    style_and_script = "".join(re.findall(r"<(?:style|script)>(.*?)</(?:style|script)>", text, re.DOTALL))
    assert not re.search(r"url\(|@import|https?:|fetch|import\(", style_and_script)
    assert "default-src 'none'" in text


def test_the_ten_most_serious_come_first_the_fatal_before_the_rest():
    many = [entry(f"m{i}", place=f"Section {i}") for i in range(12)]
    worst, fine = entry("worst", findings.IMPOSSIBLE, "fatal"), entry("fine", findings.CONSISTENT, "note")
    text = render(small(*many, worst, fine))
    top = text[text.index('<ol class="top">') : text.index("</ol>")]
    links = re.findall(r'href="#([^"]+)"', top)
    assert len(links) == 10 and links[0] == "mine.arithmetic.worst" and "mine.arithmetic.fine" not in links


def test_what_a_rule_finds_in_one_table_is_one_of_the_ten():
    alike = [entry(f"row{i}", place=f"Section 4, Table 1, row {i}") for i in range(3)]
    other_table = entry("t10", place="Section 4, Table 10")
    other_rule = entry("sum", place="Section 4, Table 1", rule="benchmark.total")
    worst = entry("worst", findings.IMPOSSIBLE, "fatal", place="Section 4, Table 1, row 9")
    top = most_serious(small(*alike, other_table, other_rule, worst))
    assert top == [(worst, *alike), (other_table,), (other_rule,)]


def test_what_holds_and_what_a_person_read_stand_apart_from_findings(every):
    parts = {part.id: {e.verdict for group in part.groups for e in group.entries} for part in sections(every)}
    assert parts["does-not-hold"] == {findings.INCONSISTENT, findings.IMPOSSIBLE}
    assert parts["holds"] == {findings.CONSISTENT}
    assert parts["undecided"] == {findings.CHECK_PDF, findings.NEEDS_A_RUN, findings.NOT_TESTABLE}
    assert parts["read"] == {findings.PERSON}
    assert sum(part.count for part in sections(every)) == len(every.entries)


def test_counts_add_up(every):
    for sheet in counts(every):
        total = sheet.rows[-1]
        assert total["all"] == str(len(every.entries))
        assert sum(int(total[verdict]) for verdict in VERDICTS) == len(every.entries)
        assert [total[severity] for severity in findings.SEVERITIES[:3]] == ["1", "1", "1"]


@pytest.mark.parametrize(
    ("readings", "line"),
    [
        ((READING,), "the only admissible reading fails"),
        ((READING, READING), "none of the 2 admissible readings holds"),
        ((READING, Reading("raw", "", True)), "holds, read as: raw (1 of 2 readings fail)"),
        ((READING, Reading("raw", "", True, False)), "the only admissible reading fails; 1 more would fit, but is not"),
        ((Reading("raw", "", True, False),), "no reading is admissible; 1 more"),
    ],
)
def test_what_the_most_favourable_reading_comes_to(readings, line):
    assert deciding(entry("x", readings=readings)).startswith(line)


def test_the_argument_of_a_rule_is_on_the_page():
    (paragraph, *_) = arguments({"arithmetic"})["arithmetic"]
    assert paragraph == "Arithmetic between the numbers that a document prints."
    assert paragraph in render(small(entry("x")))


def test_what_was_not_computed_or_is_printed_anyway_is_left_out():
    assert "Computed" not in card(entry("x", computed="")) and "Computed" in card(entry("x"))
    assert "Quote" not in card(entry("x", printed="it says: one is two")) and "Quote" in card(entry("x"))


def test_an_empty_report_is_a_page():
    assert "0 things were checked" in Page(render(small())).text.replace("\n", " ")


def test_a_card_shows_one_entry_unfolded():
    page = Page(card(entry("x", printed=HOSTILE)))
    assert page.tags[0][0] == "details" and "open" in page.tags[0][1]
    assert HOSTILE in page.text
    assert not [1 for _, attributes in page.tags if attributes.get("href", "").startswith("#rule")]  # led nowhere
