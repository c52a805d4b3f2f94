"""The rates: what published times imply, by hand; what the rule makes of them; what it says of runs it has not seen."""

from __future__ import annotations

import pytest

from alice_repro.audit.planner.calibration import RECORD, held_out, measured, percentiles, published, show_calibration
from alice_repro.audit.planner.machines import parse_machine, rates
from alice_repro.papers import gpus


def shares(kind: str) -> list[float]:
    return [share for one in published() if one.kind == kind for share in one.shares]


@pytest.mark.parametrize(
    ("name", "share"),
    [
        # evaluations x operations of one (flops.py; 6.5233e15 at 720p, 2.8298e14 of the 1.3B at 480p) / peak / seconds
        ("wan2.2-a14b-720p-a100", 80 * 6.5233e15 / 312e12 / 2735.7),
        ("wan2.1-1.3b-480p-rtx-4090", 100 * 2.8298e14 / 165.2e12 / 240),
        ("wan2.1-14b-720p-rtx-5090", 100 * 6.5233e15 / 209.5e12 / 4767),
        ("wan2.1-14b-720p-h200-fa2", 100 * 6.5233e15 / 989.4e12 / 1746.5),
    ],
)
def test_published_times_by_hand(name, share):
    one = next(one for one in published() if one.id == name)
    assert one.shares[0] == pytest.approx(share, rel=1e-4)
    assert one.shares[1] >= one.shares[0] and one.source and one.note


@pytest.mark.parametrize("kind", ["sampling", "training"])
def test_ranges_are_what_their_rule_gives(kind):
    low, high = rates()["gpu"][kind]
    to_five = [round(share * 20) / 20 for share in (min(shares(kind)), max(shares(kind)))]
    assert [low, high] == pytest.approx(to_five)


def test_no_published_time_beats_the_peak():
    assert all(0 < share < 1 for kind in ("sampling", "training") for share in shares(kind))
    assert all(one.gpu in gpus() or not one.gpu for one in published())


@pytest.mark.skipif(not RECORD.is_dir(), reason="the committed record comes with a checkout")
@pytest.mark.parametrize("kind", ["sampling", "training"])
def test_cpu_ranges_are_near_what_the_record_gives(kind):
    # The record grows: new runs may move the percentiles a little before the range has to be written again.
    assert rates()["cpu"][kind] == pytest.approx(percentiles(measured(), kind), rel=0.35)


@pytest.mark.skipif(not RECORD.is_dir(), reason="the committed record comes with a checkout")
def test_runs_that_were_not_used_lie_in_or_near_the_plan():
    runs = list(held_out())
    assert len(runs) >= 5
    low, high = parse_machine("CPU").speeds("training")
    for run in runs:
        assert 0.8 * low <= run.rate * 1e9 <= 1.2 * high  # on an idle machine somewhat faster than planned
    inside = sum(low <= run.rate * 1e9 <= high for run in runs)
    assert inside >= len(runs) / 2


def test_text_shows_every_entry_with_its_source():
    text = show_calibration()
    for one in published():
        assert one.id in text and one.source in text
    assert "25 to 75 %" in text and "10 to 60 %" in text


def test_lab_teacher_took_what_is_planned():
    """It was trained on two cores in 5,982 s (its curve), which no rate was taken from."""
    import json

    from alice_repro.audit.planner.lab_networks import plan_lab_network
    from alice_repro.config import load_scale
    from alice_repro.models.source import LAB_CHECKPOINT

    last = json.loads((LAB_CHECKPOINT / "curve.jsonl").read_text().splitlines()[-1])
    plan = plan_lab_network("lab_teacher", load_scale("lab"), parse_machine("2xCPU"))
    assert last["update"] == 11_000
    assert plan.wall[0] <= last["seconds"] / 3600 <= plan.wall[1]
