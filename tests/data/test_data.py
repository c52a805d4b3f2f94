"""Prompts and stored clips."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from alice_repro.config import load_lab_teacher_recipe, load_scale
from alice_repro.data.prompts import prompts_for, world_captions
from alice_repro.data.training_clips import SAMPLES, TrainingClips
from alice_repro.data.world_clips import exact_clips
from alice_repro.errors import UserError
from alice_repro.models.codec import normalise_latents, to_unit_range
from alice_repro.world.captions import parse_caption
from alice_repro.world.clips import make_clip

PROMPTS = load_scale("lab").prompts
RECIPE = load_lab_teacher_recipe()


def words(text):
    caption = parse_caption(text)
    return caption.shape, caption.colour, caption.motion


def test_no_evaluated_tuple_is_trained_on():
    train, evaluate = prompts_for(PROMPTS, "train"), prompts_for(PROMPTS, "evaluate")
    assert len(set(train)) == PROMPTS.train and len(set(evaluate)) == PROMPTS.evaluate
    assert not {words(t) for t in train} & {words(t) for t in evaluate}
    known = {(c.shape, c.colour, c.motion) for c in world_captions("train", 90, RECIPE)}
    assert not known & {words(t) for t in evaluate}, "not even by the lab teacher"


def test_captions_are_spread_evenly():
    captions = world_captions("evaluate", PROMPTS.evaluate, RECIPE)
    assert set(Counter((c.shape, c.colour, c.motion) for c in captions).values()) == {3}
    assert set(Counter(c.setting for c in captions).values()) == {9}
    for share in ("shape", "colour", "motion"):
        counts = Counter(getattr(c, share) for c in captions)
        assert max(counts.values()) == min(counts.values()), share
    few = world_captions("evaluate", 6, RECIPE)
    assert (
        len({c.colour for c in few}) >= 5 and len({c.motion for c in few}) >= 3 and len({c.setting for c in few}) == 6
    )
    train = world_captions("train", PROMPTS.train, RECIPE)
    assert max(Counter(c.setting for c in train).values()) <= 22
    assert len(set(world_captions("evaluate", 108, RECIPE))) == 108, "every held-out caption can be had"


def test_too_many_captions_and_unknown_splits_are_refused():
    with pytest.raises(UserError, match="108 evaluate captions"):
        world_captions("evaluate", 109, RECIPE)
    with pytest.raises(UserError, match="'evaluate'"):
        prompts_for(PROMPTS, "evaluation")


def test_prompts_from_a_file(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("a cat\n\n  a dog \na cow\na cat\na bird\n")
    config = replace(PROMPTS, source=str(path), train=1, evaluate=3)
    assert prompts_for(config, "evaluate") == ["a cat", "a dog", "a cow"]
    assert prompts_for(config, "train") == ["a bird"], "none that students are judged by"
    with pytest.raises(UserError, match="holds 4 different prompts, fewer than the 3 for evaluation and the 2"):
        prompts_for(replace(config, train=2), "evaluate")
    with pytest.raises(UserError, match="missing.txt does not exist"):
        prompts_for(replace(config, source=str(tmp_path / "missing.txt")), "train")


@pytest.fixture
def samples():
    latents = torch.randn(4, 2, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    return TrainingClips(latents, torch.tensor([0, 1, 1, 0]), ["a red ball", 'h\u00e9, "b"'], 100)


def test_training_clips_round_trip(samples, tmp_path):
    samples.save(tmp_path)
    loaded = TrainingClips.load(tmp_path)
    assert torch.equal(loaded.latents, samples.latents.half().float()) and loaded.latents.dtype == torch.float32
    assert torch.equal(loaded.caption, samples.caption)
    assert (loaded.captions, loaded.evaluations) == (samples.captions, 100)


def test_damaged_samples_are_named(samples, tmp_path):
    with pytest.raises(UserError, match="does not exist: make the training clips first"):
        TrainingClips.load(tmp_path)
    samples.save(tmp_path)
    path = tmp_path / SAMPLES
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    with pytest.raises(UserError, match="samples.safetensors is truncated"):
        TrainingClips.load(tmp_path)
    save_file({"latents": torch.zeros(1), "caption": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="samples.safetensors is .*not a file of training clips"):
        TrainingClips.load(tmp_path)
    samples.latents[2, 0] = float("nan")
    samples.save(tmp_path)
    with pytest.raises(UserError, match="samples.safetensors holds numbers that are not finite"):
        TrainingClips.load(tmp_path)


def test_exact_clips_are_the_encoded_scenes(codec):
    captions = prompts_for(replace(PROMPTS, evaluate=2), "evaluate")
    latents, scenes = exact_clips(captions, 3, codec)
    assert latents.shape == (2, 3, 16, 5, 8, 8) and [len(row) for row in scenes] == [3, 3]
    assert all(str(scene.caption) == text for text, row in zip(captions, scenes, strict=True) for scene in row)
    frames = torch.from_numpy(make_clip(scenes[1][2]).frames)[None]
    expected = normalise_latents(codec.encode(to_unit_range(frames)).latent_dist.mode(), codec.config)
    torch.testing.assert_close(latents[1, 2], expected[0])
    again, _ = exact_clips(captions[1:], 3, codec)
    assert torch.equal(again[0], latents[1]), "the clips of a caption do not depend on the other captions"
