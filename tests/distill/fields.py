"""Velocity fields with known answers for clips of (1, 1, 1, 1): a one-step Gaussian student and exact denoisers."""

from __future__ import annotations

import torch

from alice_repro.distill.method import Batch, Networks


def column(t):
    return t.view(-1, 1, 1, 1, 1)


def denoise(x_t, t, mean, std):
    """E[x0 | x_t] of x0 ~ N(mean, std^2)."""
    t = column(t)
    return mean + (1 - t) * std**2 / ((1 - t) ** 2 * std**2 + t**2) * (x_t - (1 - t) * mean)


class Exact:
    """The velocity of an even mixture of Gaussians with the given means and one standard deviation."""

    evaluations = 1

    def __init__(self, means, std):
        self.means, self.std, self.calls, self.seen = means, std, 0, []

    def __call__(self, x_t, t, caption=None):
        self.calls += 1
        self.seen.append((x_t.detach().clone(), t.clone()))
        time = column(t)
        std = torch.as_tensor(self.std).detach()
        means = [torch.as_tensor(mean).detach() for mean in self.means]
        spread = (1 - time) ** 2 * std**2 + time**2
        share = torch.stack([-((x_t - (1 - time) * mean) ** 2) / (2 * spread) for mean in means]).softmax(0)
        x0 = sum(w * denoise(x_t, t, mean, std) for w, mean in zip(share, means, strict=True))
        return (x_t - x0) / time


class GaussianStudent:
    """v = x - (mean + std x): from pure noise z its x0 is mean + std z."""

    evaluations = 1

    def __init__(self, mean, std):
        self.mean, self.log_std = torch.tensor(float(mean)), torch.tensor(float(std)).log()
        self.parameters = [self.mean.requires_grad_(), self.log_std.requires_grad_()]

    @property
    def std(self):
        return self.log_std.exp()

    def __call__(self, x_t, t, caption=None):
        return (x_t - (self.mean + self.std * x_t)) / column(t)


def setting(student, teacher, data, seed=0):
    """Networks whose fake score is exact for the student, and a batch of the clips ``data``, (B,)."""
    networks = Networks(student, student, teacher, Exact([student.mean], student.std))
    generator = torch.Generator().manual_seed(seed)
    return networks, Batch(column(data), torch.zeros(len(data)).long(), generator)


def descend(method, stage, student, teacher, draw_data, steps=300, rate=0.03):
    """Train the student by the method's terms, with a fake score that is exact at every step; returns the last log."""
    from alice_repro.distill.method import Progress

    optimizer, generator = torch.optim.Adam(student.parameters, lr=rate), torch.Generator().manual_seed(1)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * min(1.0, 4 * (1 - step / steps))
        networks, batch = setting(student, teacher, draw_data(generator), seed=step)
        batch.shared.manual_seed(step)
        optimizer.zero_grad()
        for weight, term in method.terms(networks, batch, stage, Progress(step, 0)).values():
            loss, log = term()
            (weight * loss).backward()
        optimizer.step()
    return log
