"""Changes that one formula gives: each found by its name, on matrices of two sizes, in both directions."""

from __future__ import annotations

from pathlib import Path

import pytest

from alice_repro.audit.checkpoints import synthetic
from alice_repro.audit.checkpoints.demonstration import audit

NOTEBOOK = Path(__file__).parents[3] / "notebooks/audit/checkpoints.ipynb"


def formulas(kind, weights):
    import torch

    half, e4, e5 = torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2
    return {
        "cast to bf16": lambda: synthetic.cast(weights, half, keep=False),
        "cast to fp16": lambda: synthetic.cast(weights, torch.float16),
        "cast to fp8 e4m3": lambda: synthetic.cast(weights, e4),
        "cast to fp8 e5m2": lambda: synthetic.cast(weights, e5, keep=False),
        "int8, a scale per row": lambda: synthetic.cast(synthetic.integers(weights), half),
        "int8, a scale per tensor": lambda: synthetic.integers(weights, per="tensor"),
        "int4, a scale per group of 32": lambda: synthetic.integers(weights, 4, "group"),
        "fp8 e4m3, a scale per tensor": lambda: synthetic.eighths(weights, e4),
        "fp8 e5m2, a scale per row": lambda: synthetic.cast(synthetic.eighths(weights, e5, "row"), half),
        "scaled by 1.003": lambda: synthetic.cast(synthetic.scaled(weights, 1.003), half),
        "each row scaled": lambda: synthetic.scaled(weights, 1.2, per_row=True),
    }[kind]()


KINDS = (
    "cast to bf16", "cast to fp16", "cast to fp8 e4m3", "cast to fp8 e5m2", "int8, a scale per row",
    "int8, a scale per tensor", "int4, a scale per group of 32", "fp8 e4m3, a scale per tensor",
    "fp8 e5m2, a scale per row", "scaled by 1.003", "each row scaled",
)  # fmt: skip


def square(side):
    """One matrix of a trained network, cut to a side that groups of 32 fit."""
    weights = synthetic.lab_weights(1)
    return {"blocks.0.w.weight": weights["condition_embedder.time_proj.weight"][:side, : side - side % 32].clone()}


@pytest.mark.parametrize("side", [97, 160])
@pytest.mark.parametrize("kind", KINDS)
def test_formula_is_found(kind, side):
    a = square(side)
    ((seen,), _) = audit(a, formulas(kind, a))
    assert kind in seen.detail.replace("1.00300", "1.003") or kind[:12] in seen.detail
    assert not seen.reverse
    assert seen.explained >= 0.999 * seen.size


@pytest.mark.parametrize("kind", ["cast to bf16", "int8, a scale per row", "fp8 e4m3, a scale per tensor"])
def test_formula_is_found_the_other_way_round(kind):
    a = square(128)
    ((seen,), _) = audit(formulas(kind, a), a)
    assert kind in seen.detail
    assert seen.reverse


@pytest.mark.slow
def test_notebook_runs(tmp_path):
    from alice_repro.workflow.notebook import run_notebook

    run_notebook(NOTEBOOK, tmp_path / "out.ipynb", {"share": 0.5, "noises": [2e-3]}, timeout=280, cwd=tmp_path)
