"""Loading a teacher: the lab's folder, any diffusers Wan folder or a hub id, by ``WanPipeline.from_pretrained``."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import WanPipeline, WanTransformer3DModel
from safetensors import SafetensorError, safe_open

from alice_repro.config import ModelConfig
from alice_repro.errors import UserError
from alice_repro.files import read_json
from alice_repro.models.lab import float32_rotary
from alice_repro.models.source import locate
from alice_repro.models.text import embed_prompts


@dataclass
class TeacherParts:
    """A loaded teacher, its parts frozen and in evaluation mode. ``folder`` is where the weights came from."""

    pipeline: WanPipeline
    folder: Path
    text_length: int

    @property
    def transformer(self) -> WanTransformer3DModel:
        """The velocity network."""
        return self.pipeline.transformer

    @property
    def transformer_2(self) -> WanTransformer3DModel | None:
        """The low-noise expert of two (Wan2.2-A14B), of which ``transformer`` is then the high-noise one."""
        return self.pipeline.transformer_2

    @property
    def student_start(self) -> WanTransformer3DModel:
        """The network that a student starts from: of two experts the low-noise one (`training.setup.prepare`)."""
        return self.transformer if self.transformer_2 is None else self.transformer_2

    @property
    def boundary(self) -> float | None:
        """The time t at and above which ``transformer`` is asked and below which ``transformer_2`` is."""
        return self.pipeline.config.boundary_ratio

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""
        return self.transformer.config.in_channels

    def embed(self, prompts: list[str]) -> torch.Tensor:
        """Prompt embeddings (B, text_length, text_dim), as the pipeline makes them."""
        return embed_prompts(self.pipeline.tokenizer, self.pipeline.text_encoder, prompts, self.text_length)

    def latent_shape(self, model: ModelConfig) -> tuple[int, int, int, int]:
        """(C, T, h, w) of a clip of this scale."""
        time = (model.frames - 1) // self.pipeline.vae_scale_factor_temporal + 1
        space = self.pipeline.vae_scale_factor_spatial
        return self.latent_channels, time, model.height // space, model.width // space


def load_teacher(model: ModelConfig, dtype: torch.dtype = torch.float32) -> TeacherParts:
    """Load a teacher pipeline, frozen.

    Raises:
        UserError: missing weights, a truncated file, or a weight that is not finite, naming the file; a second
            expert without a boundary or the reverse.
    """
    folder = locate(model)
    pipeline = load_pipeline(folder, dtype)
    networks = [network for network in (pipeline.transformer, pipeline.transformer_2) if network is not None]
    for part in (*networks, pipeline.text_encoder, pipeline.vae):
        part.requires_grad_(False).eval()
    for network in networks:
        float32_rotary(network)
    return TeacherParts(pipeline, folder, model.text_length)


def load_pipeline(folder: Path, dtype: torch.dtype = torch.float32, **parts: object) -> WanPipeline:
    """Load a diffusers Wan folder; ``parts`` (``transformer=...``) stand in for its own.

    Raises:
        UserError: missing weights, a truncated file, or a weight that is not finite, naming the file.
    """
    check_parts(folder)
    check_weights(folder)
    quiet_libraries()
    try:
        return WanPipeline.from_pretrained(folder, torch_dtype=dtype, local_files_only=True, **parts)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(f"{folder} is not a complete diffusers Wan pipeline: {error}") from error


def load_transformer(folder: Path, dtype: torch.dtype = torch.float32) -> WanTransformer3DModel:
    """Load a student's transformer folder, checked like a teacher's."""
    if not (folder / "config.json").exists():
        raise UserError(f"checkpoint {folder} does not exist or is not a diffusers model folder")
    check_weights(folder)
    return float32_rotary(WanTransformer3DModel.from_pretrained(folder, torch_dtype=dtype)).eval()


def check_parts(folder: Path) -> None:
    """See that every part of the pipeline is there: transformers would make an empty tokenizer out of a missing one.

    Raises:
        UserError: naming the part; two experts come with a boundary, one network without.
    """
    index = read_json(folder / "model_index.json")
    parts = [name for name, entry in index.items() if isinstance(entry, list) and entry[0] is not None]
    for name in parts:
        if not (folder / name).is_dir():
            raise UserError(f"{folder} is not a complete diffusers Wan pipeline: its part {name} is missing")
    if not any((folder / "tokenizer" / name).exists() for name in ("tokenizer.json", "spiece.model")):
        raise UserError(f"{folder / 'tokenizer'} holds neither tokenizer.json nor spiece.model: fetch or make it again")
    boundary = index.get("boundary_ratio")
    if ("transformer_2" in parts) != (boundary is not None):
        has, lacks = ("transformer_2", "boundary_ratio") if boundary is None else ("boundary_ratio", "transformer_2")
        raise UserError(f"{folder / 'model_index.json'} has {has} but no {lacks}: two experts need both, one neither")
    if boundary is not None and not 0 < boundary < 1:
        raise UserError(f"{folder / 'model_index.json'}: boundary_ratio must lie between 0 and 1, not {boundary}")


def check_weights(folder: Path) -> None:
    """Open every safetensors file below ``folder`` and look for truncated files and numbers that are not finite.

    Raises:
        UserError: naming the file, and the tensor if it is one.
    """
    files = sorted(folder.rglob("*.safetensors"))
    if not files:
        raise UserError(f"no safetensors file in {folder}: is the checkpoint complete?")
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():
                    tensor = file.get_tensor(name)
                    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                        raise UserError(f"{path}: tensor {name!r} holds numbers that are not finite")
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"{path} is truncated or not a safetensors file ({error}); fetch or make it again"
            ) from error


def quiet_libraries() -> None:
    """Keep diffusers and transformers to errors: their bars and advice on optional packages are noise to our users."""
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="diffusers")  # meant for our developers
