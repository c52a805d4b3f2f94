"""Changes on top of one another: what is under the last one is named too, and is not taken for it."""

from __future__ import annotations

import pytest
import torch

from alice_repro.audit.checkpoints import synthetic
from alice_repro.audit.checkpoints.demonstration import audit

HALF = torch.bfloat16


@pytest.fixture(scope="module")
def a():
    return synthetic.lab_weights(1, 0.62)


def part(seen, kind):
    """The largest part of a kind."""
    return next(part for part in seen.parts if part.kind == kind)


@pytest.mark.parametrize(("rows", "what"), [(False, "the smallest"), (True, "whole rows")])
@pytest.mark.parametrize("share", [0.2, 0.45])
def test_noise_on_pruned_weights(a, rows, what, share):
    _, seen = audit(a, synthetic.noised(synthetic.pruned(a, share, rows), 0.012, seed=5))
    noise = part(seen, "noise")
    assert seen.kind == "pruned + noise"
    assert f"({what})" in noise.detail
    assert noise.numbers["zeroed"]["median"] == pytest.approx(share, abs=0.02)
    assert noise.numbers["noise"]["median"] == pytest.approx(0.012, rel=0.3)


def test_trained_with_the_mask_kept(a):
    mask, b = synthetic.pruned(a, 0.35), synthetic.trained(a, 0.02, seed=3)
    _, seen = audit(a, {n: x * (mask[n] != 0) if x.ndim > 1 else x for n, x in b.items()})
    assert seen.kind == "pruned + training-like"
    assert not part(seen, "training-like").numbers.get("noise")


def test_pruned_and_scaled_to_keep_the_sum(a):
    _, seen = audit(a, synthetic.scaled(synthetic.pruned(a, 0.3), 1.25))
    assert seen.kind == "pruned"
    assert "the others scaled by 1.25" in seen.summary


def test_nothing_was_pruned_where_noise_is_strong(a):
    evidence, seen = audit(a, synthetic.noised(a, 0.6, seed=1))
    assert seen.kind == "noise"
    assert not any(one.zeroed_what for one in evidence)


@pytest.mark.parametrize("factor", [1.013, 0.88])
def test_a_scaled_copy_of_finer_weights_is_no_noise(a, factor):
    """A was rounded too: rounding both leaves more than rounding B."""
    first, other = synthetic.cast(a, HALF), synthetic.cast(synthetic.scaled(a, factor), HALF)
    _, seen = audit(first, other)
    assert seen.kind == "scaled"
    assert "rounding of A and of B" in seen.summary
    _, seen = audit(first, synthetic.cast(synthetic.noised(synthetic.scaled(a, factor), 0.01, seed=2), HALF))
    assert seen.kind == "noise"


@pytest.mark.parametrize("share", [0.1, 0.35])
def test_a_mixture_with_something_that_is_not_given_is_no_noise(a, share):
    other = synthetic.noised(synthetic.shuffled(a, 3), 0.1, seed=3)
    _, seen = audit(a, synthetic.mixed(a, other, share))
    assert seen.kind == "cannot tell"
    assert "a checkpoint that is not given" in seen.summary


@pytest.mark.parametrize("strength", [1.7, 3.0])
def test_a_training_under_strong_noise_is_no_low_rank(a, strength):
    b = synthetic.noised(synthetic.trained(a, 0.01, seed=8), 0.01 * strength, seed=9)
    _, seen = audit(a, b)
    assert seen.kind == "training-like + noise"


@pytest.mark.parametrize("rank", [1, 2])
def test_a_small_rank_under_noise_is_believed_where_all_agree(a, rank):
    _, seen = audit(a, synthetic.noised(synthetic.lora(a, rank, 0.02, seed=1), 0.01, seed=2))
    assert seen.kind == "low-rank + noise"
    assert {one.rank for one in seen.characters if one.kind == "low-rank"} == {rank}


