"""The parts of a verdict in words: what changed, how much, where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from alice_repro.audit.checkpoints.character import Character
from alice_repro.audit.checkpoints.matching import block_of, kind_of

OUTSIDE = ("not judged",)
NOTHING = 1e-9  # a weight that is 0 but for the fit


def words(key: tuple, numbers: dict[str, Any]) -> str:
    """A part's change. key: what its tensors have in common, in the order of `verdict`; numbers: medians and ranges."""
    kind, rank, detail, reverse, noisy, rearranged, base, zeroed = key

    def of(name: str, share: bool = False) -> str:
        return span(numbers[name], share) if name in numbers else "unknown"

    said = {
        "identical": detail,
        "cast": f"equal after a {detail}",
        "quantised": detail,
        "scaled": detail or f"scaled by {of('factor')}",
        "interpolated": f"mixture, {_mixed(numbers)}",
        "pruned": f"{of('zeroed', share=True)} of the {detail}",
        "edited": f"edited in a few places, relative change {of('relative')}",
        "noise": f"independent white noise of relative size {of('noise')}"
        + (f" on {of('places', share=True)} of the values" if "places" in numbers else ""),
        "low-rank": f"low-rank change (as of a merged LoRA) of rank {rank}, relative change {of('relative')}",
        "training-like": f"structured, training-like change, relative change {of('relative')}",
        "unrelated": f"unrelated to A, relative change {of('relative')}",
        "not judged": f"vectors and narrow matrices, relative change {of('relative')}: too small to judge",
        "cannot tell": f"cannot tell: {detail}; relative change {of('relative')}"
        + (f", of size {of('noise')} if it is noise" if "noise" in numbers else ""),
    }[kind]
    if base == "mixture":
        base = f"a mixture ({_mixed(numbers)})"
    if base not in ("a", "") and kind == "scaled":
        said = f"{said if base == 'scaled' else base}, as far as the rounding of A and of B lets it be seen"
    elif base not in ("a", "") and kind != "unrelated":
        said = f"{base} {of('factor')}, then {said}" if base == "scaled" else f"{base}, then {said}"
    if noisy and kind in ("low-rank", "training-like", "interpolated"):
        said += f", plus white noise of relative size {of('noise')}"
    if zeroed:
        said = f"{of('zeroed', share=True)} of the values set to 0 ({zeroed}), then {said}"
    if reverse:
        said = f"the other way round (A from B): {said}"
    return (f"{rearranged} in another order, " if rearranged else "") + said


def _mixed(numbers: dict[str, Any]) -> str:
    """The weights in `numbers`, and whose they are: A, then C1, C2 ... or C alone; none is written where it is 0."""
    count = sum(name.startswith("weight ") for name in numbers)
    parts = []
    for i in range(count):
        weight = numbers[f"weight {i}"]
        if max(abs(weight["lowest"]), abs(weight["highest"])) > NOTHING:
            parts.append(f"{span(weight)} {'A' if i == 0 else 'C' if count == 2 else f'C{i}'}")
    return " + ".join(parts)


def span(numbers: dict[str, float], share: bool = False) -> str:
    """A median, with its range unless that is narrow; share: in percent."""
    low, high, middle = numbers["lowest"], numbers["highest"], numbers["median"]
    if share:
        return f"{middle:.1%}" if high - low < 0.001 else f"{middle:.1%} ({low:.1%} to {high:.1%})"
    if high - low <= 0.1 * abs(middle) and f"{low:.2g}" == f"{high:.2g}":
        return f"{middle:.5g}" if abs(middle - 1) < 0.5 else f"{middle:.2g}"
    return f"{middle:.4g} ({low:.4g} to {high:.4g})"


def where(members: Sequence[Character], everyone: Sequence[Character]) -> str:
    """Blocks or kinds of tensors that the members fill; else how many and one of them."""
    if len(members) == len(everyone):
        return "all tensors"
    names = {one.name for one in members}
    judged = [one.name for one in everyone if one.kind not in OUTSIDE or one.name in names]
    inside = [name for name in judged if block_of(name)]
    blocks = {block_of(name) for name in names if block_of(name)}
    loose = sorted(name for name in names if not block_of(name))
    rest = f" and {len(loose)} tensors outside the blocks" if loose else ""
    if blocks and all(name in names for name in inside if block_of(name) in blocks):
        return f"{ranges(blocks)}{rest}"
    kinds = {kind_of(name) for name in names if block_of(name)}
    shown = ", ".join(sorted(kinds)[:4]) + (f" and {len(kinds) - 4} more" if len(kinds) > 4 else "")
    if blocks and all(name in names for name in inside if kind_of(name) in kinds):
        return f"{shown} of every block{rest}"
    if blocks and all(name in names for name in inside if block_of(name) in blocks and kind_of(name) in kinds):
        return f"{shown} of {ranges(blocks)}{rest}"
    return f"{len(names)} of {len(everyone)} tensors ({min(names)} ...)" if len(names) > 1 else min(names)


def ranges(blocks: Iterable[tuple[str, int]]) -> str:
    """Blocks in words: "blocks 0-3, 7"."""
    stacks: dict[str, list[int]] = {}
    for stack, number in sorted(blocks):
        stacks.setdefault(stack, []).append(number)
    found = []
    for stack, numbers in stacks.items():
        runs, start = [], numbers[0]
        for here, following in zip(numbers, [*numbers[1:], None], strict=True):
            if following != here + 1:
                runs.append(f"{start}-{here}" if here > start else f"{here}")
                start = following
        found.append(f"{stack} {', '.join(runs)}")
    return "; ".join(found)
