from __future__ import annotations

import json

import pandas as pd
import pytest

from alice_repro.errors import UserError
from alice_repro.evaluation.preference.ballot import Ballot
from alice_repro.evaluation.preference.opening import open_study
from alice_repro.evaluation.preference.pairs import IDENTICAL, PLANTED
from alice_repro.evaluation.preference.preferences import FIELDS, read_preferences
from alice_repro.evaluation.preference.report import write_results
from alice_repro.evaluation.preference.results import ANY, MAJORITY, POOLED, results, share_table
from alice_repro.evaluation.preference.standing import majorities
from alice_repro.evaluation.preference.study import VOTES
from alice_repro.evaluation.preference.votes import VoteLog
from alice_repro.files import sha256_file
from alice_repro.manifest import verify_manifest


def table(*rows) -> pd.DataFrame:
    """(pair, arm_a, arm_b, "abt..." answers): a row per answer, each of another rater."""
    names = {"a": "a", "b": "b", "t": "tie"}
    return pd.DataFrame(
        {"judges": "human", "rater": f"r{n}", "pair": pair, "prompt": pair, "seed": pd.NA, "caption": pair,
         "criterion": "overall", "arm_a": x, "arm_b": y, "choice": names[answer]}
        for pair, x, y, answers in rows for n, answer in enumerate(answers)
    ).astype({"seed": "Int64"})  # fmt: skip


def test_pooled_votes_and_majorities_are_counted_by_hand():
    votes = table(("1", "x", "y", "aab"), ("2", "x", "y", "abt"), ("3", "x", "y", "bbb"), ("4", "x", "y", "aa"))
    shares = share_table(votes, 3).set_index("counting")
    pooled, majority = shares.loc[POOLED], shares.loc[MAJORITY]
    assert (pooled["n"], majority["n"], majority["unfinished"], majority["undecided"]) == (11, 3, 1, 1)
    assert [pooled[k] for k in ("win", "tie", "loss")] == pytest.approx([5 / 11, 1 / 11, 5 / 11])
    assert [majority[k] for k in ("win", "tie", "loss")] == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    assert pooled["net"] == pytest.approx(0) and pooled["net_low"] < 0 < pooled["net_high"]
    assert (pooled["raters"], pooled["prompts"], pooled["judges"]) == (3, 4, "human")


def test_a_majority_leads_strictly():
    settled = majorities(table(("1", "x", "y", "aabb"), ("2", "x", "y", "ttab"), ("3", "x", "y", "abbt")), 3)
    assert settled["choice"].tolist() == ["tie", "tie", "b"]
    assert settled["leads"].tolist() == [False, True, True]


def test_three_arms_are_seen_from_each_side():
    votes = table(("1", "x", "y", "aaa"), ("2", "x", "z", "aab"), ("3", "y", "z", "bbt"))
    pooled = share_table(votes, 3).set_index("counting").loc[[POOLED]].set_index(["arm", "versus"])
    assert pooled.loc[("y", "z"), "loss"] == pytest.approx(2 / 3)
    assert pooled.loc[("z", ANY), ["win", "tie", "loss"]].tolist() == pytest.approx([3 / 6, 1 / 6, 2 / 6])
    assert pooled.loc[("y", ANY), "loss"] == pytest.approx(5 / 6)


def vote_all(study, rater: str, prefer) -> None:
    """Vote on everything: `prefer` maps (pair, side 1, side 2) to a choice."""
    log = VoteLog(study.folder / VOTES)
    ballot = Ballot(study, log)
    while (task := ballot.task(rater)) is not None:
        for criterion in study.criteria:
            ballot.vote(rater, task.pair.id, criterion, prefer(task.pair, *task.sides))
    log.close()


def student_wins(pair, one, two) -> str:
    if pair.kind == IDENTICAL:
        return "tie"
    if pair.kind == PLANTED:
        return "2" if one.damaged else "1"
    return "tie" if pair.caption.startswith("a blue") else "1" if one.arm == "student" else "2"