@pytest.mark.parametrize("dtype", [torch.float32, HALF])
def test_a_rank_above_half_of_the_side_is_counted(dtype):
    """64 of 88: no bulk is left to stand out of, but what follows the step is rounding."""
    a = synthetic.lab_weights(1, 0.46)
    rank = 64
    _, seen = audit(synthetic.cast(a, dtype), synthetic.cast(synthetic.lora(a, rank, 0.3, seed=4), dtype))
    assert {one.rank for one in seen.characters if one.kind == "low-rank"} == {rank}


def test_noise_on_some_of_the_values_is_measured(a):
    draw = torch.Generator().manual_seed(4)
    b = {n: x + (torch.rand(x.shape, generator=draw) < 0.2) * 0.03 * x.square().mean().sqrt()
         * torch.randn(x.shape, generator=draw) for n, x in a.items()}  # fmt: skip
    _, seen = audit(a, b)
    told = max((p for p in seen.parts if "noise" in p.numbers), key=lambda p: p.size)
    assert told.numbers["noise"]["median"] == pytest.approx(0.03 * 0.2**0.5, rel=0.1)
    assert told.numbers["places"]["median"] == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize("size", [3e-4, 1e-3])
@pytest.mark.parametrize("first", ["noise", "cast"])
def test_noise_before_and_after_a_cast(size, first):
    """Both move few values by a step, and far more often before."""
    a = synthetic.lab_weights(2, 0.9)
    if first == "noise":
        b = synthetic.cast(synthetic.noised(a, size, seed=1), HALF)
    else:
        b = synthetic.noised(synthetic.cast(a, HALF), size, seed=1)
    _, seen = audit(a, b)
    (told,) = (p for p in seen.parts if p.kind in ("noise", "cannot tell") and p.size > 1e5)
    assert told.numbers["noise"]["median"] == pytest.approx(size, rel=0.12)


def test_edits_under_a_cast_are_no_cast(a):
    b = {n: x.clone() for n, x in a.items()}
    b["blocks.0.ffn.net.0.proj.weight"][5, 7:10] += 1.0
    _, seen = audit(a, synthetic.cast(b, HALF))
    assert seen.kind == "edited"
    assert "equal after a cast to bf16, but for 3 of" in seen.summary


def test_scale_under_a_product_is_exact(a):
    evidence, seen = audit(a, synthetic.scaled(synthetic.lora(a, 8, 0.05, seed=1), 0.9))
    changed = [one for one in evidence if one.rank]
    assert all(abs(one.factor - 0.9) < 1e-5 for one in changed)
    assert "noise" not in seen.summary


def squares(blocks=3, side=128, seed=0):
    """Square matrices as they are initialised."""
    draw = torch.Generator().manual_seed(seed)
    names = [f"blocks.{b}.attn1.{n}.weight" for b in range(blocks) for n in ("to_q", "to_k", "to_v", "to_out.0")]
    return {name: torch.randn(side, side, generator=draw) / side**0.5 for name in names}


def of_fours(x):
    """The two largest of every four neighbours."""
    y = x.reshape(-1, 4)
    return (y * (y.abs() > y.abs().sort(1).values[:, 1:2])).reshape(x.shape)


def at_random(x):
    return x * (torch.rand(x.shape, generator=torch.Generator().manual_seed(2)) > 0.2)


@pytest.mark.parametrize(("prune", "share"), [(of_fours, 0.5), (at_random, 0.2)])
def test_noise_on_values_that_were_pruned_by_any_rule(prune, share):
    a = squares()
    _, seen = audit(a, synthetic.noised({n: prune(x) for n, x in a.items()}, 0.02, seed=1))
    assert seen.kind == "pruned + noise"
    noise = part(seen, "noise")
    assert noise.numbers["zeroed"]["median"] == pytest.approx(share, abs=0.03)
    assert noise.numbers["noise"]["median"] == pytest.approx(0.02, rel=0.35)


def test_a_pruned_merge_has_no_noise():
    a = squares()
    _, seen = audit(a, synthetic.pruned(synthetic.lora(a, 8, 0.15, seed=3), 0.3))
    assert seen.kind == "pruned + low-rank"
    assert "noise" not in seen.summary


