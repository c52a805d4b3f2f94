"""Making the lab checkpoint: render the world, fit the codec, train text encoder and transformer by flow matching.

The regression target is the exact velocity of the caption's finite set of clips (``models.exact``), not that of the
one clip that was noised: the same minimiser as flow matching on those clips, with a far lower variance near t = 1.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from alice_repro.config import LabTeacherRecipe
from alice_repro.files import atomic_folder, atomic_path, atomic_write_text
from alice_repro.flow.schedule import add_noise, shift_time, velocity
from alice_repro.manifest import write_manifest
from alice_repro.models.codec import LabCodec, normalise_latents, to_unit_range
from alice_repro.models.exact import posterior_mean
from alice_repro.models.lab import (
    assemble,
    build_text_encoder,
    build_tokenizer,
    build_transformer,
    float32_rotary,
    quiet_time_columns,
)
from alice_repro.models.text import embed_tokens, tokenise
from alice_repro.progress import track
from alice_repro.training.checkpoint import (
    load_checkpoint,
    load_optimizer_tensors,
    optimizer_tensors,
    save_checkpoint,
    with_prefix,
    without_prefix,
)
from alice_repro.training.ema import power_decay, power_exponent, update_average
from alice_repro.world.captions import Caption, all_captions
from alice_repro.world.clips import draw_scene, make_clip

CHECKPOINT = "checkpoint.safetensors"
CURVE = "curve.jsonl"
LATENTS = "latents.safetensors"


def train_lab_teacher(recipe: LabTeacherRecipe, work: Path, output: Path) -> None:
    """Train the lab checkpoint, continuing from ``work`` if it was begun there, and save it as a diffusers folder.

    Args:
        work: checkpoints, data and the training curve (curve.jsonl: update, loss, seconds).
        output: the pipeline folder; replaced when training has ended.
    """
    work.mkdir(parents=True, exist_ok=True)
    captions = training_captions(recipe)
    clips = range(recipe.clips_per_caption)
    latents = world_latents(_codec(recipe, captions, work), captions, recipe.world_seed, clips, work / LATENTS)
    train_networks(recipe, *_build_networks(recipe), latents, captions, work)
    export_lab_teacher(recipe, work, output)


def export_lab_teacher(recipe: LabTeacherRecipe, work: Path, output: Path) -> None:
    """Write the average weights in ``work`` as a ``WanPipeline`` folder, with manifest and training curve."""
    tensors, counters = load_checkpoint(work / CHECKPOINT)
    networks, _ = _build_networks(recipe)
    networks.load_state_dict(without_prefix("average", tensors))
    codec = LabCodec.from_pretrained(work / "codec")
    curve = [json.loads(line) for line in (work / CURVE).read_text().splitlines()]
    with atomic_folder(output) as folder:
        assemble(codec, networks["encoder"], networks["transformer"], recipe.sampling_shift).save_pretrained(folder)
        atomic_write_text(folder / CURVE, "".join(json.dumps(row) + "\n" for row in curve))
        write_manifest(
            folder,
            inputs={"checkpoint": work / CHECKPOINT},
            config=asdict(recipe),
            seeds={"world": recipe.world_seed, "training": recipe.seed},
            extra={
                "updates": counters["update"],
                "training_seconds": curve[-1]["seconds"],
                "made_by": "make lab-teacher",
            },
            started=time.time(),
        )


def _build_networks(recipe: LabTeacherRecipe) -> tuple[torch.nn.ModuleDict, torch.Tensor]:
    """Text encoder and transformer at their random start, and the mask of the silent time columns."""
    torch.manual_seed(recipe.seed)
    encoder = build_text_encoder(recipe.text_width, recipe.text_layers, recipe.text_heads)
    transformer = build_transformer(
        recipe.width, recipe.layers, recipe.heads, recipe.ffn_dim, recipe.text_width, recipe.channels, recipe.freq_dim
    )
    mask = quiet_time_columns(float32_rotary(transformer), recipe.max_time_rate)
    return torch.nn.ModuleDict({"encoder": encoder, "transformer": transformer}), mask


def training_captions(recipe: LabTeacherRecipe) -> list[Caption]:
    """The captions that the lab's teacher is trained on: those that are not held out for evaluation."""
    return [c for c in all_captions(recipe.shapes, recipe.colours, recipe.motions) if not c.held_out]


