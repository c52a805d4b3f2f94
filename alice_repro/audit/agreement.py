"""The same quantity, stated in several places.

The argument. Where a record gives two numbers one name (`about`), they state one quantity: a score in the abstract and
in a table, a batch size in the text and in the appendix, a width in the paper and in the released code. All of them
must leave room for one value: the values that round to what is printed ("~" adds 5 % on either side) must have one in
common. A document is compared with itself first; a review or a release then with the paper that it is about, where
one of the paper's mentions is enough. Numbers from damaged text never make a disagreement.

Severity: numbers within `SLIP` of each other, and counts in words, differ by a minor slip; others are major.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alice_repro.audit.arithmetic import is_agreement, relation_finding
from alice_repro.audit.findings import CHECK_PDF, CONSISTENT, INCONSISTENT, Finding, Reading, Record, graded, judge
from alice_repro.audit.interval import Interval, distance, may_hold, printed_interval
from alice_repro.papers import Mention, Paper

SLIP = 0.02


def check(record: Record) -> Iterator[Finding]:
    """Every quantity that a document states more than once, or that it shares with the paper it is about."""
    stated = record.paper.mentions()
    for document in record.documents:
        for about, mentions in document.mentions().items():
            original = () if document is record.paper else stated.get(about, ())
            if len(mentions) + len(original) > 1:
                yield _agreement(document, about, mentions, original)
        for relation in document.relations:
            if is_agreement(relation):
                yield relation_finding(record, document, relation, "agreement")


def _agreement(document: Paper, about: str, mentions: Sequence[Mention], original: Sequence[Mention]) -> Finding:
    everything = [*mentions, *original]
    tried = [Reading("all as printed", _common(everything), _agree(mentions, original))]
    damaged = "; ".join(dict.fromkeys(m.quantity.damaged for m in everything if m.quantity.damaged))
    if damaged and not tried[0].holds:
        sound = [[m for m in some if not m.quantity.damaged] for some in (mentions, original)]
        undecided = _agree(*sound)
        tried.append(Reading("without damaged text", _common([*sound[0], *sound[1]]), undecided, admissible=False))
        damaged = damaged if undecided else ""
    verdict = judge(tried, INCONSISTENT, damaged)
    odd = _odd(mentions, original)
    place = (odd if verdict != CONSISTENT else mentions)[0]
    off = max((distance(_interval(odd[0]), _interval(m)) for m in everything), default=0.0)
    against = ", ".join(dict.fromkeys(m.quantity.printed for m in everything if m not in odd))
    apart = " and ".join(dict.fromkeys(m.quantity.printed for m in odd)) + (f" against {against}" if against else "")
    words = all(m.quantity.printed[:1].isalpha() for m in odd)
    return Finding(
        id=f"{document.id}.agreement.{about}",
        paper=document.id,
        place=place.place,
        quote=place.quote,
        rule="agreement.documents" if original else "agreement.places",
        printed="; ".join(_said(m, document) for m in everything),
        computed=_common(everything) if tried[0].holds else apart,
        readings=tuple(tried),
        verdict=verdict,
        severity=graded(verdict, "minor" if words or off < SLIP else "major"),
        explanation=_text(about, verdict, odd, everything, document, damaged),
    )


def _agree(mentions: Sequence[Mention], original: Sequence[Mention]) -> bool:
    """Whether the mentions leave room for one value, which one of the paper's own mentions leaves room for too."""
    if not mentions:
        return True
    common = _intersection(mentions)
    return common is not None and (not original or any(may_hold(common, "=", _interval(m)) for m in original))


def _intersection(mentions: Sequence[Mention]) -> Interval | None:
    intervals = [_interval(mention) for mention in mentions]
    low, high = max(i.low for i in intervals), min(i.high for i in intervals)
    return Interval(min(low, high), max(low, high)) if may_hold(low, "<=", high) else None


def _common(mentions: Sequence[Mention]) -> str:
    common = _intersection(mentions)
    return f"in common: {common}" if common else "no value in common"


def _interval(mention: Mention) -> Interval:
    return printed_interval(mention.quantity.scaled())


def _odd(mentions: Sequence[Mention], original: Sequence[Mention]) -> list[Mention]:
    """The document's mentions that fit the fewest others: what a reader would ask about."""
    everything = [*mentions, *original]
    fits = [sum(may_hold(_interval(m), "=", _interval(other)) for other in everything) for m in mentions]
    return [m for m, count in zip(mentions, fits, strict=True) if count == min(fits)]


def _text(
    about: str, verdict: str, odd: Sequence[Mention], everything: Sequence[Mention], document: Paper, damaged: str
) -> str:
    if verdict == CONSISTENT:
        return f"{len(everything)} places state {about!r}; their rounding leaves room for one value in common."
    others = [m for m in everything if not any(may_hold(_interval(m), "=", _interval(o)) for o in odd)]
    said, against = ("; ".join(_said(m, document) for m in some) for some in (odd, others))
    apart = f"{said} does not fit {against}" if others else f"No value fits all of {said}"
    text = f"{about!r} is stated {len(everything)} times. {apart}, whatever was rounded."
    return f"{text} But the text is damaged here ({damaged})." if verdict == CHECK_PDF else text


def _said(mention: Mention, document: Paper) -> str:
    whose = "" if mention.document == document.id else f"{mention.document}, "
    return f"{mention.quantity.printed} ({whose}{mention.place})"
