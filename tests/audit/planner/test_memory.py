"""Memory and files: exact parts by hand, activations against what torch keeps, totals against measured peaks."""

from __future__ import annotations

import json

import pytest

from alice_repro.audit.planner import memory
from alice_repro.audit.planner.disk import files
from alice_repro.audit.planner.memory import KEPT, Setup, total, training_memory
from alice_repro.audit.planner.network import network_of
from alice_repro.config import CHECKOUT, Recipe, load_recipe, load_scale
from alice_repro.strict import from_mapping

LEDGER = CHECKOUT / "results" / "reference" / "lab" / "methods" / "trained"
GRADIENTS = "gradients, and those of the terms before"
P14 = 14_288_491_584


def parts(scale: str, recipe: str, setup: Setup) -> dict[str, float]:
    loaded = load_scale(scale)
    return {p.name: p.bytes for p in training_memory(loaded, load_recipe(recipe), network_of(loaded), setup)}


def test_weights_gradients_and_moments_by_hand():
    found = parts("wan-14b", "rcm_wan_14b", Setup(1))
    assert found["weights of student, average, fake score"] == 12 * P14
    assert found["weights of the teacher"] == 4 * P14
    assert (found[GRADIENTS], found["moments of AdamW"]) == (12 * P14, 16 * P14)
    sharded = parts("wan-14b", "rcm_wan_14b", Setup(64, True))
    for name in ("weights of student, average, fake score", "weights of the teacher", GRADIENTS, "moments of AdamW"):
        assert sharded[name] == found[name] / 64
    # two experts are not sharded
    assert parts("alice-14b", "rcm_wan_14b", Setup(64, True))["weights of the teacher (two experts, whole)"] == 8 * P14
    # nothing but the student is trained by regression
    assert parts("wan-14b", "regression", Setup(1))[GRADIENTS] == 8 * P14


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize(("width", "mlp"), [(96, 512), (192, 256), (128, 384)])
def test_activations_are_what_torch_keeps(precision, width, mlp):
    import torch
    from diffusers import WanTransformer3DModel
    from torch.autograd.graph import saved_tensors_hooks

    def kept(layers: int) -> int:
        torch.manual_seed(0)
        network = WanTransformer3DModel(
            num_attention_heads=2, attention_head_dim=width // 2, ffn_dim=mlp, num_layers=layers, in_channels=16,
            out_channels=16, text_dim=64, freq_dim=64, rope_max_seq_len=64,
        )  # fmt: skip
        weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
        seen = {}

        def pack(tensor):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                seen[storage.data_ptr()] = storage.nbytes()
            return tensor

        clip, text = torch.randn(1, 16, 5, 16, 16), torch.randn(1, 16, 64)
        cast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
        with saved_tensors_hooks(pack, lambda tensor: tensor), cast:
            network(clip, torch.tensor([500.0]), text, return_dict=False)
        return sum(seen.values())

    by_width, by_mlp = KEPT[precision]
    planned = 5 * 64 * (by_width * width + by_mlp * mlp)
    assert kept(2) - kept(1) == pytest.approx(planned, rel=0.2)


@pytest.mark.parametrize("path", sorted(LEDGER.glob("*/seed0.json")), ids=lambda path: path.parent.name)
def test_measured_peaks_of_the_lab(path):
    entry = json.loads(path.read_text())
    if not entry["device"].startswith("cpu"):
        pytest.skip("was not run on a CPU")
    recipe, scale = from_mapping(Recipe, entry["config"]["recipe"], str(path)), load_scale("lab")
    planned = total(training_memory(scale, recipe, network_of(scale), Setup(1), on_gpu=False))
    assert planned / 1e9 == pytest.approx(entry["peak_memory_gb"], rel=0.15)


def test_what_is_held_in_turn_is_not_added_up():
    recipe, scale = load_recipe("rcm_wan_1.3b"), load_scale("wan-1.3b")
    network = network_of(scale)
    plain = training_memory(scale, recipe, network, Setup(64, True, recomputed=True))
    (scores,) = [part for part in plain if part.name.startswith(memory.DERIVATIVE)]
    assert scores.bytes == 4 * 12 * 32_760**2 * 2  # value and tangent, before and after the softmax; 12 heads; bf16
    assert not any("activations" in part.name for part in plain)  # less, and at another moment
    fused = training_memory(scale, recipe, network, Setup(64, True, fused=True))
    assert any(part.name == "activations of 1 clip(s)" for part in fused)
    embeddings = next(part.bytes for part in fused if part.name.startswith("embeddings"))
    assert embeddings == 2 * 1000 * 512 * 4096 * 4


def test_setup_is_the_first_that_fits():
    scale, recipe = load_scale("wan-1.3b"), load_recipe("rcm_wan_1.3b")
    network = network_of(scale)
    assert memory.choose_setup(scale, recipe, network, 1, 1e15) == Setup(1)
    eight = memory.choose_setup(scale, recipe, network, 8, 80e9)
    assert eight == Setup(8, True, True, True)  # and even so
    assert total(training_memory(scale, recipe, network, eight)) > 80e9
    fewest = memory.smallest_count(scale, recipe, network, 80e9)
    assert total(training_memory(scale, recipe, network, Setup(fewest, True, True, True))) <= 80e9
    assert total(training_memory(scale, recipe, network, Setup(fewest // 2, True, True, True))) > 80e9
    big = load_scale("alice-14b")
    assert memory.smallest_count(big, load_recipe("rcm_wan_14b"), network_of(big), 80e9) is None


def test_files_are_what_the_code_writes():
    scale, recipe = load_scale("lab"), load_recipe("rcm")
    network = network_of(scale)
    found = {p.name: p.bytes for p in files(scale, network, 360, [(recipe, 2)], 4)}
    count = network.parameters
    assert found["latents of 360 training clips, float16"] == 360 * 16 * 5 * 8 * 8 * 2
    assert found["checkpoints of 2 run(s)"] == 2 * 28 * count
    assert found["a checkpoint's successor while it is written"] == 28 * count
    assert found["students and snapshots, 4"] == 4 * 4 * count
    assert "864 videos (mp4)" in found


def test_checkpoint_has_the_planned_size(tmp_path):
    """A real training's checkpoint: student, average and their moments, fake score and its own."""
    import torch

    from alice_repro.training.checkpoint import optimizer_tensors, save_checkpoint, with_prefix

    net = torch.nn.Linear(64, 64)
    optimizer = torch.optim.AdamW(net.parameters(), betas=(0.0, 0.99))
    net(torch.randn(2, 64)).sum().backward()
    optimizer.step()
    tensors = {}
    for name in ("student", "average", "fake"):
        tensors |= with_prefix(name, net.state_dict())
    for name in ("student_optimizer", "critic_optimizer"):
        tensors |= with_prefix(name, optimizer_tensors(optimizer))
    save_checkpoint(tmp_path / "c.safetensors", tensors, {})
    count = sum(p.numel() for p in net.parameters())
    assert (tmp_path / "c.safetensors").stat().st_size == pytest.approx(memory.checkpoint_bytes(count, True), rel=0.02)
