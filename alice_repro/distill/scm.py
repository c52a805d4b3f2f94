"""Continuous-time consistency (sCM) as the rCM code has it, and Alice's printed form of it.

The student's TrigFlow velocity F gives the consistency function f(x_s, s) = cos(s) x_s - sin(s) F. Consistency asks
that f does not change along the teacher's trajectory dx_s/ds = F_T, so F is moved by one bounded step along the
tangent df/ds.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from alice_repro.distill.broken import zero_broken_clips
from alice_repro.flow.derivative import directional_derivative
from alice_repro.flow.schedule import add_noise, expand, x0_from_velocity
from alice_repro.flow.trigflow import VelocityFunction, trig_noise, trig_velocity


def scm_tangent(
    f_student: torch.Tensor,
    f_teacher: torch.Tensor,
    df: torch.Tensor,
    x_s: torch.Tensor,
    s: torch.Tensor,
    ramp: float,
) -> torch.Tensor:
    """g of rCM: -cos s sqrt(1 - r^2 sin^2 s) (F - F_T) - (r cos s sin s x_s + dF*), dF* = cos s sin s dF/ds.

    At r = 1 this is cos(s) df/ds. The ramp r multiplies x_s but not the derivative, as in the released code at 5b41aa9
    (its earlier 20207e5, like sCM's Algorithm 1, multiplies both).

    Args:
        f_student, f_teacher, df, x_s: (B, C, T, H, W); ``df`` is already multiplied by cos s sin s.
        s: (B,) trig times.
        ramp: r, from 0 to 1 over the tangent warm-up.
    """
    cos, sin = torch.cos(expand(s, x_s)), torch.sin(expand(s, x_s))
    return -cos * torch.sqrt(1 - (ramp * sin) ** 2) * (f_student - f_teacher) - (ramp * cos * sin * x_s + df)


def normalise_tangent(g: torch.Tensor, constant: float, squared: bool = False) -> torch.Tensor:
    """g / (||g|| + c) per clip, or g / (||g||^2 + c) as Alice Eq. 3 prints it."""
    norm = g.flatten(1).norm(dim=1)
    return g / expand((norm.square() if squared else norm) + constant, g)


def scm_loss(
    student: VelocityFunction,
    teacher: VelocityFunction,
    x0: torch.Tensor,
    eps: torch.Tensor,
    s: torch.Tensor,
    ramp: float = 1.0,
    constant: float = 0.1,
) -> tuple[torch.Tensor, dict[str, float]]:
    """sCM loss of the rCM code, from which Alice Eq. 3 departs (see :func:`alice_scm_loss`).

    Sum over a clip of (F - sg(F) - g / (||g|| + c))^2, mean over the batch; a clip whose g or F is not finite counts 0.
    The value stays near 1 whatever happens, so the second result has what is worth watching: the norm of df/ds.

    Args:
        student, teacher: rectified-flow velocities v(x_t, t); the teacher's is guided already.
        x0, eps: clean latents and noise, (B, C, T, H, W).
        s: (B,) trig times.
    """
    f_student, f_teacher = trig_velocity(student), trig_velocity(teacher)
    x_s = trig_noise(x0, eps, s)
    cos_sin = torch.cos(s) * torch.sin(s)
    with torch.no_grad():
        target = f_teacher(x_s, s)
    tangents = (expand(cos_sin, x_s) * target, cos_sin)
    _, df = directional_derivative(f_student, (x_s, s), tangents)
    prediction = f_student(x_s, s)
    fixed = prediction.detach()
    g = scm_tangent(fixed, target, df, x_s, s, ramp)
    residual, finite = zero_broken_clips(prediction - fixed - normalise_tangent(g, constant))
    loss = residual.square().flatten(1).sum(1).mean()
    norm = g.flatten(1).norm(dim=1) / torch.cos(s).clamp_min(1e-3)
    return loss, {"df_ds": float(norm[finite].mean()) if finite.any() else float("nan")}


def alice_scm_loss(
    student: VelocityFunction,
    average: VelocityFunction,
    teacher: VelocityFunction,
    x0: torch.Tensor,
    eps: torch.Tensor,
    t: torch.Tensor,
    constant: float = 0.1,
    weight: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> tuple[torch.Tensor, dict[str, float]]:
    """Alice Eqs. 3 to 5 as printed: w(t) || F - F^- - g / (||g||^2 + c) ||^2, g = w(t) dF^-/dt, F predicting x0.

    Printed and rCM forms differ: F is x0 itself here (so the step is taken *along* dF/dt and not against it), F^- is
    the moving average, the norm is squared, w(t) enters twice and is not specified in the paper (1 here), and t is
    uniform. Sum over a clip, mean over the batch.

    Args:
        student, average, teacher: velocities v(x_t, t) of student, its moving average and the (guided) teacher.
        t: (B,) uniform times.
    """
    x_t = add_noise(x0, eps, t)
    w = torch.ones_like(t) if weight is None else weight(t)

    def predict(x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return x0_from_velocity(x, average(x, time), time)

    with torch.no_grad():
        direction = teacher(x_t, t)
    fixed, derivative = directional_derivative(predict, (x_t, t), (direction, torch.ones_like(t)))
    g = expand(w, x_t) * derivative
    prediction = x0_from_velocity(x_t, student(x_t, t), t)
    residual, finite = zero_broken_clips(prediction - fixed - normalise_tangent(g, constant, squared=True))
    loss = (w * residual.square().flatten(1).sum(1)).mean()
    norm = derivative.flatten(1).norm(dim=1)
    return loss, {"df_ds": float(norm[finite].mean()) if finite.any() else float("nan")}
