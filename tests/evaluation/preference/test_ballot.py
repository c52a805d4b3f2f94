from __future__ import annotations

import dataclasses
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from alice_repro.errors import UserError
from alice_repro.evaluation.preference.ballot import Ballot, Refused
from alice_repro.evaluation.preference.pairs import IDENTICAL, PLANTED, Pair, Side
from alice_repro.evaluation.preference.study import Study
from alice_repro.evaluation.preference.votes import VoteLog


def pairs_of(count: int, kind: str = "comparison") -> list[Pair]:
    sides = [(Side("x", f"{n}.mp4"), Side("y", f"{n}.mp4")) for n in range(count)]
    return [Pair(f"{kind}{n}", f"p{n}", f"caption {n}", 0, a, b, kind) for n, (a, b) in enumerate(sides)]


@pytest.fixture
def make(tmp_path):
    """Make a ballot; called again with the same pairs it is a restart."""
    logs = []

    def start(pairs, **settings) -> Ballot:
        while logs:
            logs.pop().close()
        default = {"criteria": ("overall",), "votes": 3, "raters": (), "most": 0, "check_every": 0, "seed": 0}
        study = Study(
            folder=tmp_path, judges="human", arms={"x": None, "y": None}, secret="s", pairs=tuple(pairs),
            **(default | settings),
        )  # fmt: skip
        logs.append(VoteLog(tmp_path / "votes.jsonl", durable=False))
        return Ballot(study, logs[0])

    return start


def judge_all(ballot: Ballot, rater: str, at_most: int = 10_000) -> list[str]:
    seen = []
    while len(seen) < at_most and (task := ballot.task(rater)) is not None:
        seen.append(task.pair.id)
        for criterion in ballot.study.criteria:
            ballot.vote(rater, task.pair.id, criterion, "1")
    return seen


def test_each_rater_sees_each_pair_once_in_an_order_and_sides_of_their_own(make):
    ballot = make(pairs_of(60), votes=2)
    ann, bob = judge_all(ballot, "ann"), judge_all(ballot, "bob")
    assert sorted(ann) == sorted(bob) == sorted(p.id for p in ballot.study.pairs)
    assert ann != bob and ann != sorted(ann)
    first = Counter(event["first"] for event in ballot.log.events if event["event"] == "shown")
    assert 40 < first["a"] < 80  # of 120; the seed is fixed
    assert ballot.task("cem") is None  # every pair has its two votes


def test_the_order_depends_on_the_seed_alone(make, tmp_path):
    def order(seed: int) -> list[str]:
        (tmp_path / "votes.jsonl").unlink(missing_ok=True)
        return judge_all(make(pairs_of(12), seed=seed), "ann")

    assert order(0) == order(0) != order(1)


def test_pairs_with_the_fewest_votes_come_first(make):
    ballot = make(pairs_of(6))
    seen = judge_all(ballot, "ann", 4)
    assert set(judge_all(ballot, "bob", 2)) == {p.id for p in ballot.study.pairs} - set(seen)


def test_two_raters_at_once_are_not_sent_to_the_same_pair(make):
    ballot = make(pairs_of(2), votes=1)
    assert ballot.task("ann").pair != ballot.task("bob").pair


def test_reload_and_restart_show_the_open_pair_on_the_same_sides(make):
    ballot = make(pairs_of(9))
    judge_all(ballot, "ann", 3)
    before = ballot.task("ann")
    judge_all(ballot, "bob")  # changes the counts, which would change the choice
    assert ballot.task("ann") == before
    again = make(pairs_of(9))
    assert again.task("ann") == before
    assert len(set(judge_all(again, "ann"))) == 6


def test_a_second_answer_is_refused_in_any_window_and_after_a_restart(make):
    ballot = make(pairs_of(3), criteria=("quality", "motion"))
    pair = ballot.task("ann").pair.id
    ballot.vote("ann", pair, "quality", "1")
    with pytest.raises(Refused, match="answered already"):
        ballot.vote("ann", pair, "quality", "2")
    ballot.vote("ann", pair, "motion", "tie")
    for again in (ballot, make(pairs_of(3), criteria=("quality", "motion"))):
        with pytest.raises(Refused, match="not open"):
            again.vote("ann", pair, "quality", "2")
    other = next(p.id for p in ballot.study.pairs if p.id != pair)
    with pytest.raises(Refused, match="not open"):
        ballot.vote("bob", other, "quality", "1")  # never shown to bob
    assert sum(event["event"] == "vote" for event in ballot.log.events) == 2


