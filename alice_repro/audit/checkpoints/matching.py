"""Which tensor of A is to be compared with which of B: by name and shape, and by content where names do not tell.

By content, in three steps, each with a null that is known:

- Blocks under other numbers (layers were removed or copied). Each block has a signature, a few rows of each of its
  matrices; of unrelated weights the correlation r of n values is atanh(r) ~ Normal(0, 1/(n - 3)), so the level
  `ALPHA`, shared out over all the comparisons, gives the bound. A block of B goes to the most alike block of A where
  the block of its own number is not alike.
- Tensors whose names have no counterpart: the same test among tensors of one shape, each other's best alone; the
  vectors beside them follow by their names.
- Rearranged rows and columns (heads, hidden units): see `rearranged`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alice_repro.audit.checkpoints.layouts import Network
from alice_repro.audit.checkpoints.signatures import alike, related_bound, signature
from alice_repro.audit.checkpoints.tensors import Tensor

if TYPE_CHECKING:
    import torch

_BLOCK = re.compile(r"(?P<stack>.+?)\.(?P<number>\d+)\.(?P<rest>.+)")


@dataclass(frozen=True, eq=False)
class Pair:
    """Two tensors to compare. name: canonical, in B; how: "name", "key map", "content" (e.g. a renumbered block).

    row_order, column_order: where b is a rearranged a, the places in a that b's rows and columns come from:
    b[i, j] ~ a[row_order[i], column_order[j]]; None where they stand as in a.
    """

    name: str
    a: Tensor
    b: Tensor
    how: str
    row_order: np.ndarray | None = None
    column_order: np.ndarray | None = None

    def rows(self, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows [start, stop) of b, and what they are to be compared with in a: (of a, of b), each as stored."""
        return self.placed(self.a, start, stop), self.b.rows(start, stop)

    def placed(self, tensor: Tensor, start: int, stop: int) -> torch.Tensor:
        """Rows of a, or of another tensor whose rows and columns stand as in a, in the places of b's rows."""
        rows = tensor.rows(start, stop) if self.row_order is None else tensor.take(self.row_order[start:stop])
        if self.column_order is not None:
            rows = rows.reshape(len(rows), -1)[:, self.column_order].reshape(rows.shape)
        return rows


@dataclass(frozen=True)
class Matching:
    """Pairs in the order of B's files; what only one side has; tensors of one name and two shapes.

    renumbered: "stack.number" in B -> in A, of blocks that stand under another number; complete_a, complete_b: false
    where files were missing, whose tensors say nothing about the network.
    """

    pairs: tuple[Pair, ...]
    only_a: tuple[Tensor, ...]
    only_b: tuple[Tensor, ...]
    reshaped: tuple[Pair, ...]
    renumbered: Mapping[str, str] | None = None
    complete_a: bool = True
    complete_b: bool = True


def match(a: Network, b: Network) -> Matching:
    """Match two networks' tensors; reads a few rows of each. Memory: about 64 KB a tensor.

    Tensors of A may be in several pairs (a block that was copied); each of B is in one at most. Two without any value
    are no pair.
    """
    from alice_repro.audit.checkpoints.rearranged import rearranged

    numbers = _renumbered(a, b)
    pairs, reshaped, used_a, used_b = [], [], set(), set()
    for name, other in b.tensors.items():
        source = _source(name, numbers)
        one = a.tensors.get(source) if source else None
        if one is None:
            continue
        how = "content" if source != name else "name" if one.stored_name == other.stored_name else "key map"
        if one.shape != other.shape:
            reshaped.append(Pair(name, one, other, how))
        elif one.size:
            pairs.append(Pair(name, one, other, how))
        used_a.add(source)
        used_b.add(name)
    only_a = {name: t for name, t in a.tensors.items() if name not in used_a}
    only_b = {name: t for name, t in b.tensors.items() if name not in used_b}
    for pair in _by_content(only_a, only_b):
        pairs.append(pair)
        only_a.pop(pair.a.name)
        only_b.pop(pair.b.name)
    pairs.sort(key=lambda pair: (pair.b.file, pair.b.offset))
    moved = {f"{stack}.{j}": f"{stack}.{i}" for (stack, j), i in numbers.items() if i not in (None, j)}
    return Matching(
        tuple(rearranged(pairs)),
        tuple(only_a.values()),
        tuple(only_b.values()),
        tuple(sorted(reshaped, key=lambda pair: pair.name)),
        moved,
        a.complete,
        b.complete,
    )


def block_of(name: str) -> tuple[str, int] | None:
    """("blocks", 7) of "blocks.7.attn1.to_q.weight"; None of a name without a number between dots."""
    match = _BLOCK.fullmatch(name)
    return (match["stack"], int(match["number"])) if match else None


def kind_of(name: str) -> str:
    """A name without its block: "attn1.to_q.weight"."""
    match = _BLOCK.fullmatch(name)
    return match["rest"] if match else name


