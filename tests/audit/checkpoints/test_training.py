"""The lab's transformer really trained for a few steps: structured in nearly every matrix, in fp32 and in bf16."""

from __future__ import annotations

from pathlib import Path

import pytest

import alice_repro.models
from alice_repro.audit.checkpoints import synthetic
from alice_repro.audit.checkpoints.demonstration import audit

LAB = Path(alice_repro.models.__file__).parent / "lab_checkpoint"


@pytest.fixture(scope="module")
def students():
    """The teacher's weights, and those after 5 and after 60 steps of AdamW on the flow-matching loss."""
    import torch
    from diffusers import WanTransformer3DModel

    torch.manual_seed(0)
    model = WanTransformer3DModel.from_pretrained(LAB, subfolder="transformer")
    kept = [{n: x.clone() for n, x in model.state_dict().items()}]
    adam = torch.optim.AdamW(model.parameters(), lr=1e-4)
    clips = torch.randn(8, 16, 1, 2, 2).repeat_interleave(4, -1).repeat_interleave(4, -2).repeat(1, 1, 3, 1, 1)
    text = torch.randn(8, 6, model.config.text_dim)
    for step in range(60):
        chosen, noise = torch.randint(8, (2,)), torch.randn(2, 16, 3, 8, 8)
        t = torch.rand(2)
        x = (1 - t).view(-1, 1, 1, 1, 1) * clips[chosen] + t.view(-1, 1, 1, 1, 1) * noise
        velocity = model(x, 1000 * t, text[chosen], return_dict=False)[0]
        loss = (velocity - (noise - clips[chosen])).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step in (4, 59):
            kept.append({n: x.clone() for n, x in model.state_dict().items()})
    return kept


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 2], ids=["5 steps", "60 steps"])
@pytest.mark.parametrize("half", [False, True], ids=["fp32", "bf16"])
def test_real_training_is_training(students, after, half):
    import torch

    teacher, student = students[0], students[after]
    if half:
        teacher, student = (synthetic.cast(w, torch.bfloat16) for w in (teacher, student))
    _, seen = audit(teacher, student)
    assert seen.kind == "training-like"
    sizes = {kind: sum(one.size for one in seen.characters if one.kind == kind) for kind in ("training-like", "noise")}
    assert sizes["noise"] < 0.03 * sizes["training-like"]


@pytest.mark.slow
def test_noise_on_a_trained_student(students):
    """Said from a quarter of the energy of the change on; below that, it is not told from the training's own floor."""
    teacher, student = students[:2]
    _, seen = audit(teacher, synthetic.noised(student, 8e-3, seed=5))
    assert seen.kind == "training-like + noise"
    largest = next(part for part in seen.parts if part.kind == "training-like")
    assert largest.numbers["noise"]["median"] == pytest.approx(8e-3, rel=0.15)


@pytest.mark.slow
def test_two_students_and_their_mean(students):
    """A mean of teacher and student is a mixture if both are given, and a training if the student is not."""
    teacher, student = students[0], students[2]
    mean = synthetic.mixed(teacher, student, 0.45)
    assert audit(teacher, mean, student)[1].kind == "interpolated"
    assert audit(teacher, mean)[1].kind == "training-like"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["finetune", "regression"])
def test_a_few_hundred_updates_of_the_labs_own_recipe(tmp_path, method):
    """The lab's teacher tuned by the package's trainer on clean clips, and read back from the files that it writes."""
    from alice_repro.audit.checkpoints.compare import compare
    from alice_repro.audit.checkpoints.layouts import open_checkpoint
    from alice_repro.config import load_recipe, load_scale
    from alice_repro.training.loop import Trainer
    from alice_repro.workflow.stages import make_training_clips

    scale = load_scale("lab", ("data.source=clean", "data.samples_per_caption=1"))
    make_training_clips(scale, "trained", tmp_path / "clips")
    Trainer(scale, load_recipe(method), "trained", 0, tmp_path / "clips", tmp_path / "run").run()
    found = compare(open_checkpoint(LAB), open_checkpoint(tmp_path / "run" / "student"))
    (network,) = found.networks
    assert network.judgement.kind == "training-like" and network.judgement.confidence.startswith("high")
