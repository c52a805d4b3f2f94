"""FSDP2: weights, gradients and moments in shards, one a process, when Accelerate's environment asks for it.

`accelerate launch --use_fsdp --fsdp_version 2` sets that environment. ``fully_shard`` is called here and not by
``Accelerator.prepare``, which takes one trained network a call, no frozen one, and no FSDP on CPUs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from alice_repro.errors import UserError


def shards_wanted() -> bool:
    """Whether Accelerate's environment asks for FSDP2.

    Raises:
        UserError: it asks for FSDP1.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true":
        return False
    version = os.environ.get("FSDP_VERSION", "1")
    if version != "2":
        raise UserError(f"FSDP version {version} is not supported: start with --use_fsdp --fsdp_version 2")
    return True


def shard(module: nn.Module, mesh: DeviceMesh) -> None:
    """Shard each transformer block, then what is left, in place; a block is whole only while it is called."""
    blocks = getattr(module, "_no_split_modules", None) or ()
    for part in list(module.modules()):
        if type(part).__name__ in blocks:
            fully_shard(part, mesh=mesh)
    # What is left stays whole after a call: a loss on blocks' features goes back through it without a call of its own.
    fully_shard(module, mesh=mesh, reshard_after_forward=False)


def forget_whole_weights(modules: Iterable[nn.Module]) -> None:
    """To be called when sharded weights have changed: copies that stayed whole after a call are out of date."""
    for module in modules:
        if isinstance(module, FSDPModule):
            module.reshard()


def local(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """This process's shards, which share memory with the tensors; tensors that are not sharded stay as they are."""
    return [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors]


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor put together from its shards; to be called on all processes."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def sharded_like(tensor: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """A whole tensor, which every process has, sharded as ``other`` is."""
    if not isinstance(other, DTensor):
        return tensor
    mesh = other.device_mesh
    return distribute_tensor(tensor.to(mesh.device_type), mesh, other.placements, src_data_rank=None)
