"""DFD Eq. 8: g = E[(grad log p_fake(G_t) - grad log p_real(x_t)) dG/dtheta], x a clip of the data, with probability p.

DMD2 (Eq. 1) with one thing changed: the teacher sees x_t = (1-t) x + t eps instead of G_t = (1-t) G + t eps, with the
same eps, t and caption. Each student update is of this kind with probability p, else a DMD2 update (Eq. 10): ``p`` is a
stage's ``data_forcing``, drawn alike on all processes; a first stage with p = 0 is the DMD2 student that is
post-trained.

The two readings of Eq. 8 differ, because the two scores are taken at different points:
s_fake(G_t) - s_real(x_t) = (1-t)/t^2 [x0_fake(G_t) - x0_teacher(x_t) - (G - x)].
Form "x0" is Algorithm 1, without the last bracket; form "score" has it. The common factor is dropped in both, as in
DMD. E[Delta] = 0 (DFD Eq. 11) does not give E[Delta dG] = 0: at p_fake = p_real, x independent of G, "x0" shrinks the
student and "score" spreads it.

Departures: stored clips, of the teacher or clean, stand for real ones; the teacher's guidance is that of the scale in
both kinds of update.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from alice_repro.config import Stage
from alice_repro.distill.dmd import ScoreWeight, dmd_gradient
from alice_repro.distill.dmd2 import DMD2, DMD2Options
from alice_repro.distill.method import Batch, Networks
from alice_repro.flow.schedule import add_noise, x0_from_velocity
from alice_repro.strict import Share


def dfd_gradient(
    x0_fake: torch.Tensor, x0_teacher: torch.Tensor, sample: torch.Tensor, x: torch.Tensor, form: str
) -> torch.Tensor:
    """Direction of Eq. 8 over mean|G - x0_teacher(x_t)| per clip: ``x0_fake`` at G_t, ``x0_teacher`` at x_t."""
    return dmd_gradient(x0_fake if form == "x0" else x0_fake - (sample - x), x0_teacher, sample)


@dataclass(frozen=True, kw_only=True)
class DFDOptions(DMD2Options):
    """``form``: the reading of Eq. 8, "x0" or "score"."""

    form: Literal["x0", "score"]


@dataclass(frozen=True, kw_only=True)
class DFDWeights(ScoreWeight):
    """``data_forcing``: p of Eq. 10, the share of a stage's updates whose teacher sees data."""

    data_forcing: Share


class DFD(DMD2):
    """Method ``dfd``. ``validity`` is mean (x - G)^2 (Eq. 7), logged at every update of either kind."""

    Options, StageOptions = DFDOptions, DFDWeights

    def gradient(
        self, networks: Networks, batch: Batch, stage: Stage, sample: torch.Tensor, eps: torch.Tensor, t: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, float]]:
        forced = bool(torch.rand((), generator=batch.shared) < self.of(stage).data_forcing)
        watch = {"data_forcing": float(forced), "validity": float((batch.x0 - sample).square().mean())}
        if not forced:
            return super().gradient(networks, batch, stage, sample, eps, t)[0], watch
        g_t, x_t = add_noise(sample, eps, t), add_noise(batch.x0, eps, t)
        x0_fake = x0_from_velocity(g_t, networks.fake(g_t, t, batch.caption), t)
        x0_teacher = x0_from_velocity(x_t, networks.teacher(x_t, t, batch.caption), t)
        return dfd_gradient(x0_fake, x0_teacher, sample, batch.x0, self.options.form), watch


METHODS = {"dfd": DFD}
