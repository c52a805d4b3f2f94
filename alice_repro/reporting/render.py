"""Tables for reading: one structure, written as CSV, Markdown and HTML; and how numbers are printed."""

from __future__ import annotations

import csv
import html
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from alice_repro.files import atomic_write_text

if TYPE_CHECKING:
    from jinja2 import Environment

    from alice_repro.statistics import Estimate

ABSENT = ""


@dataclass(frozen=True)
class Head:
    """A column: `group` is the heading above several (PUBLISHED, MEASURED); `number` columns are set to the right."""

    key: str
    label: str
    group: str = ""
    number: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table to print: cells are strings, and each row has every column's key.

    `data` are the rows for the CSV file, with numbers in columns of their own at full precision.
    """

    title: str
    heads: tuple[Head, ...]
    rows: tuple[Mapping[str, str], ...]
    notes: tuple[str, ...] = ()
    data: tuple[Mapping[str, object], ...] = ()

    def csv(self) -> str:
        """Comma-separated text; a missing number is an empty cell."""
        stream = io.StringIO()
        writer = csv.DictWriter(stream, list(self.data[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows([{key: _plain(value) for key, value in row.items()} for row in self.data])
        return stream.getvalue()

    def markdown(self) -> str:
        """A pipe table; the group of a column stands before its label."""
        labels = [f"{h.group}: {h.label}" if h.group else h.label for h in self.heads]
        rule = ["---:" if h.number else "---" for h in self.heads]
        cells = [[row[h.key] for h in self.heads] for row in self.rows]
        lines = ["| " + " | ".join(_escape(text) for text in line) + " |" for line in [labels, rule, *cells]]
        return "\n".join([f"**{self.title}**", "", *lines, "", *(f"- {note}" for note in self.notes)]).rstrip() + "\n"

    def html(self) -> str:
        """A table element with its caption and notes; style is the page's."""
        groups, spans = [], []
        for head in self.heads:
            if not groups or groups[-1] != head.group:
                groups.append(head.group)
                spans.append(0)
            spans[-1] += 1
        starts = {sum(spans[:i]) for i in range(1, len(spans))}
        top = "".join(f'<th colspan="{s}">{html.escape(g)}</th>' for g, s in zip(groups, spans, strict=True))
        second = "".join(self._cell("th", h, h.label, i in starts) for i, h in enumerate(self.heads))
        body = "\n".join(
            "<tr>" + "".join(self._cell("td", h, row[h.key], i in starts) for i, h in enumerate(self.heads)) + "</tr>"
            for row in self.rows
        )
        head = (f'<tr class="groups">{top}</tr>' if any(groups) else "") + f"<tr>{second}</tr>"
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        return (
            f'<div class="sheet"><table><caption>{html.escape(self.title)}</caption>\n<thead>{head}</thead>\n'
            f"<tbody>\n{body}\n</tbody></table>" + (f'<ul class="notes">{notes}</ul>' if notes else "") + "</div>"
        )

    @staticmethod
    def _cell(tag: str, head: Head, text: str, edge: bool) -> str:
        kinds = " ".join(name for name, on in (("number", head.number), ("edge", edge)) if on)
        attribute = f' class="{kinds}"' if kinds else ""
        return f"<{tag}{attribute}>{html.escape(text)}</{tag}>"


PAGE_CSS = """
:root { color-scheme: light; --ink: #1d1d1f; --quiet: #565656; --paper: #fff; --panel: #f6f6f4;
  --line: #d8d8d8; --hair: #ececec; --rule: #333; --edge: #bbb; }
body { font: 16px/1.5 Charter, "Bitstream Charter", "Iowan Old Style", Georgia, serif; color: var(--ink);
  background: var(--paper); max-width: 62rem; margin: 2.5rem auto 5rem; padding: 0 1.25rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.6rem 0 .6rem; padding-top: .9rem; border-top: 1px solid var(--line); }
p { margin: .5rem 0; max-width: 46rem; }
.quiet, .notes, figcaption, dt { color: var(--quiet); font-size: .87rem; }
.sheet { overflow-x: auto; }
table { border-collapse: collapse; font: 13px/1.4 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; margin: .6rem 0;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th { text-align: left; font-weight: 600; vertical-align: bottom; }
thead tr:last-child th { border-bottom: 1px solid var(--rule); }
.groups th { font-weight: 400; color: var(--quiet); border-bottom: 1px solid var(--line); }
th, td { padding: .28rem .6rem .28rem 0; vertical-align: top; }
tbody tr + tr td { border-top: 1px solid var(--hair); }
.number { text-align: right; white-space: nowrap; }
th.number { white-space: normal; }
.edge { border-left: 1px solid var(--edge); padding-left: .7rem; }
.notes { padding-left: 1.1rem; max-width: 50rem; }
figure { margin: 1rem 0; } img, svg { max-width: 100%; height: auto; }
.verdict { border-left: 4px solid var(--rule); padding: .1rem 0 .1rem 1rem; margin: 1.2rem 0; }
.verdict strong { font-size: 1.25rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1.2rem; }
code, pre { font: 13px/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }
pre { background: var(--panel); padding: .6rem .8rem; overflow-x: auto; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; }
dd { margin: 0; overflow-wrap: anywhere; }
@media print { body { max-width: none; } }
"""


def document(title: str, body: str) -> str:
    """A whole HTML document around `body`, with the style of the report."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{PAGE_CSS}</style></head>\n'
        f"<body>\n{body}\n</body></html>\n"
    )


def write_sheets(stem: Path, sheets: Sequence[Sheet]) -> list[Path]:
    """Write sheets as one Markdown and one HTML file, and the first one's numbers as CSV; returns the paths."""
    paths = [stem.with_suffix(suffix) for suffix in (".csv", ".md", ".html")]
    atomic_write_text(paths[0], sheets[0].csv())
    atomic_write_text(paths[1], "\n".join(sheet.markdown() for sheet in sheets))
    atomic_write_text(paths[2], document(sheets[0].title, "\n".join(sheet.html() for sheet in sheets)))
    return paths


def points(value: float | None, sign: bool = False) -> str:
    """A percentage or a difference with one decimal and a true minus sign; empty where there is none."""
    if value is None or math.isnan(value):
        return ABSENT
    text = f"{value:+.1f}" if sign else f"{value:.1f}"
    return text.replace("+0.0", "0.0").replace("-0.0", "0.0").replace("-", "\N{MINUS SIGN}")


def signed(value: float) -> str:
    """A difference with its sign."""
    return points(value, sign=True)


def bounds(low: float, high: float, sign: bool = False) -> str:
    """An interval in brackets; says so where there is none."""
    return "none" if math.isnan(low) else f"[{points(low, sign)}, {points(high, sign)}]"


def estimated(e: Estimate, sign: bool = False, unit: str = "") -> str:
    """A percentage or difference with its interval: "+3.1 [-0.2, +6.4]"; says so where there is none."""
    between = "[no interval]" if math.isnan(e.low) else bounds(e.low, e.high, sign)
    return f"{points(e.value, sign)}{unit} {between}"


def count(value: float) -> str:
    """A count, without decimals where it has none."""
    return ABSENT if math.isnan(value) else f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def seconds(value: float) -> str:
    """Seconds, to three digits."""
    return ABSENT if math.isnan(value) else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _plain(value: object) -> object:
    return "" if isinstance(value, float) and math.isnan(value) else value


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")


def page_templates(folder: Path) -> Environment:
    """The templates of pages in a folder: what is put in is escaped, and a name that is missing is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