@pytest.mark.parametrize(("rank", "side"), [(32, 128), (64, 256)])
def test_noise_under_a_product_is_measured_whatever_its_rank(rank, side):
    a = squares(1, side)
    _, seen = audit(a, synthetic.noised(synthetic.lora(a, rank, 0.3, seed=3), 0.01, seed=4))
    assert seen.kind == "low-rank + noise"
    noise = 0.01 * (1 + 0.3**2) ** 0.5  # relative to what the product made of A
    assert part(seen, "low-rank").numbers["noise"]["median"] == pytest.approx(noise, rel=0.03)


def test_rows_scaled_by_factors_of_their_own_under_noise_and_rounding():
    a = squares()
    rows = {n: x * (1 + 0.1 * torch.randn(len(x), 1, generator=torch.Generator().manual_seed(5))) for n, x in a.items()}
    _, seen = audit(a, synthetic.noised(rows, 1e-3, seed=6))
    assert "each row scaled, then independent white noise of relative size 0.001" in seen.summary
    _, seen = audit(synthetic.cast(a, HALF), synthetic.cast(rows, HALF))
    assert seen.kind == "scaled"


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("dtype", [torch.float32, HALF])
def test_asymmetric_integers_with_a_rounded_zero_point(bits, dtype):
    def rounded(x):
        low, most = x.amin(1, keepdim=True), 2**bits - 1
        step = (x.amax(1, keepdim=True) - low) / most
        zero = (-low / step).round()
        return (((x / step).round() + zero).clamp(0, most) - zero) * step

    a = squares()
    _, seen = audit(a, synthetic.cast({n: rounded(x) for n, x in a.items()}, dtype))
    assert seen.kind == "quantised"
    assert f"int{bits}, a scale per row" in seen.summary


@pytest.mark.parametrize(("mine", "theirs"), [(0.8, 0.45), (0.89, 0.456)])
def test_sums_and_spherical_mixtures_with_something_that_is_not_given(mine, theirs):
    a, c = squares(), squares(seed=9)
    _, seen = audit(a, {n: mine * x + theirs * c[n] for n, x in a.items()})
    assert seen.kind == "cannot tell"
    assert "a checkpoint that is not given" in seen.summary


def test_a_tensor_of_another_shape_is_not_passed_over():
    a = squares(2) | {"blocks.0.ffn.net.2.weight": torch.randn(128, 384)}
    _, seen = audit(a, a | {"blocks.0.ffn.net.2.weight": torch.randn(384, 128)})
    assert seen.kind == "mixed"
    assert "1 tensors hold as many values in another shape" in seen.summary


def test_a_constant_is_no_cast_of_what_is_near_it():
    a = squares(1) | {f"blocks.0.attn{i}.norm_q.weight": torch.ones(128) for i in (1, 2)}
    draw = torch.Generator().manual_seed(7)
    b = {n: x + 0.02 * torch.randn(x.shape, generator=draw) if "norm" in n else x for n, x in a.items()}
    _, seen = audit(a, b)
    assert not {"cast", "scaled", "quantised"} & {one.kind for one in seen.characters}


def test_two_roundings_of_the_same_values_are_a_cast():
    a = squares()
    _, seen = audit(synthetic.cast(a, HALF), synthetic.cast(a, torch.float16))
    assert seen.kind == "cast"


def test_flipped_rows_are_not_told_by_the_factor_of_a_vector():
    a = squares() | {"blocks.0.attn1.norm_q.weight": torch.rand(128)}
    flip = (torch.arange(128) % 3 == 0)[:, None] * 2.0 - 1
    _, seen = audit(a, {n: x * flip if x.ndim == 2 else -x for n, x in a.items()})
    assert "each row scaled by a factor of its own" in seen.summary


def test_a_mixture_whose_hidden_units_were_reordered(a):
    other = synthetic.noised(a, 0.3, seed=7)
    _, seen = audit(a, synthetic.reordered(synthetic.mixed(a, other, 0.25), seed=2), other)
    assert seen.kind == "interpolated"
    assert "rows in another order, mixture, 0.75 A + 0.25 C" in seen.summary
