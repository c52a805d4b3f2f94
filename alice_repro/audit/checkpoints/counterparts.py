"""In words, what has no counterpart on the other side: blocks and tensors removed, added, or in another order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from alice_repro.audit.checkpoints.matching import Matching, block_of
from alice_repro.audit.checkpoints.removed import part_of
from alice_repro.audit.checkpoints.tensors import Tensor
from alice_repro.audit.checkpoints.wording import ranges

MUCH = 0.1  # of the values of smaller tensors: so many that are no part of A's are said to be none


def nameless(matching: Matching) -> str:
    """Both sides have left over the same shapes as often: other names of what is too short to be told by its values."""
    left = [Counter(tensor.shape for tensor in side) for side in (matching.only_a, matching.only_b)]
    if left[0] != left[1] or not left[0]:
        return ""
    return f"{left[0].total()} tensors have names and values that do not tell their counterparts: not compared"


def other_shapes(matching: Matching) -> str:
    """Tensors of one name that hold as many values in another shape."""
    count = sum(pair.a.size == pair.b.size for pair in matching.reshaped)
    return f"{count} tensors hold as many values in another shape (transposed?): not compared" if count else ""


def removed_from(matching: Matching) -> str:
    """What A has and B has not: whole blocks, tensors, rows or columns."""
    found = []
    gone, others = _left(matching, matching.only_a, {block_of(pair.a.name) for pair in matching.pairs})
    lost = "" if matching.complete_b else ", whose files are not complete"
    if gone:
        found.append(f"{ranges(gone)} of A are missing in B{lost}")
    if others:
        found.append(f"{others} tensors of A have no counterpart in B{lost}")
    smaller = [pair for pair in matching.reshaped if pair.b.size < pair.a.size]
    parts = {pair.name: part_of(pair) for pair in smaller}
    for part in sorted({part for part in parts.values() if part}):
        found.append(f"{list(parts.values()).count(part)} tensors hold only some {part} of A's")
    unknown = [pair for pair in smaller if not parts[pair.name]]
    if unknown:
        much = sum(pair.b.size for pair in unknown) > MUCH * sum(pair.b.size for pair in smaller)
        what = "not recognised as a part of it" if much else "too short to be looked for in it"
        found.append(f"{len(unknown)} tensors are smaller in B than in A, and {what}")
    return ", ".join(found)


def added_to(matching: Matching) -> str:
    """What B has beside A: tensors without a counterpart, larger ones, blocks of A that stand in it more than once."""
    found = []
    fresh, others = _left(matching, matching.only_b, {block_of(pair.name) for pair in matching.pairs})
    lost = "" if matching.complete_a else " to A, whose files are not complete"
    if fresh:
        found.append(f"{ranges(fresh)} of B are in addition{lost}")
    if others:
        found.append(f"{others} tensors of B have no counterpart")
    larger = sum(pair.b.size > pair.a.size for pair in matching.reshaped)
    if larger:
        found.append(f"{larger} tensors are larger in B than in A")
    sources = _sources(matching)
    copies = len(sources) - len(set(sources.values()))
    if copies:
        found.append(f"{copies} blocks of B repeat a block of A that is in it already")
    return ", ".join(found)


def reordered_in(matching: Matching) -> str:
    """Blocks in another order than A's; a gap that was closed keeps the order."""
    sources = _sources(matching)
    stacks: dict[str, list[tuple[int, int]]] = {}
    for (stack, number), (_, source) in sources.items():
        stacks.setdefault(stack, []).append((number, source))
    moved = [stack for stack, numbers in stacks.items()
             if (order := [source for _, source in sorted(numbers)]) != sorted(order)]  # fmt: skip
    return f"{' and '.join(moved)} stand in another order than in A" if moved else ""


def _left(matching: Matching, only: Sequence[Tensor], paired: set) -> tuple[set[tuple[str, int]], int]:
    """Blocks of one side of which no tensor is paired, and how many tensors are left over beside them."""
    if nameless(matching):
        return set(), 0
    blocks = {block_of(t.name) for t in only if block_of(t.name)} - paired
    return blocks, sum(block_of(t.name) not in blocks for t in only)


def _sources(matching: Matching) -> dict[tuple[str, int], tuple[str, int]]:
    """Block of B -> block of A that its tensors were paired with."""
    both = ((block_of(pair.name), block_of(pair.a.name)) for pair in matching.pairs)
    return {b: a for b, a in both if b and a}
