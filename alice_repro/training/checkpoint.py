"""Training checkpoints without pickle: every tensor in one safetensors file, every counter in its metadata.

A checkpoint holds all that the next update depends on: networks, averages, optimiser moments, method state, counters
and the states of the random generators. Each checkpoint is written under a temporary name and renamed.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from alice_repro.errors import UserError
from alice_repro.files import atomic_path
from alice_repro.training.sharding import sharded_like


def save_checkpoint(path: Path, tensors: dict[str, torch.Tensor], counters: dict[str, object]) -> None:
    """Write tensors and counters (JSON-serialisable) to one safetensors file, whole or not at all."""
    cpu = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(cpu, temporary, metadata={"counters": json.dumps(counters)})


def load_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    """Read a checkpoint back.

    Raises:
        UserError: the file is missing, truncated, not a checkpoint, or holds a number that is not finite.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"checkpoint {path} does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"checkpoint {path} is truncated or not a safetensors file ({error}); delete it") from error
    if "counters" not in metadata:
        raise UserError(f"{path} is a safetensors file, but not a training checkpoint of this project")
    check_finite(tensors, path)
    return tensors, json.loads(metadata["counters"])


def check_finite(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Raise a UserError that names the first tensor with a number that is not finite."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(
                f"{path}: tensor {name!r} holds numbers that are not finite; delete the file and train again"
            )


def with_prefix(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Put ``prefix.`` before every name."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors under ``prefix.``, with the prefix taken off."""
    start = f"{prefix}."
    return {name[len(start) :]: tensor for name, tensor in tensors.items() if name.startswith(start)}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimiser's moments, flat: ``<parameter index>.<name>``."""
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Put :func:`optimizer_tensors` back; the parameter groups (learning rate and so on) stay as configured.

    The tensors are whole; the moments of a sharded parameter are sharded as it is.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        placed = tensor if name == "step" else sharded_like(tensor, parameters[int(index)])
        state.setdefault(int(index), {})[name] = placed
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
