"""sCM: on a Gaussian, whose consistency function is known; against finite differences; and Alice's printed form.

Data x0 ~ N(m, c^2) a number. Along the probability flow (x_s - m cos s) / sigma_s is constant, with
sigma_s^2 = c^2 cos^2 s + sin^2 s, so the consistency function is f(x_s, s) = m + c (x_s - m cos s) / sigma_s.
"""

from __future__ import annotations

import math

import pytest
import torch

from alice_repro.distill.scm import alice_scm_loss, normalise_tangent, scm_loss, scm_tangent
from alice_repro.flow.derivative import directional_derivative
from alice_repro.flow.schedule import add_noise
from alice_repro.flow.trigflow import flow_time, trig_noise, trig_time, trig_velocity, trig_x0

M, C = 0.7, 0.4


def column(t):
    return t.view(-1, 1, 1, 1, 1)


def teacher(x, t):
    """Rectified-flow velocity of N(M, C^2)."""
    t = column(t)
    x0 = M + (1 - t) * C**2 / ((1 - t) ** 2 * C**2 + t**2) * (x - (1 - t) * M)
    return (x - x0) / t


def student_of(f):
    """The rectified-flow velocity whose consistency function is ``f(x_s, s)``."""

    def v(x, t):
        s = trig_time(t)
        cos, sin = torch.cos(column(s)), torch.sin(column(s))
        x_s = (cos + sin) * x
        velocity_s = (cos * x_s - f(x_s, column(s))) / sin
        return (cos + sin) * velocity_s - (cos - sin) * x_s

    return v


def consistency(scale=0.0):
    """The exact consistency function, or one that is ``scale`` off away from s = 0 (where x is x0 for every f)."""
    scale = torch.as_tensor(scale, dtype=torch.float64)

    def f(x, s):
        sigma = torch.sqrt(C**2 * torch.cos(s) ** 2 + torch.sin(s) ** 2)
        return M + C * (x - M * torch.cos(s)) / sigma + scale * torch.sin(s)

    return f