def tokenised(captions: list[Caption], length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, both (captions + 1, length); the last row is the dropped caption."""
    return tokenise(build_tokenizer(), [*map(str, captions), ""], length)


def train_networks(
    recipe: LabTeacherRecipe,
    networks: torch.nn.ModuleDict,
    mask: torch.Tensor,
    latents: torch.Tensor,
    captions: list[Caption],
    work: Path,
    times: tuple[float, float] = (0.0, 1.0),
    title: str = "lab teacher",
) -> None:
    """Flow matching on clips of the world, continued from the checkpoint in ``work`` if there is one.

    Leaves networks, their average and the optimiser in ``work``'s checkpoint, and the training curve beside it.

    Args:
        networks: "encoder" and "transformer"; parameters that need no gradient stay as they are.
        mask: of the time columns that are trained.
        latents: (captions, clips, C, T, h, w).
        times: the range of t to train at.
    """
    linear = networks["transformer"].condition_embedder.time_embedder.linear_1
    linear.weight.register_hook(lambda gradient: gradient * mask)
    ids, text_mask = tokenised(captions, recipe.text_length)
    forward = torch.compile(networks["transformer"]) if recipe.compile else networks["transformer"]
    optimizer = torch.optim.AdamW(
        networks.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99), weight_decay=recipe.weight_decay, fused=True
    )
    average = {name: tensor.detach().clone() for name, tensor in networks.state_dict().items()}
    generator = torch.Generator().manual_seed(recipe.seed)
    gamma = power_exponent(recipe.ema_std)
    done, checkpoint, losses, started = 0, work / CHECKPOINT, [], time.time()
    if checkpoint.exists():
        tensors, counters = load_checkpoint(checkpoint)
        done = counters["update"]
        networks.load_state_dict(without_prefix("network", tensors))
        average = without_prefix("average", tensors)
        load_optimizer_tensors(optimizer, without_prefix("optimizer", tensors))
        generator.set_state(tensors["generator"])
        started -= counters["seconds"]
        kept = [line for line in (work / CURVE).read_text().splitlines() if json.loads(line)["update"] <= done]
        atomic_write_text(work / CURVE, "".join(line + "\n" for line in kept))
    for update in track(range(done + 1, recipe.updates + 1), f"{title} (from update {done + 1})"):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * _trapezoid(update, recipe.updates, recipe.warmup, recipe.decay_share)
        loss = flow_matching_loss(recipe, networks["encoder"], forward, latents, ids, text_mask, generator, times)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(networks.parameters(), 1.0)
        optimizer.step()
        parameters = networks.state_dict()
        update_average(average.values(), [parameters[name] for name in average], power_decay(update, gamma))
        losses.append(loss.item())
        if update % recipe.log_every == 0:
            row = {"update": update, "loss": float(np.mean(losses)), "seconds": time.time() - started}
            losses = []
            with (work / CURVE).open("a") as file:
                file.write(json.dumps(row) + "\n")
        if update % recipe.checkpoint_every == 0 or update == recipe.updates:
            tensors = {
                **with_prefix("network", parameters),
                **with_prefix("average", average),
                **with_prefix("optimizer", optimizer_tensors(optimizer)),
                "generator": generator.get_state(),
            }
            save_checkpoint(checkpoint, tensors, {"update": update, "seconds": time.time() - started})


def flow_matching_loss(
    recipe: LabTeacherRecipe,
    encoder: torch.nn.Module,
    forward: torch.nn.Module,
    latents: torch.Tensor,
    ids: torch.Tensor,
    text_mask: torch.Tensor,
    generator: torch.Generator,
    times: tuple[float, float] = (0.0, 1.0),
) -> torch.Tensor:
    """Mean squared velocity error on one batch, its times from the range ``times`` with the density of the full one.

    Args:
        forward: the transformer, or the same compiled.
        latents: (captions, clips, C, T, h, w).
        ids, text_mask: (captions + 1, length), see :func:`tokenised`.
    """
    n_captions, n_clips = latents.shape[:2]
    caption = torch.randint(n_captions, (recipe.batch,), generator=generator)
    clip = torch.randint(n_clips, (recipe.batch,), generator=generator)
    dropped = torch.rand(recipe.batch, generator=generator) < recipe.caption_dropout
    clips = latents[caption].float()
    x0 = clips[torch.arange(recipe.batch), clip]
    # Uniform before the shift, of which the range's ends are drawn back by the inverse shift.
    start, end = shift_time(torch.tensor(times, dtype=torch.float64), 1 / recipe.time_shift)
    uniform = start + (end - start) * torch.rand(recipe.batch, generator=generator)
    t = shift_time(uniform, recipe.time_shift).clamp(max(1e-3, times[0]), times[1])
    eps = torch.randn(x0.shape, generator=generator)
    x_t = add_noise(x0, eps, t)
    mean = posterior_mean(x_t.flatten(1), t, clips.flatten(2)).view_as(x0)
    exact = (x_t - mean) / t.view(-1, 1, 1, 1, 1)
    # Without a caption the posterior is over all clips; there the noised clip's own velocity is the (unbiased) target.
    target = torch.where(dropped.view(-1, 1, 1, 1, 1), velocity(x0, eps), exact)
    row = torch.where(dropped, n_captions, caption)
    states = embed_tokens(encoder, ids[row], text_mask[row])
    prediction = forward(x_t, 1000.0 * t, states, return_dict=False)[0]
    return (prediction - target).square().mean()


def _trapezoid(update: int, updates: int, warmup: int, decay_share: float) -> float:
    """Linear warm-up, constant, then linear decay to 0 over the last ``decay_share`` of the updates."""
    decay = max(1.0, decay_share * updates)
    return min(1.0, update / warmup, (updates - update + 1) / decay)


def _codec(recipe: LabTeacherRecipe, captions: list[Caption], work: Path) -> LabCodec:
    """The codec in ``work``, fitted to clips of the world if it is not there yet."""
    path = work / "codec"
    if path.exists():
        return LabCodec.from_pretrained(path)
    codec = LabCodec(z_dim=recipe.channels)
    some = [captions[i % len(captions)] for i in range(0, 7 * recipe.codec_clips, 7)]
    sample = [make_clip(draw_scene(c, recipe.world_seed, 1000 + i)).frames for i, c in enumerate(some)]
    codec.fit(to_unit_range(torch.from_numpy(np.stack(sample))), recipe.whitening)
    with atomic_folder(path) as folder:
        codec.save_pretrained(folder)
    return codec


def world_latents(codec: LabCodec, captions: list[Caption], seed: int, clips: range, path: Path) -> torch.Tensor:
    """Web clips of captions as normalised latents (captions, clips, C, T, h, w), float16; rendered to ``path`` once.

    Args:
        seed, clips: the world's seed and which of each caption's clips.
    """
    if path.exists():
        return load_file(path)["latents"]
    jobs = [(codec, caption, seed, clips) for caption in captions]
    with ProcessPoolExecutor(2) as pool:
        parts = list(track(pool.map(_caption_latents, jobs, chunksize=8), "rendering", total=len(jobs)))
    latents = torch.from_numpy(np.stack(parts))
    with atomic_path(path) as temporary:
        save_file({"latents": latents}, temporary)
    return latents


@torch.no_grad()
def _caption_latents(job: tuple[LabCodec, Caption, int, range]) -> np.ndarray:
    codec, caption, seed, clips = job
    torch.set_num_threads(1)
    frames = np.stack([make_clip(draw_scene(caption, seed, index)).frames for index in clips])
    latents = codec.encode(to_unit_range(torch.from_numpy(frames))).latent_dist.mode()
    return normalise_latents(latents, codec.config).half().numpy()
