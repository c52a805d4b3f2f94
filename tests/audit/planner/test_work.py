"""Operations of an update: by hand, against torch's own counter, and what follows from them."""

from __future__ import annotations

import pytest

from alice_repro.audit.planner.lab_networks import plan_lab_network
from alice_repro.audit.planner.machines import Machine, parse_machine
from alice_repro.audit.planner.network import Network, network_of
from alice_repro.audit.planner.plan import Experiment, Variant, lines, make_plan
from alice_repro.audit.planner.work import Work, operations_of, training, training_clips
from alice_repro.config import load_recipe, load_scale, resolve
from alice_repro.distill.calls import Calls
from alice_repro.errors import UserError
from alice_repro.models.flops import DECODER_FIRST, DECODER_NEXT, backward_flops, forward_flops
from alice_repro.papers import Model

# 5 tokens; a forward pass is 2,432 operations (counted by hand in tests/audit/test_limits.py)
TINY = Network(Model("t", "", "", "stated", 1, 4, 1, 8, 1, (1, 1, 1), (1, 1, 1), 3), 1, 4, 0.0, 5, 1, 1, False)


def scale(name: str = "lab", *settings: str):
    return load_scale(name, settings)


def test_regression_by_hand():
    recipe = load_recipe("regression", ("stages.0.updates=7", "stages.0.batch=3"))
    (work,) = training(scale(), recipe, TINY)
    assert (work.evaluations, work.operations) == (21, 21 * 3 * 2432)
    assert training(scale(), recipe, TINY, recomputed=True)[0].operations == 21 * 4 * 2432
    assert training(scale(), recipe, TINY, runs=5)[0].operations == 5 * work.operations


def test_consistency_by_hand():
    # derivative: matrices on the clip twice, attention three times, cross-attention's products twice, text once
    derivative = 2 * (640 + 320 + 640) + 3 * 400 + 192 + 2 * 240
    recipe = load_recipe("scm", ("stages.0.updates=1", "stages.0.batch=1"))
    (work,) = training(scale(), recipe, TINY)
    assert work.operations == 2 * 2432 + 3 * 2432 + derivative
    assert training(scale("lab", "teacher.guidance=1.0"), recipe, TINY)[0].operations == 4 * 2432 + derivative
    assert training(scale(), recipe, TINY, teacher="exact")[0].operations == 3 * 2432 + derivative


def test_discriminator_crosses_the_teacher_without_its_weights():
    through = 2432 + (640 + 320 + 640) + 2 * 400 + 240
    assert operations_of(Calls(through=1, unguided=1), TINY, guided_calls=True, recomputed=False) == through


def test_torch_counts_the_same_for_the_real_network():
    import torch
    from diffusers import WanTransformer3DModel
    from torch.utils.flop_counter import FlopCounterMode

    network = WanTransformer3DModel(
        num_attention_heads=4, attention_head_dim=32, ffn_dim=512, num_layers=4, in_channels=16, out_channels=16,
        text_dim=64, freq_dim=64, rope_max_seq_len=64,
    )  # fmt: skip
    clip, text = torch.randn(1, 16, 5, 32, 32), torch.randn(1, 32, 64)
    with FlopCounterMode(display=False) as forward:
        out = network(clip, torch.tensor([500.0]), text, return_dict=False)[0]
    with FlopCounterMode(display=False) as backward:
        out.sum().backward()
    model = Model("", "", "", "public", 4, 128, 4, 512, 16, (1, 2, 2), (4, 8, 8), 32)
    n = 5 * 16 * 16
    assert forward.get_total_flops() == pytest.approx(forward_flops(model, n), rel=0.02)
    # torch runs attention's scores again in the backward pass: 5 products for 4
    extra = 4 * 2 * n * n * 128
    assert backward.get_total_flops() == pytest.approx(backward_flops(model, n) + extra, rel=0.05)


@pytest.mark.slow
def test_torch_counts_the_same_for_the_decoder():
    import torch
    from diffusers import AutoencoderKLWan
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        decoder = AutoencoderKLWan()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        decoder.decode(torch.empty(1, 16, 3, 8, 8, device="meta"))
    assert counter.get_total_flops() == pytest.approx(64 * (DECODER_FIRST + 2 * DECODER_NEXT), rel=0.02)


def test_interpolator_is_what_torch_counts():
    from alice_repro.models.interpolator import FrameInterpolator
    from alice_repro.sampling.flops import interpolation_flops

    plan = plan_lab_network("interpolator", scale(), parse_machine("2xCPU"))
    forward = interpolation_flops(FrameInterpolator(16, (32, 64, 128)), 2, 8, 8)
    assert plan.operations == pytest.approx(1000 * 32 * 3 * forward, rel=0.01)