def test_hasty_double_submits_from_threads_count_once(make):
    ballot = make(pairs_of(1))
    pair = ballot.task("ann").pair.id

    def submit(_) -> bool:
        try:
            ballot.vote("ann", pair, "overall", "1")
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(submit, range(40))) == 1
    assert ballot.votes_of(pair) == 1


def test_undo_opens_the_last_pair_again_and_what_was_open_comes_after(make):
    ballot = make(pairs_of(4), votes=1)
    first = ballot.task("ann")
    ballot.vote("ann", first.pair.id, "overall", "1")
    second = ballot.task("ann")
    ballot.undo("ann")
    assert ballot.task("ann") == first and ballot.votes_of(first.pair.id) == 0
    restarted = make(pairs_of(4), votes=1)
    assert restarted.task("ann") == first
    restarted.vote("ann", first.pair.id, "overall", "2")
    assert restarted.task("ann") == second
    assert restarted.votes_of(first.pair.id) == 1
    judge_all(restarted, "ann")
    for _ in range(4):
        restarted.undo("ann")
    with pytest.raises(Refused, match="nothing to take back"):
        restarted.undo("ann")


def test_undo_takes_back_the_answers_to_an_open_pair(make):
    ballot = make(pairs_of(2), criteria=("quality", "motion"))
    pair = ballot.task("ann").pair.id
    ballot.vote("ann", pair, "quality", "1")
    ballot.undo("ann")
    assert ballot.task("ann").pair.id == pair and ballot.task("ann").answers == {}


def test_a_skip_ends_the_pair_and_leaves_it_for_others(make):
    ballot = make(pairs_of(1), votes=1, criteria=("quality", "motion"))
    pair = ballot.task("ann").pair.id
    ballot.vote("ann", pair, "quality", "skip")
    assert ballot.task("ann") is None and ballot.votes_of(pair) == 0
    assert ballot.task("bob").pair.id == pair


def test_the_vote_names_the_arm_whichever_side_it_was_on(make):
    ballot = make(pairs_of(20))
    while (task := ballot.task("ann")) is not None:
        ballot.vote("ann", task.pair.id, "overall", "1" if task.sides[0].arm == "y" else "2")
    votes = [event for event in ballot.log.events if event["event"] == "vote"]
    assert {event["arm"] for event in votes} == {"y"} and {event["choice"] for event in votes} == {"b"}
    assert {event["first"] for event in votes} == {"a", "b"}


def test_a_limit_per_rater(make):
    ballot = make(pairs_of(10), most=4)
    assert ballot.task("ann").total == 4
    assert len(judge_all(ballot, "ann")) == 4
    assert len(judge_all(make(pairs_of(10), most=6), "ann")) == 2  # raised later


def test_checks_come_once_in_each_block_at_random_places(make):
    checks = [*pairs_of(2, IDENTICAL), *pairs_of(2, PLANTED)]
    ballot = make([*pairs_of(20), *checks], check_every=5)
    places = {}
    for rater in ("ann", "bob", "cem"):
        total = ballot.task(rater).total
        seen = judge_all(ballot, rater)
        assert len(seen) == total == len(set(seen))
        places[rater] = [n for n, pair in enumerate(seen) if not pair.startswith("comparison")]
        blocks = [sum(not name.startswith("comparison") for name in seen[6 * k : 6 * k + 6]) for k in range(4)]
        assert 3 <= sum(blocks) <= 4 and max(blocks) <= 2
    assert len({tuple(place) for place in places.values()}) > 1


def test_unknown_criteria_and_choices_are_refused(make):
    ballot = make(pairs_of(1))
    pair = ballot.task("ann").pair.id
    with pytest.raises(UserError, match="criterion 'motion'"):
        ballot.vote("ann", pair, "motion", "1")
    with pytest.raises(UserError, match="choice '3'"):
        ballot.vote("ann", pair, "overall", "3")


def test_a_log_of_another_study_is_refused(make):
    judge_all(make(pairs_of(2)), "ann")
    with pytest.raises(UserError, match="not of this study"):
        make(pairs_of(2, "other"))


def test_names_of_raters_have_one_spelling(make):
    study = make(pairs_of(1)).study
    assert study.rater("  Änna\u00a0 K ") == "änna k"
    assert study.rater("a" * 40)
    for name in ("", "   ", "a" * 41, "a\nb\0", None, 7, ["ann"]):
        with pytest.raises(UserError):
            study.rater(name)
    with pytest.raises(UserError, match="not for people"):
        study.rater("Simulated-1")
    closed = dataclasses.replace(study, raters=("ann",))
    assert closed.rater("ANN") == "ann"
    with pytest.raises(UserError, match="not among the raters"):
        closed.rater("bob")
