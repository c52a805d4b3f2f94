"""Fine-tuning by flow matching, L = E || v(x_t, t) - (eps - x) ||^2: no distillation, the control for the data.

The network stays a multi-step teacher and is sampled like one, with all its steps and its guidance. What it gains on
the same clips is what the clips alone give; a distilled student has to gain more for distillation to be the reason.

Departure from the teacher's own training: captions are never dropped, so that the unguided half of guidance moves only
through the weights that both share.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from alice_repro.config import Stage
from alice_repro.distill.broken import zero_broken_clips
from alice_repro.distill.method import Batch, Method, Networks, Progress, Term
from alice_repro.flow.schedule import add_noise, shift_time, velocity
from alice_repro.strict import PositiveFloat


def flow_matching_loss(v: torch.Tensor, x0: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    """Mean over numbers and clips of (v - (eps - x0))^2; a clip with a number that is not finite counts 0."""
    residual, _ = zero_broken_clips(v - velocity(x0, eps))
    return residual.square().mean()


@dataclass(frozen=True)
class FinetuneOptions:
    """``time_shift``: of the times in [0, 1] that are drawn."""

    time_shift: PositiveFloat


class Finetune(Method):
    """Method ``finetune``."""

    Options = FinetuneOptions
    sampler = "teacher"

    def terms(self, networks: Networks, batch: Batch, stage: Stage, done: Progress) -> dict[str, tuple[float, Term]]:
        return {"flow": (1.0, partial(self._flow, networks, batch))}

    def _flow(self, networks: Networks, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        eps = batch.noise_like_x0()
        t = shift_time(batch.draw(torch.rand), self.options.time_shift).to(eps.device)
        v = networks.student(add_noise(batch.x0, eps, t), t, batch.caption)
        return flow_matching_loss(v, batch.x0, eps), {}


METHODS = {"finetune": Finetune}