def test_a_study_from_votes_to_files(two_arms, tmp_path):
    study = open_study(two_arms, tmp_path / "out", votes=3, check_every=2, seed=3)
    assert [pair.kind for pair in study.pairs] == ["comparison"] * 6 + [IDENTICAL, PLANTED, IDENTICAL]
    for rater in ("ann", "bob"):
        vote_all(study, rater, student_wins)
    vote_all(study, "careless", lambda pair, one, two: "1")
    everyone = results(study.folder)
    assert everyone.excluded == {}
    checks = everyone.raters.set_index("rater")
    assert checks.loc["ann", "checks"] == checks.loc["ann", "checks_passed"] >= 2
    assert checks.loc["careless", "checks_passed"] < checks.loc["careless", "checks"]
    assert checks.loc["careless", "video_1"] == 1.0

    careful = results(study.folder, min_checks=0.9)
    assert list(careful.excluded) == ["careless"]
    pooled = careful.shares.set_index("counting").loc[[POOLED]].iloc[0]
    assert (pooled["arm"], pooled["versus"]) == ("teacher", "student")
    assert [pooled[k] for k in ("win", "tie", "loss")] == pytest.approx([0, 1 / 3, 2 / 3])
    assert careful.agreement["alpha"].iloc[0] == 1.0
    assert "student never lost a vote to teacher" in careful.ranking["reason"].iloc[0]

    text = write_results(study.folder)
    assert "Preferences of people" in text and "simulated" not in text.lower()
    assert verify_manifest(study.folder) == []
    written = pd.read_csv(study.folder / "shares.csv")
    assert set(written["judges"]) == {"human"} and len(written) == 2
    rows = read_preferences(study.folder / "preferences.jsonl")
    assert set(rows["winner_arm"]) == {"student"} and len(rows) >= 2
    assert all(
        sha256_file(path) == digest for path, digest in zip(rows["loser_video"], rows["loser_sha256"], strict=True)
    )
    assert rows["votes_winner"].min() >= 2 and (rows["prompt"] != "a blue box slides").all()


def test_taken_back_and_skipped_votes_do_not_count(study):
    log = VoteLog(study.folder / VOTES)
    ballot = Ballot(study, log)
    first = ballot.task("ann")
    ballot.vote("ann", first.pair.id, "overall", "1")
    ballot.undo("ann")
    ballot.vote("ann", first.pair.id, "overall", "tie")
    ballot.vote("ann", ballot.task("ann").pair.id, "overall", "skip")
    log.close()
    found = results(study.folder)
    assert found.votes["choice"].tolist() == ["tie"]
    row = found.raters.iloc[0]
    assert (row["pairs"], row["skipped"], row["ties"]) == (1, 1, 1.0)
    assert found.ranking["reason"].iloc[0].startswith("every vote is a tie")
    assert pd.isna(found.shares["net_low"]).all()  # one prompt: no interval


def test_no_votes_is_an_error_that_says_so(study):
    with pytest.raises(UserError, match="no votes"):
        results(study.folder)


def preference(**changes) -> str:
    row = dict.fromkeys(FIELDS) | {"schema": 1, "judges": "human", "criterion": "overall", "seed": 3}
    return json.dumps(row | changes)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (preference(judges="simulated"), "simulated rater"),
        (preference(judges="robot"), "'robot'"),
        (preference(schema=2), "schema 1"),
        ('{"schema": 1}', "schema 1"),
        ("{", "no JSON"),
        (preference(winner_video="gone.mp4", winner_sha256="0"), "gone.mp4: no such file"),
        (preference(winner_video="p.jsonl", winner_sha256="0"), "changed since it was judged"),
    ],
)
def test_preference_files_are_read_with_care(tmp_path, line, message):
    path = tmp_path / "p.jsonl"
    path.write_text(preference() + "\n" + line + "\n")
    with pytest.raises(UserError, match=message):
        read_preferences(path)
