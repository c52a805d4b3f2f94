"""Frame-interpolated sampling (AVD Section 3.4): the first steps at half the frame rate, the others at the full one.

What is interpolated is the x0 prediction of the last short step, and only then noise is added, at full length and at
the next step's time, as the paper's "before the third denoising step" asks of a sampler that predicts x0 and re-noises.
Noise is never interpolated: between two neighbours it would have half the variance.

The network really runs on the short clip. (The released code pads it with zeros to the full length, so that every
linear layer and every query does the full work.) Its frames are the clip's frames 0, 2, 4 ..., so that neighbours move
twice as far. The paper's student is trained on such clips; the call that does it is commented out in the release, and
our students are trained at the full rate only: their short steps are off what they know, the less so with "kept"
positions (``models.half_rate``). Quality is to be measured with and without (``alice-repro sample``).
"""

from __future__ import annotations

import torch

from alice_repro.errors import UserError
from alice_repro.flow.noise import ClipNoise
from alice_repro.flow.schedule import add_noise, x0_from_velocity
from alice_repro.models.interpolator import FrameInterpolator
from alice_repro.models.velocity import Velocity


def check_short_steps(frames: int, steps: int, short_steps: int) -> None:
    """Raise a UserError unless so many of the steps can run on every second of ``frames`` latent frames."""
    if not 0 <= short_steps <= steps:
        raise UserError(f"short_steps is {short_steps}, but the sampler has {steps} steps: give 0 to {steps}")
    if short_steps and frames % 2 == 0:
        raise UserError(
            f"a clip of {frames} latent frames cannot be halved and interpolated back (F frames become 2F - 1): choose "
            f"a model.frames that gives an odd number of them, such as {frames - 1} or {frames + 1}"
        )


@torch.no_grad()
def sample_interpolated(
    velocity: Velocity,
    interpolator: FrameInterpolator,
    noise: ClipNoise,
    shape: tuple[int, ...],
    caption: torch.Tensor,
    times: torch.Tensor,
    short_steps: int,
    short_velocity: Velocity | None = None,
) -> tuple[torch.Tensor, int, list[int]]:
    """``sample_few_step`` whose first ``short_steps`` run on latent frames 0, 2, 4 ...; with 0 it is the same.

    A short step takes those frames of the noise that a full one would, so that clips with and without interpolation
    are paired. If all steps are short, the interpolated frames of the sample have seen no denoising.

    Args:
        shape: (C, T, H, W) of a clip's latent at the full rate.
        short_velocity: the field of the short steps, if it is not ``velocity``.

    Returns:
        Clean latents (B, C, T, H, W), network evaluations spent on each clip (a short one counts as one), and the
        latent frames that the network was given at each step.

    Raises:
        UserError: T is even, or there are fewer steps than ``short_steps``.
    """
    check_short_steps(shape[1], len(times), short_steps)

    def draw(step: int) -> torch.Tensor:
        return noise.draw(shape, caption.device)[:, :, :: 2 if step < short_steps else 1]

    x, frames = float(times[0]) * draw(0), []
    x0 = x
    for step, now in enumerate(times):
        t = torch.full((len(x),), float(now), device=x.device)
        frames.append(x.shape[2])
        field = velocity if short_velocity is None or step >= short_steps else short_velocity
        x0 = x0_from_velocity(x, field(x, t, caption), t)
        if step + 1 == short_steps:
            x0 = interpolator.interpolate(x0)
        if step + 1 < len(times):
            x = add_noise(x0, draw(step + 1), float(times[step + 1]))
    return x0, len(times) * velocity.evaluations, frames