def draw(count=6, size=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    noise = [torch.randn(count, 1, 1, 1, size, dtype=torch.float64, generator=generator) for _ in range(2)]
    s = torch.linspace(0.15, 1.45, count, dtype=torch.float64)
    return M + C * noise[0], noise[1], s


def tangent(student, x0, eps, s, ramp=1.0):
    """g before normalisation, from the same parts as the loss."""
    x_s, cos_sin = trig_noise(x0, eps, s), torch.cos(s) * torch.sin(s)
    f_student, f_teacher = trig_velocity(student), trig_velocity(teacher)
    target = f_teacher(x_s, s)
    _, df = directional_derivative(f_student, (x_s, s), (column(cos_sin) * target, cos_sin))
    return scm_tangent(f_student(x_s, s), target, df, x_s, s, ramp), x_s, target, df


def test_the_exact_consistency_function_has_no_tangent():
    x0, eps, s = draw()
    x_s = trig_noise(x0, eps, s)
    student = student_of(consistency())
    torch.testing.assert_close(trig_x0(x_s, trig_velocity(student)(x_s, s), s), consistency()(x_s, column(s)))
    g, *_ = tangent(student, x0, eps, s)
    assert g.abs().max() < 1e-12
    assert tangent(student_of(consistency(0.1)), x0, eps, s)[0].abs().min() > 1e-4, "and another function has one"


def test_the_loss_has_no_gradient_at_the_exact_function_and_descends_towards_it():
    x0, eps, s = draw(64)
    gradients = {}
    for scale in (0.0, 0.3, -0.3):
        parameter = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
        loss, watch = scm_loss(student_of(consistency_of(parameter)), teacher, x0, eps, s)
        loss.backward()
        gradients[scale] = parameter.grad.item()
        assert (watch["df_ds"] < 1e-10) == (scale == 0.0)
    assert abs(gradients[0.0]) < 1e-9
    assert gradients[0.3] > 0.1 and gradients[-0.3] < -0.1


def consistency_of(parameter):
    """As :func:`consistency`, with a parameter that gets a gradient."""

    def f(x, s):
        sigma = torch.sqrt(C**2 * torch.cos(s) ** 2 + torch.sin(s) ** 2)
        return M + C * (x - M * torch.cos(s)) / sigma + parameter * torch.sin(s)

    return f


def test_gradient_descent_finds_the_exact_function():
    x0, eps, s = draw(64)
    parameter = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        scm_loss(student_of(consistency_of(parameter)), teacher, x0, eps, s, constant=1.0)[0].backward()
        optimizer.step()
    assert abs(parameter.item()) < 0.02


def test_the_tangent_is_cos_s_times_df_ds_along_the_teachers_trajectory():
    x0, eps, s = draw()
    student = student_of(lambda x, s: torch.tanh(x) * torch.cos(s) + 0.3 * torch.sin(2 * s))  # any smooth function
    g, x_s, target, _ = tangent(student, x0, eps, s)
    f_student, h = trig_velocity(student), 1e-5

    def f_at(step):
        # A point of the teacher's trajectory but for its curvature, whose share is even in the step and cancels.
        x = x_s + step * target
        return trig_x0(x, f_student(x, s + step), s + step)

    derivative = (f_at(h) - f_at(-h)) / (2 * h)
    assert derivative.abs().max() > 0.1
    torch.testing.assert_close(g, torch.cos(column(s)) * derivative, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("ramp", [0.0, 0.5])
def test_the_warm_up_ramps_x_but_not_the_derivative(ramp):
    x0, eps, s = draw()
    student = student_of(lambda x, s: torch.tanh(x) * torch.cos(s))
    g, x_s, target, df = tangent(student, x0, eps, s, ramp)
    cos, sin = torch.cos(column(s)), torch.sin(column(s))
    f = trig_velocity(student)(x_s, s)
    torch.testing.assert_close(g, -cos * torch.sqrt(1 - ramp**2 * sin**2) * (f - target) - ramp * cos * sin * x_s - df)


def test_the_tangent_is_normalised_clip_by_clip():
    g = torch.tensor([[3.0, 4.0], [0.0, 0.0], [30.0, 40.0]]).view(3, 2, 1, 1, 1)
    assert normalise_tangent(g, 0.1).flatten(1).norm(dim=1).tolist() == pytest.approx([5 / 5.1, 0, 50 / 50.1])
    assert normalise_tangent(g, 0.1, squared=True).flatten(1).norm(dim=1).tolist() == pytest.approx(
        [5 / 25.1, 0, 50 / 2500.1]
    )


def test_value_and_gradient_of_the_loss():
    """Loss: mean over clips of ||g / (||g|| + c)||^2; its gradient at F is -2 g / (||g|| + c) / B."""
    x0, eps, s = draw()
    base = student_of(consistency(0.4))
    shift = torch.zeros_like(x0, requires_grad=True)

    def student(x, t):  # dF = shift, since F = ((cos - sin) x + v) / (cos + sin)
        trig = column(trig_time(t))
        return base(x, t) + (torch.cos(trig) + torch.sin(trig)) * shift

    loss, watch = scm_loss(student, teacher, x0, eps, s, constant=0.1)
    g = tangent(base, x0, eps, s)[0]
    unit = normalise_tangent(g, 0.1)
    assert loss.item() == pytest.approx(unit.square().flatten(1).sum(1).mean().item())
    torch.testing.assert_close(torch.autograd.grad(loss, shift)[0], -2 * unit / len(x0))
    norm = (g.flatten(1).norm(dim=1) / torch.cos(s)).mean().item()
    assert watch["df_ds"] == pytest.approx(norm)


@pytest.mark.parametrize("form", ["rcm", "alice"])
def test_a_broken_clip_counts_nothing_and_spoils_no_other(form):
    """One clip whose teacher (and so tangent) is NaN: loss and gradient are those of the others alone."""
    x0, eps, s = draw(4)
    broken, t = 2, flow_time(s)
    weight = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def bad_teacher(x, time):
        keep = torch.ones(len(x), dtype=torch.float64)
        keep[broken] = float("nan")
        return teacher(x, time) * column(keep)

    def run(keep, field):
        student = student_of(consistency_of(weight))
        args = x0[keep], eps[keep]
        if form == "rcm":
            loss, _ = scm_loss(student, field, *args, s[keep])
        else:
            loss, _ = alice_scm_loss(student, student_of(consistency(0.3)), field, *args, t[keep])
        return loss, torch.autograd.grad(loss, weight)[0]

    others = [0, 1, 3]
    loss, gradient = run(slice(None), bad_teacher)
    expected, expected_gradient = run(others, teacher)
    assert torch.isfinite(gradient)
    torch.testing.assert_close((loss, gradient), (expected * 3 / 4, expected_gradient * 3 / 4))


def test_alices_printed_form_steps_along_the_derivative_of_the_average():
    """Eq. 3: F^- is the average, g = w dF^-/dt by Eq. 5, the norm is squared, w stands inside and outside."""
    x0, eps, s = draw()
    t = flow_time(s)
    average, weight = student_of(consistency(0.4)), lambda time: 1 + time
    student = student_of(consistency(0.1))
    loss, watch = alice_scm_loss(student, average, teacher, x0, eps, t, 0.1, weight)

    def predict(field, x, time):
        return x - column(time) * field(x, time)

    x_t, h = add_noise(x0, eps, t), 1e-6
    v = teacher(x_t, t)
    derivative = (predict(average, x_t + h * v, t + h) - predict(average, x_t - h * v, t - h)) / (2 * h)
    g = column(weight(t)) * derivative
    g = g / (column(g.flatten(1).norm(dim=1) ** 2) + 0.1)
    residual = predict(student, x_t, t) - predict(average, x_t, t) - g
    assert loss.item() == pytest.approx((weight(t) * residual.square().flatten(1).sum(1)).mean().item(), rel=1e-6)
    assert watch["df_ds"] == pytest.approx(derivative.flatten(1).norm(dim=1).mean().item(), rel=1e-6)


def test_alices_printed_sign_leads_away_from_consistency():
    """The documented difference: with F := x0 the printed step goes along dF/dt, so the error grows."""
    x0, eps, s = draw(64)
    parameter = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    fixed = student_of(consistency(0.3))
    loss, _ = alice_scm_loss(student_of(consistency_of(parameter)), fixed, teacher, x0, eps, flow_time(s))
    printed = torch.autograd.grad(loss, parameter)[0]
    released = torch.autograd.grad(scm_loss(student_of(consistency_of(parameter)), teacher, x0, eps, s)[0], parameter)[
        0
    ]
    assert printed < 0 < released


def test_time_of_pure_noise_is_finite():
    x0, eps, _ = draw(2)
    s = torch.tensor([1e-3, math.pi / 2 - 1e-3], dtype=torch.float64)
    loss, watch = scm_loss(student_of(consistency(0.2)), teacher, x0, eps, s)
    assert torch.isfinite(loss) and math.isfinite(watch["df_ds"])
