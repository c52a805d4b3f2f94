"""The rules of voting: who sees which pair, on which side, and what counts. The log is its only memory.

A rater has one open pair at a time; a pair that was shown to someone stays open for them through reloads and restarts,
and is never chosen for them again. Of the pairs that still need votes, those with the fewest come first, in a random
order of each rater's own.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime

from alice_repro.errors import UserError
from alice_repro.evaluation.preference.pairs import COMPARISON, Pair, Side
from alice_repro.evaluation.preference.study import Study
from alice_repro.evaluation.preference.votes import VoteLog

FIRST, SECOND, TIE, SKIP = "1", "2", "tie", "skip"
CHOICES = (FIRST, SECOND, TIE, SKIP)


class Refused(UserError):
    """A vote that does not count: given already, or for a pair that the rater does not have open."""


@dataclass(frozen=True)
class Task:
    """What a rater has open.

    Attributes:
        pair: the pair.
        first: "a" or "b": which side is video 1.
        answers: criterion -> choice, as far as given.
        number: how many-th pair of this rater it is, from 1.
        total: how many there will be, as far as is known now.
    """

    pair: Pair
    first: str
    answers: dict[str, str]
    number: int
    total: int

    @property
    def sides(self) -> tuple[Side, Side]:
        """Video 1 and video 2."""
        return (self.pair.a, self.pair.b) if self.first == "a" else (self.pair.b, self.pair.a)


class Ballot:
    """The state of a study. Safe to call from several threads; each call is whole or refused."""

    def __init__(self, study: Study, log: VoteLog) -> None:
        self.study, self.log = study, log
        self._pairs = {pair.id: pair for pair in study.pairs}
        self._comparisons = study.comparisons
        self._ranks: dict[tuple[str, str], int] = {}
        self._lock = threading.RLock()
        self._open: dict[str, list[str]] = defaultdict(list)  # rater -> pairs shown and not done; the last is at hand
        self._done: dict[str, list[str]] = defaultdict(list)  # rater -> pairs done, in order
        self._answers: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)  # (rater, pair) -> answers
        self._first: dict[tuple[str, str], str] = {}
        self._shown_at: dict[tuple[str, str], str] = {}
        self._count: dict[str, int] = defaultdict(int)  # pair -> raters who judged it
        self._at_hand: dict[str, int] = defaultdict(int)  # pair -> raters who have it open
        for event in log.events:
            self._apply(event)

    def task(self, rater: str) -> Task | None:
        """The rater's open pair, a new one if there is none, None if nothing is left for them."""
        with self._lock:
            if not self._open[rater]:
                pair = self._choose(rater)
                if pair is None:
                    return None
                first = "a" if self.study.rank("side", rater, pair.id) % 2 == 0 else "b"
                self._record("shown", rater, pair.id, first=first)
            pair = self._pairs[self._open[rater][-1]]
            number = len(self._done[rater]) + 1
            answers = dict(self._answers[rater, pair.id])
            return Task(pair, self._first[rater, pair.id], answers, number, max(number, self._total(rater)))

    def vote(self, rater: str, pair: str, criterion: str, choice: str) -> None:
        """Keep an answer. `choice`: "1", "2", "tie", or "skip" (cannot judge), which ends the pair.

        Raises:
            Refused: the pair is not the one that the rater has open, or this was answered already.
            UserError: no such criterion or choice.
        """
        with self._lock:
            if criterion not in self.study.criteria:
                raise UserError(f"criterion {criterion!r} is not asked in this study")
            if choice not in CHOICES:
                raise UserError(f"choice {choice!r}: it must be one of {', '.join(CHOICES)}")
            if not self._open[rater] or self._open[rater][-1] != pair:
                raise Refused("this pair is not open: it was judged already, or in another window")
            if criterion in self._answers[rater, pair]:
                raise Refused("this was answered already")
            first = self._first[rater, pair]
            second = "b" if first == "a" else "a"
            kept = {FIRST: first, SECOND: second}.get(choice, choice)
            arm = getattr(self._pairs[pair], kept).arm if kept in ("a", "b") else None
            seconds = (datetime.now(UTC) - datetime.fromisoformat(self._shown_at[rater, pair])).total_seconds()
            self._record(
                "vote", rater, pair, criterion=criterion, choice=kept, arm=arm, first=first, seconds=round(seconds, 3)
            )

    def undo(self, rater: str) -> None:
        """Take back the answers to the open pair, or where it has none, open the pair before it again.

        Raises:
            Refused: there is nothing to take back.
        """
        with self._lock:
            if self._open[rater] and self._answers[rater, self._open[rater][-1]]:
                self._record("undo", rater, self._open[rater][-1])
            elif self._done[rater]:
                self._record("undo", rater, self._done[rater][-1])
            else:
                raise Refused("there is nothing to take back")

    def can_undo(self, rater: str) -> bool:
        with self._lock:
            open_pairs = self._open[rater]
            return bool(self._done[rater] or (open_pairs and self._answers[rater, open_pairs[-1]]))

    def votes_of(self, pair: str) -> int:
        """How many raters have judged a pair."""
        with self._lock:
            return self._count[pair]

    def _record(self, event: str, rater: str, pair: str, **more: object) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"event": event, "judges": self.study.judges, "rater": rater, "pair": pair, **more, "at": now}
        self.log.append(line)
        self._apply(line)

    def _apply(self, event: dict) -> None:
        rater, pair = event["rater"], event["pair"]
        if pair not in self._pairs or event["judges"] != self.study.judges:
            raise UserError(f"{self.log.path}: has votes that are not of this study; put its own log there")
        answers = self._answers[rater, pair]
        if event["event"] == "shown":
            self._first[rater, pair] = event["first"]
            self._shown_at[rater, pair] = event["at"]
            self._open[rater].append(pair)
            self._at_hand[pair] += 1
        elif event["event"] == "vote":
            answers[event["criterion"]] = event["choice"]
            if event["choice"] == SKIP or len(answers) == len(self.study.criteria):
                self._open[rater].remove(pair)
                self._done[rater].append(pair)
                self._at_hand[pair] -= 1
                self._count[pair] += SKIP not in answers.values()
        elif event["event"] == "undo":
            if pair in self._done[rater]:
                self._done[rater].remove(pair)
                self._open[rater].append(pair)
                self._at_hand[pair] += 1
                self._count[pair] -= SKIP not in answers.values()
            answers.clear()
            self._shown_at[rater, pair] = event["at"]
        else:
            raise UserError(f"{self.log.path}: unknown event {event['event']!r}")

    def _seen(self, rater: str) -> set[str]:
        return {*self._done[rater], *self._open[rater]}

    def _waiting(self, rater: str) -> list[Pair]:
        """Comparisons that the rater has not seen and that still need votes; none once the rater did their share."""
        seen = self._seen(rater)
        judged = sum(self._pairs[pair].kind == COMPARISON for pair in seen)
        waiting = [p for p in self._comparisons if p.id not in seen and self._count[p.id] < self.study.votes]
        if self.study.most and len(waiting) > self.study.most - judged:
            # Only their number is used beyond the first: keep as many as the rater will be asked for.
            waiting.sort(key=lambda pair: self._order(rater, pair))
            waiting = waiting[: max(self.study.most - judged, 0)]
        return waiting

    def _order(self, rater: str, pair: Pair) -> tuple[int, int]:
        key = (rater, pair.id)
        if key not in self._ranks:
            self._ranks[key] = self.study.rank("order", rater, pair.id)
        return self._count[pair.id] + self._at_hand[pair.id], self._ranks[key]

    def _choose(self, rater: str) -> Pair | None:
        waiting = self._waiting(rater)
        if not waiting:
            return None
        check = self._due_check(rater)
        return check or min(waiting, key=lambda pair: self._order(rater, pair))

    def _due_check(self, rater: str) -> Pair | None:
        """An attention check, once in each block of `check_every` comparisons, at a random place in the block."""
        seen = self._seen(rater)
        compared = sum(self._pairs[pair].kind == COMPARISON for pair in seen)
        if len(seen) - compared >= self._checks_by(rater, compared):
            return None
        unseen = [p for p in self.study.pairs if p.kind != COMPARISON and p.id not in seen]
        return min(unseen, key=lambda p: self.study.rank("order", rater, p.id), default=None)

    def _checks_by(self, rater: str, compared: int) -> int:
        """How many checks are due before the comparison after the first `compared`."""
        every = self.study.check_every
        if not every:
            return 0
        block, place = divmod(compared, every)
        due = block + (place > self.study.rank("check", rater, str(block)) % every)
        return min(due, len(self._pairs) - len(self._comparisons))

    def _total(self, rater: str) -> int:
        """How many pairs the rater will have seen in the end, by what is known now."""
        seen = sum(self._pairs[pair].kind == COMPARISON for pair in self._seen(rater))
        compared = seen + len(self._waiting(rater))
        return compared + self._checks_by(rater, max(compared - 1, 0))