def _source(name: str, numbers: Mapping[tuple[str, int], int | None]) -> str | None:
    """The name in A of a tensor of B; None if its block has no counterpart."""
    block = block_of(name)
    if block is None or block not in numbers:
        return name
    number = numbers[block]
    return None if number is None else f"{block[0]}.{number}.{kind_of(name)}"


def _renumbered(a: Network, b: Network) -> dict[tuple[str, int], int | None]:
    """(stack, number in B) -> number in A, of the stacks in which a block is not alike the one of its own number.

    None: the block has no counterpart, and the block of A with its number belongs to another.
    """
    numbers: dict[tuple[str, int], int | None] = {}
    blocks_a, blocks_b = _blocks(a), _blocks(b)
    for stack in blocks_a.keys() & blocks_b.keys():
        mine, theirs = blocks_a[stack], blocks_b[stack]
        likeness = _likeness(mine, theirs)
        if likeness is None:
            continue
        order_a, order_b = sorted(mine), sorted(theirs)
        moved = {}
        for row, j in zip(likeness, order_b, strict=True):
            own = order_a.index(j) if j in mine else None
            if (own is None or row[own] <= 1.0) and row.max() > 1.0:
                moved[j] = order_a[int(row.argmax())]
        if not moved:
            continue
        stay = {j for j in order_b if j in mine and likeness[order_b.index(j), order_a.index(j)] > 1.0}
        taken = set(moved.values()) | stay
        for j in order_b:
            if j not in stay:
                numbers[stack, j] = moved.get(j, None if j in taken else j)
    return numbers


def _blocks(network: Network) -> dict[str, dict[int, dict[str, Tensor]]]:
    """stack -> number -> kind -> tensor."""
    stacks: dict[str, dict[int, dict[str, Tensor]]] = {}
    for name, tensor in network.tensors.items():
        block = block_of(name)
        if block:
            stacks.setdefault(block[0], {}).setdefault(block[1], {})[kind_of(name)] = tensor
    return stacks


def _likeness(
    mine: Mapping[int, Mapping[str, Tensor]], theirs: Mapping[int, Mapping[str, Tensor]]
) -> np.ndarray | None:
    """(blocks of B, blocks of A): Fisher's z of the signatures in units of the bound; the most alike kind counts.

    None if there is no kind of matrix that all the blocks of both have in one shape.
    """
    kinds = set.intersection(*(set(block) for block in (*mine.values(), *theirs.values())))
    best = None
    for kind in sorted(kinds):
        columns = [block[kind] for _, block in sorted(mine.items())]
        rows = [block[kind] for _, block in sorted(theirs.items())]
        if len({t.shape for t in (*columns, *rows)}) > 1 or len(rows[0].shape) < 2:
            continue
        z = alike([signature(t) for t in rows], [signature(t) for t in columns])
        z = z / related_bound(z, comparisons=z.size * len(kinds))
        best = z if best is None else np.maximum(best, z)
    return best


def _by_content(only_a: Mapping[str, Tensor], only_b: Mapping[str, Tensor]) -> list[Pair]:
    """Pairs among tensors whose names have no counterpart: matrices by likeness, then what belongs to their modules."""
    pairs = []
    shapes = {t.shape for t in only_a.values() if len(t.shape) > 1} & {t.shape for t in only_b.values()}
    for shape in sorted(shapes):
        mine = [t for t in only_a.values() if t.shape == shape]
        theirs = [t for t in only_b.values() if t.shape == shape]
        z = alike([signature(t) for t in theirs], [signature(t) for t in mine])
        bound = related_bound(z, comparisons=z.size)
        for j, i in enumerate(z.argmax(1)):
            if z[j, i] > bound and z[:, i].argmax() == j:
                pairs.append(Pair(theirs[j].name, mine[i], theirs[j], "content"))
    return pairs + _by_parents(pairs, only_a, only_b)


def _by_parents(pairs: Iterable[Pair], only_a: Mapping[str, Tensor], only_b: Mapping[str, Tensor]) -> list[Pair]:
    """Vectors beside matrices matched by content: where W.to_q.weight is X.q.weight, W.norm.bias is X.norm.bias."""
    votes: dict[str, Counter[str]] = {}
    done_a, done_b = set(), set()
    for pair in pairs:
        done_a.add(pair.a.name)
        done_b.add(pair.b.name)
        for parent_a, parent_b in zip(_parents(pair.a.name), _parents(pair.b.name), strict=False):
            votes.setdefault(parent_b, Counter())[parent_a] += 1
    found = []
    for name, other in only_b.items():
        for parent in _parents(name):
            if name in done_b or parent not in votes:
                continue
            source = votes[parent].most_common(1)[0][0]
            tail = name.removeprefix(f"{parent}." if parent else "")
            one = only_a.get(f"{source}.{tail}" if source else tail)
            if one and one.shape == other.shape and one.name not in done_a:
                found.append(Pair(name, one, other, "content"))
                done_a.add(one.name)
                done_b.add(name)
    return found


def _parents(name: str) -> list[str]:
    """Of "a.b.c": "a.b", "a", ""."""
    parts = name.split(".")
    return [".".join(parts[:stop]) for stop in range(len(parts) - 1, -1, -1)]
