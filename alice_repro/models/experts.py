"""A teacher of two experts, as Wan2.2-A14B has them: one network for the high noise, one for the low."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from alice_repro.models.velocity import NetworkVelocity

# (expert, x_t, t, caption) -> tensors with a row a clip
_Call = Callable[[NetworkVelocity, torch.Tensor, torch.Tensor, torch.Tensor], list[torch.Tensor]]


class ExpertsVelocity:
    """Two velocity fields that share the times, each clip asking the one whose time it has.

    As in ``WanPipeline``, the timestep 1000 t goes to the high-noise expert at and above 1000 ``boundary`` and to the
    low-noise expert below. A batch may hold times of both sides: each expert is run once, on its own clips alone.

    Args:
        high, low: diffusers' ``transformer`` and ``transformer_2``, each with its own guidance; both are guided or
            neither is, for a call to cost the same at every time (``WanPipeline`` evaluates both prompts always).
        boundary: the pipeline's ``boundary_ratio``, in (0, 1).
    """

    def __init__(self, high: NetworkVelocity, low: NetworkVelocity, boundary: float) -> None:
        if high.evaluations != low.evaluations:
            raise ValueError("both experts are guided, or neither is")
        self.high, self.low, self.boundary = high, low, boundary
        self.evaluations = high.evaluations  # a clip asks one expert

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, caption: torch.Tensor) -> torch.Tensor:
        return self._route(lambda expert, *of_clips: [expert(*of_clips)], x_t, t, caption)[0]

    def to(self, device: torch.device | str) -> ExpertsVelocity:
        return ExpertsVelocity(self.high.to(device), self.low.to(device), self.boundary)

    def features(
        self, x_t: torch.Tensor, t: torch.Tensor, caption: torch.Tensor, shares: Sequence[float]
    ) -> list[torch.Tensor]:
        """``NetworkVelocity.features`` of the expert whose time each clip has."""
        return self._route(lambda expert, *of_clips: expert.features(*of_clips, shares), x_t, t, caption)

    def _route(self, call: _Call, x_t: torch.Tensor, t: torch.Tensor, caption: torch.Tensor) -> list[torch.Tensor]:
        # In timesteps, as WanPipeline compares: the same rounding, so that no grid point can fall on another side.
        is_high = 1000.0 * t.detach() >= 1000.0 * self.boundary
        if is_high.all():
            return call(self.high, x_t, t, caption)
        if not is_high.any():
            return call(self.low, x_t, t, caption)
        rows = [side.nonzero().flatten() for side in (is_high, ~is_high)]
        parts = [
            call(expert, x_t[own], t[own], caption[own.to(caption.device)])
            for expert, own in zip((self.high, self.low), rows, strict=True)
        ]
        back = torch.cat(rows).argsort()
        return [torch.cat(both)[back] for both in zip(*parts, strict=True)]
