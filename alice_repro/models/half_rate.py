"""A network that is given every second frame of a clip: which places in time it is told that they have."""

from __future__ import annotations

import torch
from torch import nn

from alice_repro.errors import unknown_name
from alice_repro.models.velocity import NetworkVelocity

POSITIONS = ("compact", "kept")


class HalfRateVelocity:
    """A network's velocity on frames 0, 2, 4 ... of a clip.

    ``positions`` are those of the rotary embedding: "compact" are 0, 1, 2 ..., as for any clip of that length, which a
    student must have been trained for (AVD); "kept" are 0, 2, 4 ..., the frames' own, for one that only knows the full
    rate.

    Raises:
        UserError: unknown ``positions``.
    """

    def __init__(self, field: NetworkVelocity, positions: str = "compact") -> None:
        if positions not in POSITIONS:
            raise unknown_name("positions", positions, POSITIONS)
        self.field, self.positions, self.evaluations = field, positions, field.evaluations

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, caption: torch.Tensor) -> torch.Tensor:
        if self.positions == "compact":
            return self.field(x_t, t, caption)
        hook = self.field.transformer.rope.register_forward_hook(_kept_positions)
        try:
            return self.field(x_t, t, caption)
        finally:
            hook.remove()

    def to(self, device: torch.device | str) -> HalfRateVelocity:
        return HalfRateVelocity(self.field.to(device), self.positions)


def _kept_positions(rope: nn.Module, inputs: tuple[torch.Tensor], _: object) -> tuple[torch.Tensor, ...]:
    """In place of the tables (1, tokens, 1, d) of F frames, every second frame of those of 2F - 1 frames."""
    b, c, frames, h, w = inputs[0].shape
    longer = inputs[0].new_empty(1, c, 2 * frames - 1, h, w)
    tables = rope.forward(longer)  # forward, not a call: this is its hook
    return tuple(table.unflatten(1, (2 * frames - 1, -1))[:, ::2].flatten(1, 2) for table in tables)
