"""Claims against plans: the paper's own settings, the audit's floor and words."""

from __future__ import annotations

import json

import pytest

from alice_repro.audit.findings import CONSISTENT, IMPOSSIBLE, NEEDS_A_RUN, NOT_TESTABLE
from alice_repro.audit.interval import Interval
from alice_repro.audit.planner import claims
from alice_repro.audit.planner.claims import compare, known_claims, show_claim
from alice_repro.audit.planner.machines import parse_machine
from alice_repro.config import load_recipe
from alice_repro.errors import UserError
from alice_repro.papers import available_documents, load_paper


def test_every_budget_of_the_record_can_be_compared():
    stated = {f"{d}.{budget.id}" for d in available_documents() for budget in load_paper(d).budgets}
    assert stated <= set(known_claims())


def test_generation_by_hand():
    # 1e6 clips x 50 steps x one evaluation of 6.5233e15 operations, at 75 % of 989.4 TFLOP/s
    found = compare("alice.generation")
    least = 1e6 * 50 * 6.523288813568e15 / (0.75 * 989.4e12) / 3600
    assert found.planned[0] == pytest.approx(least, rel=0.03)  # "50" and "1M" may be a little less
    assert found.floor == pytest.approx(45_784, rel=1e-3)  # the audit's, on fp8, which the text does not rule out
    assert found.claimed[0] < 17_000 < found.claimed[1] and found.verdict == IMPOSSIBLE


def test_training_is_below_its_floor_and_its_plan():
    found = compare("alice.training", parse_machine("64xH100"))
    assert found.floor == pytest.approx(46_063, rel=1e-3)
    assert max(found.claimed) < found.floor < found.planned[0] < found.planned[1]
    assert found.verdict == IMPOSSIBLE
    assert len(found.lines) == 4
    assert found.needed[0] > 1  # more than all that the GPUs can do
    text = show_claim(found)
    for word in ("claimed", "floor", "planned", "ratio", "wall time", IMPOSSIBLE, "Approximately 40,000 H100-hours"):
        assert word in text
    json.dumps(found.to_dict(), allow_nan=False, default=vars)


def test_claim_takes_the_papers_steps_and_not_the_recipes():
    small = load_recipe("rcm_wan_14b", ("stages.0.updates=10", "stages.0.batch=1", "stages.1.critic_updates=0"))
    found, other = compare("alice.training"), compare("alice.training", recipe=small)
    assert other.lines[0] == found.lines[0]  # steps and batch are the paper's
    assert other.lines[1][1] < found.lines[1][1]  # the updates of the fake score are the recipe's


class Sound:
    verdict = CONSISTENT


@pytest.mark.parametrize(
    ("hours", "verdict"),
    [((10, 20), NEEDS_A_RUN), ((100, 110), CONSISTENT), ((250, 260), CONSISTENT), ((900, 950), CONSISTENT)],
)
def test_verdicts_above_the_floor(hours, verdict):
    assert claims._verdict(Sound, Interval(*hours), (50.0, 500.0)) == (verdict)


def test_papers_without_hours_are_not_testable():
    found = compare("dfd.pretraining")
    assert (found.verdict, found.claimed, found.floor) == (NOT_TESTABLE, None, None)
    assert found.machine.count == 8 and found.machine.gpu.id == "a100-80gb"
    # 25,000 iterations of 16 clips, 81 frames at 480p: dmd2 noised, 1 + 4 updates of 3 + 1 + 2 and 4 x (1 + 3) passes
    forward, recomputed = 2.8298001383424e14, 5
    most = 25_000 * 16 * (3 + 1 + 2 + 4 * 4 + recomputed) * forward / (0.1 * 312e12) / 3600
    assert found.planned[1] == pytest.approx(most, rel=1e-6)


def test_bad_input_is_told():
    with pytest.raises(UserError, match="did you mean 'alice.training'"):
        compare("alice.trainin")
    with pytest.raises(UserError, match="AVD states neither"):
        compare("avd.training")
    with pytest.raises(UserError, match="has no stage 'stage1'"):
        compare("alice.training", recipe=load_recipe("dmd2"))
    with pytest.raises(UserError, match="hours of alice.training are those of h100"):
        compare("alice.training", parse_machine("64xA100"))
    with pytest.raises(UserError, match="name them"):
        compare("alice.training", parse_machine("2xCPU"))
