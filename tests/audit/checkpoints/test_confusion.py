"""The confusion matrix: every kind of change at sizes and levels that the rules were not made on, judged from files."""

from __future__ import annotations

from collections import Counter

import pytest

from alice_repro.audit.checkpoints import synthetic
from alice_repro.audit.checkpoints.demonstration import audit

# (blocks, share of each side, relative size, rank): 120 and 88 channels wide.
SETTINGS = ((1, 0.75, 7e-3, 5), (2, 0.55, 2e-2, 12))
TRUTH = {
    kind: {"noise in bf16": "noise", "low-rank in bf16": "low-rank", "trained": "training-like",
           "trained in bf16": "training-like", "trained + noise": "training-like + noise"}.get(kind, kind)
    for kind in synthetic.CHANGES
}  # fmt: skip


def judged(a, b, c=None):
    """Judge B against A, and C if there is one, from files."""
    return audit(a, b, c)[1]


def found(kind, setting, seed):
    blocks, share, level, rank = setting
    a = synthetic.lab_weights(blocks, share)
    b, c = synthetic.change(kind, a, level, seed, rank)
    return judged(a, b, c)


@pytest.fixture(scope="module")
def verdicts():
    return {
        (kind, i): found(kind, setting, 100 + i).kind
        for kind in synthetic.CHANGES
        for i, setting in enumerate(SETTINGS)
    }


@pytest.mark.slow
def test_confusion_matrix(verdicts, capsys):
    with capsys.disabled():
        print("\nconfusion matrix (made -> judged):")
        for kind in synthetic.CHANGES:
            counts = Counter(verdicts[kind, i] for i in range(len(SETTINGS)))
            print(f"  {kind:18} -> {', '.join(f'{n} {name}' for name, n in counts.most_common())}")
    wrong = {key: seen for key, seen in verdicts.items() if seen not in (TRUTH[key[0]], "cannot tell")}
    assert not wrong
    assert sum(seen == "cannot tell" for seen in verdicts.values()) <= 2


@pytest.mark.parametrize("kind", synthetic.CHANGES)
def test_each_kind_at_one_size(kind, capsys):
    seen = found(kind, (1, 0.65, 1.3e-2, 6), 3)
    with capsys.disabled():
        print(f"\n  {kind:18} judged {seen.kind}", end=" ")
    assert seen.kind == TRUTH[kind]


@pytest.mark.parametrize("size", [2e-4, 6e-3, 0.07])
def test_noise_is_measured(size):
    a = synthetic.lab_weights(1, 0.6)
    seen = judged(a, synthetic.noised(a, size, seed=2))
    (part,) = (part for part in seen.parts if part.kind == "noise")
    assert part.numbers["noise"]["median"] == pytest.approx(size, rel=0.03)


@pytest.mark.parametrize("size", [4e-4, 2e-3])
def test_noise_is_measured_through_bf16(size):
    """Most of it is rounded away: the few steps that are left still tell how strong it was."""
    import torch

    a = synthetic.cast(synthetic.lab_weights(2, 0.9), torch.bfloat16)
    seen = judged(a, synthetic.noised(a, size, seed=4))
    (part,) = (part for part in seen.parts if part.kind in ("noise", "cannot tell"))
    assert part.numbers["noise"]["median"] == pytest.approx(size, rel=0.1)


@pytest.mark.parametrize("rank", [1, 3, 24])
def test_rank_is_counted(rank):
    a = synthetic.lab_weights(1, 0.7)
    seen = judged(a, synthetic.lora(a, rank, 5e-3, seed=1))
    assert seen.kind == "low-rank"
    assert {one.rank for one in seen.characters if one.kind == "low-rank"} == {rank}


@pytest.mark.parametrize("law", ["global", "entry", "uniform"])
def test_noise_of_other_laws_is_noise(law):
    a = synthetic.lab_weights(1, 0.6)
    assert judged(a, synthetic.noised(a, 8e-3, law, seed=9)).kind == "noise"


def test_mixture_over_blocks_is_told_block_by_block():
    a = synthetic.lab_weights(4, 0.45)
    b = synthetic.in_blocks(a, synthetic.noised(a, 3e-3, seed=1), range(1, 2))
    b = synthetic.in_blocks(b, synthetic.trained(a, 5e-3), range(2, 4))
    seen = judged(a, b)
    assert seen.kind == "mixed"
    assert "blocks 1: independent white noise of relative size 0.003" in seen.summary
    assert "blocks 2-3: structured, training-like change" in seen.summary
    assert set(seen.blocks["blocks.0"]) == {"identical"}


def test_scaling_and_noise_together():
    a = synthetic.lab_weights(1, 0.6)
    seen = judged(a, synthetic.noised(synthetic.scaled(a, 1.02), 5e-3, seed=3))
    assert seen.kind == "noise"
    assert "scaled 1.02" in seen.summary


@pytest.mark.slow
def test_noise_is_hardly_ever_taken_for_training():
    """40 networks of white noise: no tensor of any is called structured."""
    a = synthetic.lab_weights(1, 0.5)
    for seed in range(40):
        seen = judged(a, synthetic.noised(a, 3e-3, ("tensor", "entry")[seed % 2], seed=seed))
        assert not {"training-like", "low-rank"} & {one.kind for one in seen.characters}


def test_too_little_to_tell():
    """Vectors alone: how they changed cannot be told."""
    a = synthetic.lab_weights(1, 0.6)
    b = a | {n: x for n, x in synthetic.noised(a, 1e-2).items() if x.ndim < 2}
    assert judged(a, b).kind == "cannot tell"


def test_not_finite_values_are_said():
    a = synthetic.lab_weights(1, 0.6)
    b = {n: x.clone() for n, x in a.items()}
    b["proj_out.weight"][0, 0] = float("nan")
    (one,) = (c for c in judged(a, b).characters if c.name == "proj_out.weight")
    assert one.kind == "cannot tell"
    assert "1 values are NaN" in one.detail
