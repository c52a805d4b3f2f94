"""One interface for every velocity field: ``velocity(x_t, t, caption) -> v``.

A *caption* is a row of a caption table, (B,) int64. Networks and the exact teacher are used through this interface
alone, so a loss takes tensors and callables and never a network class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import nn

from alice_repro.flow.guidance import guide
from alice_repro.flow.schedule import velocity_from_x0, x0_from_velocity
from alice_repro.models.exact import posterior_mean


class Velocity(Protocol):
    """A velocity field v(x_t, t, caption).

    Attributes:
        evaluations: network evaluations a call (2 under guidance), for the manifests.
    """

    evaluations: int

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, caption: torch.Tensor) -> torch.Tensor:
        """Velocity (B, C, T, H, W) at ``x_t`` (B, C, T, H, W), ``t`` (B,) in [0, 1], ``caption`` (B,)."""
        ...

    def to(self, device: torch.device | str) -> Velocity:
        """The same field with all it holds on ``device``."""
        ...


class NetworkVelocity:
    """A diffusers transformer as a velocity field, with or without classifier-free guidance.

    Args:
        transformer: called as ``WanTransformer3DModel`` is.
        embeddings: (captions, length, text_dim) table of prompt embeddings.
        null: (length, text_dim) embedding of the negative prompt; needed under guidance.
        guidance: w of u + w (c - u); 1 costs one evaluation a call.
    """

    def __init__(
        self, transformer: nn.Module, embeddings: torch.Tensor, null: torch.Tensor | None = None, guidance: float = 1.0
    ) -> None:
        if guidance != 1.0 and null is None:
            raise ValueError("guidance needs the embedding of the negative prompt")
        self.transformer, self.embeddings, self.null, self.guidance = transformer, embeddings, null, guidance
        self.evaluations = 1 if guidance == 1.0 else 2

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, caption: torch.Tensor) -> torch.Tensor:
        states = self.embeddings[caption.to(self.embeddings.device)]
        if self.guidance == 1.0:
            return self._forward(x_t, t, states)
        null = self.null.expand_as(states)
        both = self._forward(torch.cat([x_t, x_t]), torch.cat([t, t]), torch.cat([states, null]))
        return guide(*both.chunk(2), self.guidance)

    def to(self, device: torch.device | str) -> NetworkVelocity:
        null = None if self.null is None else self.null.to(device)
        return NetworkVelocity(self.transformer.to(device), self.embeddings.to(device), null, self.guidance)

    def features(
        self, x_t: torch.Tensor, t: torch.Tensor, caption: torch.Tensor, shares: Sequence[float]
    ) -> list[torch.Tensor]:
        """What the blocks at these shares of the depth give, each (B, tokens, width), under the caption alone."""
        blocks = getattr(self.transformer, "module", self.transformer).blocks  # .module: behind data parallelism
        kept: list[torch.Tensor] = []
        hooks = [
            blocks[round(share * len(blocks)) - 1].register_forward_hook(lambda _, __, out: kept.append(out))
            for share in shares
        ]
        try:
            self._forward(x_t, t, self.embeddings[caption.to(self.embeddings.device)])
        finally:
            for hook in hooks:
                hook.remove()
        return kept

    def _forward(self, x_t: torch.Tensor, t: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        return self.transformer(x_t, 1000.0 * t, states, return_dict=False)[0]


class ExactVelocity:
    """The exact teacher: the velocity of each caption's finite set of clips (``models.exact``).

    Args:
        clips: (captions, K, C, T, h, w) normalised latents.
        width: standard deviation of the Gaussian on each clip.
        guidance: w; 1 gives the caption's own distribution, whose mode masses are known. Otherwise the unconditional
            distribution is the mixture of all captions' clips.
    """

    def __init__(self, clips: torch.Tensor, width: float, guidance: float = 1.0) -> None:
        self.clips, self.width, self.guidance = clips, width, guidance
        self.everything = clips.flatten(0, 1).flatten(1).float() if guidance != 1.0 else None
        self.evaluations = 1 if guidance == 1.0 else 2

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, caption: torch.Tensor) -> torch.Tensor:
        flat = x_t.flatten(1)
        mean = posterior_mean(flat, t, self.clips[caption].flatten(2).float(), self.width)
        v = velocity_from_x0(flat, mean, t)
        if self.everything is not None:
            v = guide(v, velocity_from_x0(flat, posterior_mean(flat, t, self.everything, self.width), t), self.guidance)
        return v.view_as(x_t)

    def to(self, device: torch.device | str) -> ExactVelocity:
        return ExactVelocity(self.clips.to(device), self.width, self.guidance)


class Counted:
    """A field that counts what it is asked: ``spent`` is network evaluations times clips (a derivative is one)."""

    def __init__(self, field: Velocity) -> None:
        self.field, self.evaluations, self.spent = field, field.evaluations, 0

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, caption: torch.Tensor) -> torch.Tensor:
        self.spent += self.evaluations * len(x_t)
        return self.field(x_t, t, caption)


class Watched:
    """A field that shows ``see(t, x0)`` the clean clips (B, C, T, h, w) that each of its calls predicts, x_t - t v.

    In place of a field in any sampler, whose clips stay the same. All clips of a call share their time.
    """

    def __init__(self, field: Velocity, see: Callable[[float, torch.Tensor], None]) -> None:
        self.field, self.see, self.evaluations = field, see, field.evaluations

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, caption: torch.Tensor) -> torch.Tensor:
        v = self.field(x_t, t, caption)
        self.see(float(t[0]), x0_from_velocity(x_t, v, t))
        return v
