"""DINOv2 (arXiv:2304.07193) or DINOv3 (arXiv:2508.10104): the class token, through transformers."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn

from alice_repro.errors import UserError
from alice_repro.files import read_json

KINDS = ("dinov2", "dinov2_with_registers", "dinov3_vit")


class ClassToken(nn.Module):
    """The class token after the last norm, (N, D), of ImageNet-normalised images (N, 3, H, W)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images).last_hidden_state[:, 0]


def load_dinov2(path: Path) -> ClassToken:
    """Load a model folder as transformers writes it: ``path`` is its model.safetensors, config.json lies beside it.

    Raises:
        UserError: no config.json, another kind of network, or weights that are missing, broken or of other shapes.
    """
    from transformers import AutoModel

    path = Path(path)
    config = path.with_name("config.json")
    if path.name != "model.safetensors" or not config.is_file():
        raise UserError(f"{path}: a DINO network is a folder with model.safetensors and config.json in it")
    kind = read_json(config).get("model_type")
    if kind not in KINDS:
        raise UserError(f"{config}: a network of the kind {kind!r}, not one of {', '.join(KINDS)}")
    try:
        network, report = AutoModel.from_pretrained(
            path.parent, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{path} does not load as {kind}: {str(error).strip().splitlines()[0]}") from error
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        wrong = sorted(str(key) for key in report[what] if "mask_token" not in str(key))
        if wrong:
            raise UserError(f"{path} does not fit its config.json: {what.replace('_', ' ')} such as {wrong[0]}")
    return ClassToken(network).eval().requires_grad_(False)
