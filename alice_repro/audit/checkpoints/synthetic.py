"""Pairs whose relation is known: a base, and what each kind of change makes of it.

The base is the lab's shipped checkpoint or a slice of it, since freshly initialised weights are themselves white and
equal in size, which trained ones are not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from alice_repro.errors import unknown_name

if TYPE_CHECKING:
    import torch

    Weights = dict[str, torch.Tensor]


def lab_weights(blocks: int = 5, share: float = 1.0) -> Weights:
    """The lab's transformer, fp32: its first `blocks` blocks, each side of 64 or more cut to `share` of itself."""
    from safetensors.torch import load_file

    import alice_repro.models

    folder = Path(alice_repro.models.__file__).parent / "lab_checkpoint/transformer"
    held = load_file(folder / "diffusion_pytorch_model.safetensors")
    kept = {n: x for n, x in held.items() if not n.startswith("blocks.") or int(n.split(".")[1]) < blocks}
    return {
        n: x[tuple(slice(max(1, round(s * share)) if s >= 64 else s) for s in x.shape)].clone() for n, x in kept.items()
    }


def write(weights: Mapping[str, torch.Tensor], path: Path) -> Path:
    """Store weights as one safetensors file; returns its path."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in weights.items()}, path)
    return path


def cast(weights: Weights, dtype: torch.dtype, keep: bool = True) -> Weights:
    """Every tensor rounded to a dtype; keep: and stored in it, else in its own."""
    return {n: (x.to(dtype) if keep else x.to(dtype).to(x.dtype)) for n, x in weights.items()}


def scaled(weights: Weights, factor: float, per_row: bool = False, seed: int = 0) -> Weights:
    """Every tensor multiplied by a factor; per_row: each row by one of its own around it."""
    draw = _draw(seed)
    if not per_row:
        return {n: x * factor for n, x in weights.items()}
    return {n: x * (1 + (factor - 1) * draw((len(x),) + (1,) * (x.ndim - 1))) for n, x in weights.items()}


def noised(weights: Weights, size: float, law: str = "tensor", seed: int = 0, matrices_only: bool = False) -> Weights:
    """White noise of a relative size.

    law: "tensor" sigma is size * rms of each tensor; "global" one sigma for all; "entry" in proportion to each value;
    "uniform" flat instead of Gaussian.
    """
    import torch

    draw, mean = (
        _draw(seed),
        torch.cat([x.flatten().float() for x in weights.values() if x.ndim > 1]).square().mean().sqrt(),
    )

    def change(x: torch.Tensor) -> torch.Tensor:
        if matrices_only and x.ndim < 2:
            return x
        noise = draw(x.shape)
        if law == "uniform":
            noise = (torch.special.ndtr(noise) - 0.5) * 12**0.5
        scale = {"global": mean, "entry": x.float().abs()}.get(law, x.float().square().mean().sqrt())
        return (x.float() + size * scale * noise).to(x.dtype)

    return {n: change(x) for n, x in weights.items()}


def lora(weights: Weights, rank: int, size: float, seed: int = 0, only: str = "attn") -> Weights:
    """A low-rank product of a relative size added to the matrices whose name has `only` in it."""
    draw = _draw(seed)

    def change(x: torch.Tensor) -> torch.Tensor:
        delta = draw((x.shape[0], rank)) @ draw((rank, x.shape[1]))
        return (x.float() + delta * (size * x.float().norm() / delta.norm())).to(x.dtype)

    return {n: change(x) if x.ndim == 2 and only in n else x for n, x in weights.items()}


def mixed(weights: Weights, other: Weights, share: float | Callable[[str], float]) -> Weights:
    """(1 - share) of `weights` and share of `other`; share may depend on the name."""
    of = share if callable(share) else lambda _: share
    return {n: ((1 - of(n)) * x.float() + of(n) * other[n].float()).to(x.dtype) for n, x in weights.items()}


def pruned(weights: Weights, share: float, rows: bool = False) -> Weights:
    """The smallest values of each matrix (or its rows of least energy) set to 0."""
    import torch

    def change(x: torch.Tensor) -> torch.Tensor:
        if x.ndim < 2:
            return x
        sizes = x.float().flatten(1).norm(dim=1) if rows else x.float().abs()
        keep = sizes > torch.quantile(sizes.flatten(), share)
        return x * (keep.reshape((-1,) + (1,) * (x.ndim - 1)) if rows else keep).to(x.dtype)

    return {n: change(x) for n, x in weights.items()}


def integers(weights: Weights, bits: int = 8, per: str = "row", group: int = 32) -> Weights:
    """Matrices rounded to a symmetric integer grid and back; per: "tensor", "row" or "group"."""

    def change(x: torch.Tensor) -> torch.Tensor:
        if x.ndim != 2:
            return x
        y = (
            x.float().reshape(len(x), -1)
            if per == "group" and x.shape[1] % group
            else x.float().reshape({"tensor": (1, -1), "row": (len(x), -1), "group": (-1, group)}[per])
        )
        step = y.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
        return ((y / step).round() * step).reshape(x.shape).to(x.dtype)

    return {n: change(x) for n, x in weights.items()}


def eighths(weights: Weights, dtype: torch.dtype, per: str = "tensor") -> Weights:
    """Matrices rounded to a scaled fp8 format and back; per: "tensor" or "row"."""
    import torch

    def change(x: torch.Tensor) -> torch.Tensor:
        if x.ndim != 2:
            return x
        top = x.float().abs().amax(1, keepdim=True) if per == "row" else x.float().abs().max()
        scale = top / torch.finfo(dtype).max
        return ((x.float() / scale).to(dtype).float() * scale).to(x.dtype)

    return {n: change(x) for n, x in weights.items()}


def trained(weights: Weights, size: float, steps: int = 60, seed: int = 0) -> Weights:
    """Each matrix really trained: Adam on a regression of its own, until it has moved by about a relative size.

    Inputs have a decaying spectrum, as hidden states do; targets are those of another matrix. Vectors move with them.
    """
    import torch

    draw = _draw(seed)

    def change(x: torch.Tensor) -> torch.Tensor:
        if x.ndim < 2 or min(x.shape[0], x[0].numel()) < 2:
            return (x.float() + size * 0.3 * x.float().abs().mean() * draw(x.shape).sign()).to(x.dtype)
        matrix = x.float().flatten(1)
        w, n = matrix.clone().requires_grad_(), matrix.shape[1]
        basis = torch.linalg.qr(draw((n, n)))[0] * torch.arange(1, n + 1).float() ** -0.5
        target = matrix + 0.5 * matrix.std() * draw(matrix.shape)
        rate = 2 * size * float(matrix.square().mean().sqrt()) / steps
        adam = torch.optim.Adam([w], lr=rate, betas=(0.9, 0.99))
        for _ in range(steps):
            inputs = draw((32, n)) @ basis.T
            loss = ((inputs @ (w - target).T) ** 2).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
        return w.detach().reshape(x.shape).to(x.dtype)

    return {n: change(x) for n, x in weights.items()}


def reordered(weights: Weights, seed: int = 0) -> Weights:
    """The hidden units of every feed-forward layer in another order: the same function, other files."""
    import torch

    generator, found, orders = torch.Generator().manual_seed(seed), dict(weights), {}
    for name, x in weights.items():
        block, _, part = name.partition(".ffn.net.")
        if part and block not in orders:
            hidden = len(weights[f"{block}.ffn.net.0.proj.bias"])
            orders[block] = torch.randperm(hidden, generator=generator)
        if part.startswith("0.proj"):
            found[name] = x[orders[block]]
        elif part == "2.weight":
            found[name] = x[:, orders[block]]
    return found


def edited(weights: Weights, level: float) -> Weights:
    """One row of one matrix moved by a relative size."""
    name = max(weights, key=lambda n: weights[n].numel())
    x = weights[name].clone()
    x[3] += level * x[3].abs().mean()
    return weights | {name: x}


def shuffled(weights: Weights, seed: int = 0) -> Weights:
    """Unrelated weights of the same sizes: every tensor's values in a random order."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    return {n: x.flatten()[torch.randperm(x.numel(), generator=generator)].reshape(x.shape) for n, x in weights.items()}