def test_lab_network_has_the_shipped_parameters():
    import json

    from alice_repro.models.source import LAB_CHECKPOINT

    with (LAB_CHECKPOINT / "transformer" / "diffusion_pytorch_model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    sizes = 0
    for tensor in header.values():
        size = 1
        for side in tensor["shape"]:
            size *= side
        sizes += size
    assert network_of(scale()).parameters == sizes


def test_training_clips_are_those_of_the_stage():
    work, clips = training_clips(scale(), TINY)
    assert (clips, work.evaluations) == (360, 360 * 100)
    work, clips = training_clips(scale(), TINY, "exact")
    assert (clips, work.evaluations) == (7 * 54, 0)  # as many as the trained teacher gives, nearly
    assert training_clips(scale("lab", "data.source=clean"), TINY)[0].evaluations == 0


def plan(gpus: str, name: str = "wan-1.3b", *settings: str, runs: int = 1):
    resolved, recipe = resolve(name, settings)
    return make_plan(Experiment("", resolved, (Variant(resolved, recipe),), runs=runs), parse_machine(gpus))


def test_twice_the_gpus_half_the_wall_time():
    one, two = plan("16xH100"), plan("32xH100")
    assert two.hours == pytest.approx(one.hours)
    trained = [[line.wall for line in p.lines if line.work.kind == "training"] for p in (one, two)]
    for before, after in zip(*trained, strict=True):
        assert after == pytest.approx([hours / 2 for hours in before])
    whole = (sum(low for low, _ in t) for t in trained)
    assert next(whole) / next(whole) == pytest.approx(2)
    assert 0.5 * one.wall[1] <= two.wall[1] < 0.52 * one.wall[1]  # starting and scoring do not scale


def test_gpus_that_cannot_share_the_batch_stand_idle():
    many = plan("48xH100")  # batches of 64
    assert many.trainings[0].setup.processes == 32
    assert any("at most 32 of the 48" in note for note in many.notes)
    assert plan("100xH100").trainings[0].setup.processes == 64
    assert Work("", "training", 1, 1, 1.0, 12).usable(8) == 6


def test_more_work_costs_more():
    base = plan("16xH100")
    assert plan("16xH100", "wan-1.3b", "model.frames=121").hours[0] > base.hours[0]
    assert plan("16xH100", "wan-1.3b", "recipe.stages.1.updates=18000").hours[0] > 1.9 * base.hours[0]
    assert plan("16xH100", runs=2).hours[0] > 1.9 * base.hours[0]
    assert plan("16xA100").hours[0] == pytest.approx(base.hours[0] * 989.4 / 312, rel=0.01)
    assert all(line.hours[0] <= line.hours[1] for line in base.lines)


def test_fixed_seconds_are_core_hours_in_the_lab_alone():
    work = Work("", "fixed", 1, 0, 0.0, 4, (3600.0, 7200.0))
    (line,) = lines([work], Machine(2, None))
    assert (line.hours, line.wall) == ((1, 2), (0.5, 1))
    (line,) = lines([work], parse_machine("8xH100"))
    assert (line.hours, line.wall) == ((0, 0), (0.25, 0.5))


@pytest.mark.parametrize(
    ("text", "said"),
    [("0xH100", "at least one"), ("64", "COUNTxNAME"), ("", "COUNTxNAME"), ("-3xH100", "COUNTxNAME"),
     ("8xB200", "h200-141gb"), ("8xTPU", "unknown GPU 'TPU'")],
)  # fmt: skip
def test_machines_that_are_none(text, said):
    with pytest.raises(UserError, match=said):
        parse_machine(text)


def test_machines_by_short_and_full_names():
    assert parse_machine("64xH100").gpu.id == "h100-sxm-80gb"
    assert parse_machine("8 x a100-40gb").gpu.memory == 40
    assert parse_machine("RTX-4090").count == 1
    assert parse_machine("2xCPU").gpu is None


def test_scale_without_sizes_is_refused(tmp_path):
    with pytest.raises(UserError, match="Wan2.1-T2V-14B"):
        network_of(scale("lab", "model.source=Somebody/Unknown-3B"))
    with pytest.raises(UserError, match="at scale lab"):
        plan_lab_network("lab_teacher", scale("wan-14b"), parse_machine("H100"))


def test_own_utilisation_replaces_the_range():
    from alice_repro.audit.planner.machines import with_shares

    machine = with_shares(parse_machine("16xH100"), (0.4,))
    resolved, recipe = resolve("wan-1.3b")
    found = make_plan(Experiment("", resolved, (Variant(resolved, recipe),)), machine)
    assert found.hours[0] == found.hours[1] == pytest.approx(found.operations / (0.4 * 989.4e12) / 3600)
    for shares in ((0.0,), (1.2,), (0.1, 0.2, 0.3)):
        with pytest.raises(UserError, match="above 0 and up to 1"):
            with_shares(parse_machine("H100"), shares)
    with pytest.raises(UserError, match="name GPUs"):
        with_shares(parse_machine("2xCPU"), (0.5,))


def test_settings_that_make_no_run_are_refused(tmp_path):
    for setting, said in {
        "stages.0.batch=0": "batch",
        "stages.0.updates=0": "updates",
        "stages.0.target_steps=0": "steps",
    }.items():
        with pytest.raises(UserError, match=said):
            training(scale(), load_recipe("dmd2", (setting,)), TINY)
    with pytest.raises(UserError, match="smaller than one token"):
        network_of(scale("lab", "model.width=8"))
    (tmp_path / "transformer").mkdir()
    (tmp_path / "vae").mkdir()
    for part in ("transformer", "vae"):
        (tmp_path / part / "config.json").write_text("{}")
    with pytest.raises(UserError, match="not those of a diffusers Wan pipeline"):
        network_of(scale("lab", f"model.source={tmp_path}"))


def test_many_gpus_are_planned_at_once():
    assert plan("1000000000xH100").trainings[0].setup.processes == 64
