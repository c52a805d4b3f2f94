"""Training the interpolator: it beats both baselines on motion, is deterministic, and says what it cannot use."""

from __future__ import annotations

import json

import pytest
import torch

from alice_repro.cli import main
from alice_repro.config import load_interpolator_recipe
from alice_repro.data.training_clips import TrainingClips
from alice_repro.errors import UserError
from alice_repro.models.interpolator import load_interpolator
from alice_repro.training.interpolator import held_out_error, train_interpolator

RECIPE = ("widths=[8, 8, 8]", "updates=60", "log_every=20", "learning_rate=5e-3", "held_out=0.25")


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Clips (C, T, h, w) = (2, 5, 8, 8) whose motion is a quarter turn a frame: a copy and a mean are both wrong."""
    generator = torch.Generator().manual_seed(0)
    phase = 6.3 * torch.rand(96, 1, 8, 8, generator=generator)
    angle = phase + torch.arange(5).view(1, 5, 1, 1) * torch.pi / 3
    latents = torch.stack([angle.cos(), angle.sin()], dim=1)
    folder = tmp_path_factory.mktemp("waves")
    TrainingClips(latents, torch.arange(96) % 8, [f"caption {k}" for k in range(8)], 0).save(folder)
    return folder


def test_it_beats_both_baselines_on_captions_that_were_held_out(samples, tmp_path):
    error = train_interpolator(load_interpolator_recipe(RECIPE), samples, tmp_path / "net")
    # On the circle the mean of both neighbours is the truth times cos(60 deg), and a copy is off by a chord of 1.
    assert error.linear == pytest.approx(0.125, abs=1e-3) and error.nearest == pytest.approx(0.5, abs=1e-3)
    assert error.unet < 0.5 * error.linear and error.gain.low > 0
    assert (error.clips, error.gain.n) == (24, 2)
    entry = json.loads((tmp_path / "net" / "manifest.json").read_text())["artefacts"]["."]
    assert entry["extra"]["held_out_error"]["unet"] == error.unet and entry["extra"]["training_clips"] == 72
    curve = [json.loads(line) for line in (tmp_path / "net" / "curve.jsonl").read_text().splitlines()]
    assert [row["update"] for row in curve] == [20, 40, 60] and curve[-1]["loss"] < curve[0]["loss"] / 2
    loaded, clips = load_interpolator(tmp_path / "net"), TrainingClips.load(samples)
    held_out = torch.isin(clips.caption, torch.randperm(8, generator=torch.Generator().manual_seed(0))[:2])
    again = held_out_error(loaded, clips.latents[held_out], clips.caption[held_out])
    assert again.unet == pytest.approx(error.unet, rel=1e-6)


def test_the_same_seed_gives_the_same_weights(samples, tmp_path):
    def weights(name, *settings):
        train_interpolator(load_interpolator_recipe((*RECIPE, "updates=3", *settings)), samples, tmp_path / name)
        return load_interpolator(tmp_path / name).state_dict()

    first, second, other = weights("a"), weights("b"), weights("c", "seed=1")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["out.weight"], other["out.weight"])


def test_clips_that_cannot_be_used_are_told(samples, tiny_samples, tmp_path, capsys):
    recipe = load_interpolator_recipe(RECIPE)
    with pytest.raises(UserError, match="clips of 2 latent frames; interpolation needs an odd number, at least 3"):
        train_interpolator(recipe, tiny_samples, tmp_path / "net")
    few = TrainingClips(torch.randn(4, 2, 3, 8, 8), torch.arange(4) % 2, ["a", "b"], 0)
    few.save(tmp_path)
    with pytest.raises(UserError, match="clips of 2 captions: 2 are held out, and none is left"):
        train_interpolator(recipe, tmp_path, tmp_path / "net")
    words = ["train-interpolator", "--samples", str(samples), "--output", str(tmp_path / "net"), "--set"]
    assert main([*words, "update=3"]) == 2
    assert "did you mean 'updates'" in capsys.readouterr().err
    assert main([*words, "updates=2", "--set", "log_every=1"]) == 0
    assert "mean of both neighbours" in capsys.readouterr().out
