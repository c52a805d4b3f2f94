"""The exact teacher: for a finite set of clips the optimal denoiser is a softmax over them, in closed form.

Each caption's distribution is an equal mixture of narrow Gaussians, one on each of its clips' latents. Its velocity,
its mode masses and its samples are known without training.
"""

from __future__ import annotations

import torch


def posterior_mean(x_t: torch.Tensor, t: torch.Tensor, clips: torch.Tensor, width: float = 0.0) -> torch.Tensor:
    """E[x0 | x_t] under an equal mixture of N(clip_k, width^2 I).

    With x_t = (1 - t) x0 + t eps, x_t given clip k is N((1 - t) clip_k, s^2 I), s^2 = t^2 + (1 - t)^2 width^2, so the
    weights are softmax(-||x_t - (1 - t) clip_k||^2 / 2 s^2), and each Gaussian's own posterior mean is
    clip_k + (1 - t) width^2 / s^2 (x_t - (1 - t) clip_k).

    Args:
        x_t: (B, D) noisy points.
        t: (B,) times in (0, 1].
        clips: (B, K, D) or (K, D), the mixture's centres.

    Returns:
        (B, D).
    """
    signal = (1 - t)[:, None]
    variance = (t[:, None] ** 2 + signal**2 * width**2).clamp_min(1e-12)
    if clips.ndim == 2:
        cross, square = x_t @ clips.T, clips.square().sum(-1)
    else:
        cross, square = torch.einsum("bd,bkd->bk", x_t, clips), clips.square().sum(-1)
    # ||x - s c||^2 = ||x||^2 - 2 s x.c + s^2 ||c||^2, and ||x||^2 cancels in the softmax.
    weights = torch.softmax((2 * signal * cross - signal**2 * square) / (2 * variance), dim=-1)
    centre = weights @ clips if clips.ndim == 2 else torch.einsum("bk,bkd->bd", weights, clips)
    return centre + signal * width**2 / variance * (x_t - signal * centre)
