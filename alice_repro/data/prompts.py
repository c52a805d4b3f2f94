"""Which captions: those that students are trained on, and those that everything is judged by."""

from __future__ import annotations

from math import gcd
from pathlib import Path

from alice_repro.config import LabTeacherRecipe, PromptConfig, load_lab_teacher_recipe
from alice_repro.errors import UserError, unknown_name
from alice_repro.world.captions import Caption, all_captions

SPLITS = ("train", "evaluate")


def prompts_for(config: PromptConfig, split: str) -> list[str]:
    """Captions of a split: of the lab's world, or the lines of a text file, those for evaluation first.

    Raises:
        UserError: unknown split; the file is missing or holds fewer prompts than both splits ask for.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    if config.source == "world":
        wanted = config.train if split == "train" else config.evaluate
        return [str(caption) for caption in world_captions(split, wanted, load_lab_teacher_recipe())]
    path = Path(config.source)
    if not path.exists():
        raise UserError(
            f"prompt file {path} does not exist; give one with  --set prompts.source=FILE  (a prompt a line)"
        )
    lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    lines = list(dict.fromkeys(lines))  # a prompt that stands twice would be in both splits
    if len(lines) < config.evaluate + config.train:
        raise UserError(
            f"{path} holds {len(lines)} different prompts, fewer than the {config.evaluate} for evaluation and the "
            f"{config.train} for training"
        )
    return lines[: config.evaluate] if split == "evaluate" else lines[config.evaluate :][: config.train]


def world_captions(split: str, count: int, recipe: LabTeacherRecipe) -> list[Caption]:
    """``count`` captions of a split, spread evenly over (shape, colour, motion) tuples and over settings.

    Held-out tuples are the evaluation split; no training caption has one.
    """
    captions = [
        caption
        for caption in all_captions(recipe.shapes, recipe.colours, recipe.motions)
        if caption.held_out == (split == "evaluate")
    ]
    settings = list(dict.fromkeys(caption.setting for caption in captions))
    tuples = list(dict.fromkeys((caption.colour, caption.shape, caption.motion) for caption in captions))
    by_words = {(c.colour, c.shape, c.motion, c.setting): c for c in captions}
    # Walk the tuples with a stride so that a short list still has every colour, shape and motion; each later pass
    # moves on by two settings, so that three passes give a tuple three well-spread categories.
    chosen = []
    for i in range(count):
        lap, place = divmod(i, len(tuples))
        words = tuples[place * _stride(len(tuples)) % len(tuples)]
        chosen.append(by_words[*words, settings[(place + 2 * lap + lap // 3) % len(settings)]])
    if len(set(chosen)) < count:
        raise UserError(f"the lab's world has {len(captions)} {split} captions, fewer than the {count} asked for")
    return chosen


def _stride(length: int) -> int:
    """A step near 0.4 of the length that visits every place once."""
    step = max(1, round(0.4 * length))
    while gcd(step, length) > 1:
        step += 1
    return step
