"""Fine-tuning by flow matching: its minimiser is the data's own velocity, at all times."""

from __future__ import annotations

import pytest
import torch
from fields import Exact

from alice_repro.config import load_recipe
from alice_repro.distill.finetune import flow_matching_loss
from alice_repro.distill.method import Batch, Networks, Progress
from alice_repro.distill.registry import build_method

RECIPE = load_recipe("finetune")


def loss_of(field, data):
    batch = Batch(data.view(-1, 1, 1, 1, 1), torch.zeros(len(data)).long(), torch.Generator().manual_seed(1))
    terms = build_method(RECIPE, 5.0).terms(Networks(field, field, None, None), batch, RECIPE.stages[0], Progress(0, 0))
    assert {name: weight for name, (weight, _) in terms.items()} == {"flow": 1.0}
    return terms["flow"][1]()[0].item()


def test_loss_at_known_numbers():
    x0, eps, v = torch.zeros(2, 1, 1, 1, 1), torch.ones(2, 1, 1, 1, 1), torch.tensor([2.0, 1.0]).view(2, 1, 1, 1, 1)
    assert flow_matching_loss(v, x0, eps).item() == 0.5
    assert flow_matching_loss(torch.full_like(v, float("nan")), x0, eps).isnan()


@pytest.mark.parametrize("other", [Exact([0.1], 0.5), Exact([0.3], 0.7), Exact([0.3], 0.3)])
def test_the_exact_velocity_of_the_data_is_the_minimiser(other):
    data = 0.3 + 0.5 * torch.randn(40_000, generator=torch.Generator().manual_seed(0))
    assert loss_of(Exact([0.3], 0.5), data) < loss_of(other, data) - 1e-3


def test_times_fill_the_unit_interval_with_the_recipes_shift():
    field = Exact([0.0], 1.0)
    loss_of(field, torch.zeros(20_000))
    t = field.seen[0][1]
    assert 0 < t.min() < 0.05 and 0.95 < t.max() < 1
    assert t.median().item() == pytest.approx(3 * 0.5 / (1 + 2 * 0.5), abs=0.02)  # shift 3 of the median 1/2
