"""The lab's autoencoder: a linear, causal patch codec fitted in closed form (PCA), with diffusers' interface.

One basis serves the first frame and the later groups: the first frame is repeated, so that a clip of 4k + 1 frames
becomes k + 1 groups of 4. A static clip therefore has the same latent in every group, and latents cannot invent
motion.
"""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from torch import nn


class LabCodec(ModelMixin, ConfigMixin):
    """Linear codec with the members that ``WanPipeline`` and our own code use of ``AutoencoderKLWan``.

    Args:
        z_dim: latent channels.
        scale_factor_spatial, scale_factor_temporal: edge and length of a patch.
        latents_mean, latents_std: per channel; normalised latents are ``(z - mean) / std``, as in Wan2.1.
    """

    __module__ = "alice_repro"  # the name that diffusers writes into model_index.json

    @register_to_config
    def __init__(
        self,
        z_dim: int = 16,
        scale_factor_spatial: int = 8,
        scale_factor_temporal: int = 4,
        latents_mean: list[float] | None = None,
        latents_std: list[float] | None = None,
    ) -> None:
        super().__init__()
        values = 3 * scale_factor_temporal * scale_factor_spatial**2
        self.basis = nn.Parameter(torch.zeros(z_dim, values), requires_grad=False)
        self.centre = nn.Parameter(torch.zeros(values), requires_grad=False)
        if latents_mean is None or latents_std is None:
            self.register_to_config(latents_mean=[0.0] * z_dim, latents_std=[1.0] * z_dim)

    def encode(self, x: torch.Tensor, return_dict: bool = True) -> AutoencoderKLOutput | tuple:
        """Encode video in [-1, 1], (B, 3, 4k + 1, H, W), to one point of latent space (B, C, k + 1, H/8, W/8)."""
        z = (self._patches(x) - self.centre) @ self.basis.T
        z = z.permute(0, 4, 1, 2, 3)
        posterior = DiagonalGaussianDistribution(torch.cat([z, torch.full_like(z, -30.0)], dim=1), deterministic=True)
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    def decode(self, z: torch.Tensor, return_dict: bool = True) -> DecoderOutput | tuple:
        """Decode latents (B, C, k + 1, h, w) to video in [-1, 1], (B, 3, 4k + 1, 8h, 8w)."""
        patches = z.permute(0, 2, 3, 4, 1) @ self.basis + self.centre
        t, s = self.config.scale_factor_temporal, self.config.scale_factor_spatial
        b, groups, h, w, _ = patches.shape
        video = patches.view(b, groups, h, w, 3, t, s, s).permute(0, 4, 1, 5, 2, 6, 3, 7)
        video = video.reshape(b, 3, groups * t, h * s, w * s)[:, :, t - 1 :].clamp(-1, 1)
        return DecoderOutput(sample=video) if return_dict else (video,)

    def _patches(self, x: torch.Tensor) -> torch.Tensor:
        t, s = self.config.scale_factor_temporal, self.config.scale_factor_spatial
        b, c, frames, height, width = x.shape
        if (frames - 1) % t or height % s or width % s:
            raise ValueError(f"clip of {frames} frames, {height} x {width}: want {t}k + 1 frames and multiples of {s}")
        x = torch.cat([x[:, :, :1].expand(-1, -1, t - 1, -1, -1), x], dim=2)
        x = x.reshape(b, c, (frames - 1) // t + 1, t, height // s, s, width // s, s)
        return x.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4)

    @torch.no_grad()
    def fit(self, clips: torch.Tensor, whitening: float = 0.5) -> None:
        """Fit the basis to clips (N, 3, T, H, W) in [-1, 1] by PCA, and the per-channel statistics.

        Args:
            whitening: exponent a of the scale ``std ** a``. 1 gives every channel unit variance, 0 keeps their
                ratios. In between, coarse channels rise out of the noise before fine ones, and errors count more
                where they are seen more. The mean variance over channels is 1, as TrigFlow's sigma_data = 1 asks.
        """
        patches = torch.cat([self._patches(chunk).flatten(0, 3) for chunk in clips.split(64)]).double()
        self.centre.copy_(patches.mean(0))
        covariance = torch.cov(patches.T)
        _, vectors = torch.linalg.eigh(covariance)
        basis = vectors.flip(1)[:, : self.config.z_dim].T
        basis = basis * torch.sign(basis.sum(1, keepdim=True) + 1e-12)  # eigenvectors come with either sign
        self.basis.copy_(basis)
        std = ((patches - self.centre.double()) @ basis.T).std(0)
        scale = std**whitening
        scale = scale * ((std / scale) ** 2).mean().sqrt()
        self.register_to_config(latents_mean=[0.0] * len(scale), latents_std=scale.tolist())


def normalise_latents(z: torch.Tensor, config: object) -> torch.Tensor:
    """Raw codec latents (B, C, T, h, w) to the normalised ones that the transformer sees (Wan2.1's convention)."""
    mean, std = _statistics(z, config)
    return (z - mean) / std


def denormalise_latents(z: torch.Tensor, config: object) -> torch.Tensor:
    """Inverse of :func:`normalise_latents`."""
    mean, std = _statistics(z, config)
    return z * std + mean


def _statistics(z: torch.Tensor, config: object) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (1, -1, 1, 1, 1)
    return z.new_tensor(config.latents_mean).view(shape), z.new_tensor(config.latents_std).view(shape)


def to_unit_range(frames: torch.Tensor) -> torch.Tensor:
    """uint8 frames (..., T, H, W, 3) to float video (..., 3, T, H, W) in [-1, 1]."""
    return frames.movedim(-1, -4).float() / 127.5 - 1.0


def to_frames(video: torch.Tensor) -> torch.Tensor:
    """Float video (..., 3, T, H, W) in [-1, 1] to uint8 frames (..., T, H, W, 3)."""
    return ((video.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(-4, -1)