def in_blocks(weights: Weights, changed: Weights, blocks: range) -> Weights:
    """`changed` in the chosen blocks, `weights` elsewhere."""
    names = tuple(f"blocks.{i}." for i in blocks)
    return {n: changed[n] if n.startswith(names) else x for n, x in weights.items()}


def _draw(seed: int) -> Callable:
    import torch

    generator = torch.Generator().manual_seed(seed)
    return lambda shape: torch.randn(shape, generator=generator)


CHANGES = (
    "identical", "cast", "quantised", "scaled", "interpolated", "pruned", "permuted", "edited",
    "noise", "noise in bf16", "low-rank", "low-rank in bf16", "trained", "trained in bf16",
    "low-rank + noise", "trained + noise", "unrelated",
)  # fmt: skip


def change(kind: str, weights: Weights, level: float, seed: int = 0, rank: int = 8) -> tuple[Weights, Weights | None]:
    """B made from A = `weights` by one of `CHANGES`, and a third checkpoint C where the kind has one.

    level: relative size of what is added, where something is added; else how far the factor is from 1.
    """
    import torch

    half, other = torch.bfloat16, noised(shuffled(weights, seed + 7), 0.1, seed=seed)
    makers: dict[str, Callable[[], Weights]] = {
        "identical": lambda: dict(weights),
        "cast": lambda: cast(weights, half if seed % 2 else torch.float16),
        "quantised": lambda: integers(weights, 8, "row" if seed % 2 else "tensor"),
        "scaled": lambda: scaled(weights, 1 + level),
        "interpolated": lambda: mixed(weights, other, min(level * 10, 0.5)),
        "pruned": lambda: pruned(weights, 0.25, rows=bool(seed % 2)),
        "permuted": lambda: reordered(weights, seed),
        "edited": lambda: edited(weights, level),
        "noise": lambda: noised(weights, level, seed=seed),
        "noise in bf16": lambda: cast(noised(weights, level, seed=seed), half),
        "low-rank": lambda: lora(weights, rank, level, seed),
        "low-rank in bf16": lambda: cast(lora(weights, rank, level, seed), half),
        "trained": lambda: trained(weights, level, seed=seed),
        "trained in bf16": lambda: cast(trained(weights, level, seed=seed), half),
        "low-rank + noise": lambda: noised(lora(weights, rank, level, seed), level / 3, seed=seed),
        "trained + noise": lambda: noised(trained(weights, level, seed=seed), level, seed=seed),
        "unrelated": lambda: other,
    }
    if kind not in makers:
        raise unknown_name("kind of change", kind, makers)
    return makers[kind](), other if kind == "interpolated" else None
