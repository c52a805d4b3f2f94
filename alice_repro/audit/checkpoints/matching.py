"""Which tensor of A is to be compared with which of B: by name and shape, and by content where names do not tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alice_repro.audit.checkpoints.layouts import Network
from alice_repro.audit.checkpoints.tensors import Tensor


@dataclass(frozen=True, eq=False)
class Pair:
    """Two tensors to compare. name: canonical; how: "name", "key map", "content" (e.g. a renumbered block).

    row_order, column_order: where b is a rearranged a, the places in a that b's rows and columns come from:
    b[i, j] ~ a[row_order[i], column_order[j]]; None where they stand as in a.
    """

    name: str
    a: Tensor
    b: Tensor
    how: str
    row_order: np.ndarray | None = None
    column_order: np.ndarray | None = None


@dataclass(frozen=True)
class Matching:
    """Pairs in B's order of files; what only one side has; tensors of one name and two shapes."""

    pairs: tuple[Pair, ...]
    only_a: tuple[Tensor, ...]
    only_b: tuple[Tensor, ...]
    reshaped: tuple[Pair, ...]


def match(a: Network, b: Network) -> Matching:
    """Match two networks' tensors."""
    pairs, reshaped = [], []
    for name in a.tensors.keys() & b.tensors.keys():
        one, other = a.tensors[name], b.tensors[name]
        how = "name" if one.stored_name == other.stored_name else "key map"
        (pairs if one.shape == other.shape else reshaped).append(Pair(name, one, other, how))
    pairs.sort(key=lambda pair: (pair.b.file, pair.b.offset))
    reshaped.sort(key=lambda pair: pair.name)
    return Matching(
        tuple(pairs),
        tuple(t for n, t in a.tensors.items() if n not in b.tensors),
        tuple(t for n, t in b.tensors.items() if n not in a.tensors),
        tuple(reshaped),
    )
