"""Reading published files of weights: tensors only, and only those that the network expects.

No file runs code: plain files are read with torch's weights-only unpickler, TorchScript archives by `torchscript`.
A file of another network, another size, or with values that are not finite is refused, so that it cannot score.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from alice_repro.errors import UserError

Network = TypeVar("Network", bound=nn.Module)


def read_state(path: str | Path, inside: str = "") -> dict[str, torch.Tensor]:
    """The tensors of a file that `torch.save` wrote, by name; the `module.` of parallel training is dropped.

    Args:
        inside: key of the state dict, where the file holds more than that.

    Raises:
        UserError: no such file, or it is not a state dict of tensors, naming the file.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: not a file of tensors that torch.save wrote: nothing else is unpickled") from error
    except (RuntimeError, EOFError, ValueError, OSError, KeyError) as error:
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{path}: not a file of tensors that torch.save wrote ({first[0]})") from error
    if inside and isinstance(content, Mapping) and inside in content:
        content = content[inside]
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{path}: holds no state dict but {type(content).__name__}")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise UserError(f"{path}: no plain state dict: {name!r} is {type(value).__name__}, not a tensor")
    if all(name.startswith("module.") for name in content):
        return {name.removeprefix("module."): value for name, value in content.items()}
    return dict(content)


def check_layout(
    state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Size], path: str | Path, what: str
) -> None:
    """Refuse a state dict that is not exactly the expected tensors, all of them finite.

    Args:
        expected: name -> shape.
        what: the network, for the message.

    Raises:
        UserError: naming the file and the first tensor that is missing, of another shape, not finite, or too much.
    """
    wrong = f"{path}: not the weights of {what}"
    for name, shape in expected.items():
        if name not in state:
            raise UserError(f"{wrong}: {name} is missing")
        if state[name].shape != shape:
            raise UserError(f"{wrong}: {name} has shape {tuple(state[name].shape)}, expected {tuple(shape)}")
        if not torch.isfinite(state[name]).all():
            raise UserError(f"{path}: {name} holds values that are not finite; get the file again")
    for name in state:
        if name not in expected:
            raise UserError(f"{wrong}: it also holds {name}")


def fill(network: Network, state: Mapping[str, torch.Tensor]) -> Network:
    """Put tensors into a network that was built on the meta device, in float32, frozen and in evaluation mode."""
    values = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    network.load_state_dict(values, assign=True)
    return network.requires_grad_(False).eval()


def load_public(network: Network, state: Mapping[str, torch.Tensor], path: str | Path, what: str) -> Network:
    """Check a state dict against a network that has the same names, and put it in.

    Args:
        network: built on the meta device.

    Raises:
        UserError: as `check_layout`.
    """
    check_layout(state, {name: value.shape for name, value in network.state_dict().items()}, path, what)
    return fill(network, state)
