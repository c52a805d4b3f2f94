"""Memory of a training on one GPU, of a machine's host, and on disk: what the code holds and writes, part by part.

Weights, gradients, moments, averages and files are exact: P parameters of 4 bytes, as the code keeps them. Activations
are estimated from the tensors that torch saves for the backward pass of a block of ``WanTransformer3DModel`` (measured
on small blocks; the tests measure again): good to about 20 %, without what kernels need in passing. Attention is taken
as fused, except in a forward-mode derivative, where it runs as plain products (``flow.derivative``): the scores of all
heads and their tangents, before and after the softmax, stand in memory at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from alice_repro.audit.planner.network import Network
from alice_repro.audit.planner.work import update_calls
from alice_repro.config import Recipe, Scale, Stage
from alice_repro.distill.calls import Update

FLOAT, HALF = 4, 2
MOMENTS = 2 * FLOAT
COPIES = 2  # of the student's gradients, at the moment when a term's own gradient is taken (training.loop)
SCORES = 4  # matrices of attention scores in a derivative: value and tangent, before and after the softmax
# Bytes that a block's backward pass keeps for each token: times the width, times the MLP's inner width.
KEPT = {"no": (89.2, 8.0), "bf16": (78.1, 6.0)}
DERIVATIVE = "attention scores of the derivative (not fused)"
LIBRARIES = {"cpu": 0.95e9, "gpu": 1.5e9}  # torch, diffusers and the rest in a process; a GPU's context


@dataclass(frozen=True)
class Part:
    """Bytes for one purpose; ``rough``: estimated and not counted."""

    name: str
    bytes: float
    rough: bool = False


@dataclass(frozen=True)
class Setup:
    """How a training is laid out.

    Attributes:
        processes: GPUs that share the batch.
        sharded: FSDP2, else every process holds everything (DDP).
        recomputed: activations are recomputed block by block, which the code does not do by itself yet.
        fused: the derivative's attention is fused, which it is not yet either.
    """

    processes: int
    sharded: bool = False
    recomputed: bool = False
    fused: bool = False


def training_memory(scale: Scale, recipe: Recipe, network: Network, setup: Setup, on_gpu: bool = True) -> list[Part]:
    """What one process holds at its peak, part by part, in the stage that needs most."""
    kept = _kept(scale, recipe, network, setup, on_gpu)
    return kept + [
        max((_passing(recipe, stage, network, setup) for stage in recipe.stages), key=lambda part: part.bytes)
    ]


def _kept(scale: Scale, recipe: Recipe, network: Network, setup: Setup, on_gpu: bool) -> list[Part]:
    """What is held all the time."""
    count, model, experts = network.parameters, network.model, network.model.experts
    critic = any(update_calls(recipe, stage).has_critic for stage in recipe.stages)
    trained = 2 if critic else 1
    split = setup.processes if setup.sharded else 1
    teachers = count * FLOAT * (experts if experts > 1 else 1 / split)  # two experts stay whole
    table = scale.prompts.train * model.text_tokens * network.text_width * FLOAT
    parts = [
        Part("weights of student, average" + (", fake score" if critic else ""), (trained + 1) * count * FLOAT / split),
        Part(f"weights of the teacher{' (two experts, whole)' if experts > 1 else ''}", teachers),
        Part("gradients, and those of the terms before", (trained + 1) * count * FLOAT / split),
        Part("moments of AdamW", trained * count * MOMENTS / split),
        Part(f"embeddings of all captions, {1 + experts} tables", (1 + experts) * table),
    ]
    if setup.sharded:
        parts.append(Part("gathered blocks, two at a time", 2 * count * FLOAT / model.layers, rough=True))
    elif setup.processes > 1:
        parts.append(Part("buckets of DDP", trained * count * FLOAT))
    if recipe.precision == "bf16" and not setup.sharded:
        parts.append(Part("bf16 copies of trained weights (autocast)", count * HALF, rough=True))
    return [*parts, Part("libraries and context", LIBRARIES["gpu" if on_gpu else "cpu"], rough=True)]


def _passing(recipe: Recipe, stage: Stage, network: Network, setup: Setup) -> Part:
    """The largest of what is held in turn: a graph, the scores of a derivative, copies of gradients for their norms."""
    update, clips = update_calls(recipe, stage), stage.batch / setup.processes
    precision = "bf16" if recipe.precision == "bf16" else "no"
    graph = clips * _graphs_at_once(update) * activations(network, precision, setup.recomputed)
    split = setup.processes if setup.sharded else 1
    parts = [
        Part(_activation_name(clips, setup), graph, rough=True),
        Part("copies of gradients, for each term's norm", COPIES * network.parameters * FLOAT / split),
    ]
    if not setup.fused and any(calls.derivative for calls in update.student.values()):
        parts.append(
            Part(f"{DERIVATIVE}, {clips:g} clip(s)", clips * derivative_scores(network, precision), rough=True)
        )
    return max(parts, key=lambda part: part.bytes)


def derivative_scores(network: Network, precision: str) -> float:
    """Bytes of the attention scores of a forward-mode derivative of one clip, as plain products."""
    width = HALF if precision == "bf16" else FLOAT
    return SCORES * network.model.heads * network.tokens**2 * width


def activations(network: Network, precision: str, recomputed: bool = False) -> float:
    """Bytes that the backward pass of one clip keeps."""
    model = network.model
    by_width, by_mlp = KEPT[precision]
    block = network.tokens * (by_width * model.hidden + by_mlp * model.mlp)
    return model.layers * network.tokens * model.hidden * FLOAT + block if recomputed else model.layers * block


def total(parts: list[Part]) -> float:
    """Bytes together."""
    return sum(part.bytes for part in parts)


def choose_setup(scale: Scale, recipe: Recipe, network: Network, processes: int, limit: float) -> Setup:
    """The first that fits, as the code is before what it lacks: whole, sharded, recomputed, fused; else the last."""
    tried = [Setup(processes), Setup(processes, processes > 1)]
    tried += [
        Setup(processes, processes > 1, recomputed, fused)
        for recomputed, fused in ((True, False), (False, True), (True, True))
    ]
    fits = partial(training_memory, scale, recipe, network)
    return next((setup for setup in tried if total(fits(setup)) <= limit), tried[-1])


def smallest_count(scale: Scale, recipe: Recipe, network: Network, limit: float) -> int | None:
    """The fewest GPUs on which it fits, sharded, with everything that the code lacks; None if one clip is too much."""
    batch = min(stage.batch for stage in recipe.stages)
    for count in (n for n in range(1, batch + 1) if all(stage.batch % n == 0 for stage in recipe.stages)):
        if total(training_memory(scale, recipe, network, Setup(count, count > 1, True, True))) <= limit:
            return count
    return None


def host_memory(network: Network, recipe: Recipe) -> tuple[float, float]:
    """Bytes on the host: of every process when it starts, and of the main one while it puts a checkpoint together."""
    critic = any(update_calls(recipe, stage).has_critic for stage in recipe.stages)
    count = network.parameters
    start = FLOAT * (count * (network.model.experts + 2 + critic) + network.text_encoder)
    return start, checkpoint_bytes(count, critic)


def checkpoint_bytes(parameters: int, critic: bool) -> float:
    """Student, average, their moments; the fake score and its moments."""
    return parameters * (2 * FLOAT + MOMENTS + critic * (FLOAT + MOMENTS))


def _graphs_at_once(update: Update) -> float:
    """Trained or crossed passes whose activations stand together: terms one by one, a critic's all at once."""
    of_sample = 1 + sum(calls.through for calls in update.student.values())
    return max(of_sample, sum(calls.trained for calls in update.critic.values()))


def _activation_name(clips: float, setup: Setup) -> str:
    return f"activations of {clips:g} clip(s){', recomputed block by block' if setup.recomputed else ''}"
