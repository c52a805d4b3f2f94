"""Tables of a comparison: blocks, tensors, sizes; the same rows for the terminal, the page and notebooks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from alice_repro.audit.checkpoints.architecture import HEADS_UNTOLD, WORDS, Architecture, Statement
from alice_repro.audit.checkpoints.compare import Compared, Comparison
from alice_repro.audit.checkpoints.matching import block_of
from alice_repro.audit.checkpoints.measures import Evidence
from alice_repro.audit.checkpoints.verdict import Part
from alice_repro.reporting.render import Head, Sheet

OUTSIDE = "outside of blocks"


def blocks_table(one: Compared) -> Sheet:
    """A row for each run of neighbouring blocks with one verdict, and one for what stands outside of blocks."""
    heads = (
        Head("blocks", "blocks"),
        Head("verdict", "what changed"),
        Head("tensors", "tensors", number=True),
        Head("values", "values", number=True),
        Head("equal", "equal", number=True),
        Head("change", "relative change: middle", number=True),
        Head("range", "least to most", number=True),
    )
    rows = []
    for label, verdict, members in block_groups(one):
        changes = sorted(e.relative for e in members if e.relative is not None)
        size = sum(e.size for e in members)
        rows.append(
            {
                "blocks": label,
                "verdict": verdict,
                "tensors": str(len(members)),
                "values": count(size),
                "equal": share(sum(e.equal for e in members), size),
                "change": number(changes[len(changes) // 2]) if changes else "",
                "range": f"{number(changes[0])} to {number(changes[-1])}" if changes else "",
            }
        )
    return Sheet(f"By block: {one.name}", heads, tuple(rows))


def block_groups(one: Compared) -> list[tuple[str, str, list[Evidence]]]:
    """(label, verdict, tensors) of runs of neighbouring blocks that were judged alike."""
    by_block: dict[tuple[str, int] | None, list[Evidence]] = {}
    for evidence in one.evidence:
        by_block.setdefault(block_of(evidence.name), []).append(evidence)
    groups: list[tuple[str, int, int, str, list[Evidence]]] = []
    for block in sorted(key for key in by_block if key):
        stack, index = block
        verdict = _kinds(one, f"{stack}.{index}")
        if groups and groups[-1][0] == stack and groups[-1][2] == index - 1 and groups[-1][3] == verdict:
            _, first, _, _, members = groups.pop()
            groups.append((stack, first, index, verdict, members + by_block[block]))
        else:
            groups.append((stack, index, index, verdict, list(by_block[block])))
    found = [
        (f"{stack} {first}" + (f" to {last}" if last > first else ""), verdict, members)
        for stack, first, last, verdict, members in groups
    ]
    if None in by_block:
        found.append((OUTSIDE, _kinds(one, "outside"), by_block[None]))
    return found


def verdict_lines(one: Compared, most: int | None = None) -> list[str]:
    """Where each kind of change is, the largest first and at most so many, then the evidence with its numbers."""
    parts = one.judgement.parts
    lines = [f"{part.where}: {part.detail} ({_extent([part])})" for part in parts[:most]]
    if most and len(parts) > most:
        lines.append(f"and {len(parts) - most} smaller parts ({_extent(parts[most:])}): see the page")
    return [*lines, *one.judgement.reasons]


def uncertainty_lines(one: Compared) -> list[str]:
    """The confidence, and the shares of B's values that carry no verdict."""
    open_shares = {name: part for name, part in one.judgement.coverage.items() if name != "judged" and part > 0}
    lines = [f"confidence {one.judgement.confidence}"]
    if open_shares:
        lines.append("of B's values: " + ", ".join(f"{share(part, 1)} {name}" for name, part in open_shares.items()))
    return lines


def tensors_table(one: Compared) -> Sheet:
    """A row for each pair of tensors."""
    heads = (
        Head("name", "tensor"),
        Head("shape", "shape"),
        Head("dtype", "A, B"),
        Head("how", "matched by"),
        Head("equal", "equal", number=True),
        Head("relative", "relative change", number=True),
        Head("cosine", "cosine", number=True),
        Head("character", "what changed"),
        Head("z", "structure, z", number=True),
    )
    rows = tuple(
        {
            "name": e.name,
            "shape": " x ".join(map(str, e.shape)) or "scalar",
            "dtype": e.dtype_a if e.dtype_a == e.dtype_b else f"{e.dtype_a}, {e.dtype_b}",
            "how": e.how + (f", {e.rearranged} in another order" if e.rearranged else ""),
            "equal": share(e.equal, e.size),
            "relative": number(e.relative),
            "cosine": "" if e.cosine is None else f"{e.cosine:.6f}",
            "character": c.kind if c.detail.startswith(c.kind) else f"{c.kind}: {c.detail}",
            "z": "" if e.z is None else f"{e.z:.1f}",
        }
        for e, c in zip(one.evidence, one.judgement.characters, strict=True)
    )
    return Sheet(f"All pairs of tensors: {one.name}", heads, rows)


def architecture_lines(found: Sequence[Architecture], statements: Sequence[Statement]) -> list[str]:
    """The architecture of each network in words: "transformer: 40 blocks, width 5120, ...", with its dtypes."""
    heads = {c.network: c.stated for s in statements if s.source == "config.json" for c in s.comparisons
             if c.field == "heads"}  # fmt: skip
    lines = []
    for one in found:
        parts = [f"{one.parameters:,} parameters in {one.tensors} tensors"]
        if one.layers and one.hidden:
            told = one.heads or heads.get(one.network)
            by_config = " by config.json (its tensors do not tell)" if told and not one.heads else ""
            parts = [
                f"{one.layers} blocks, width {one.hidden}",
                f"{told} heads{by_config}" if told else HEADS_UNTOLD,
                *([f"MLP {one.mlp}{' (gated)' if one.gated else ''}"] if one.mlp else []),
                *([f"patch {one.patch} of {one.latent_channels} channels"] if one.patch else []),
                *([f"text width {one.text_width}"] if one.text_width else []),
                *parts,
            ]
        stored = ", ".join(f"{share(size, one.parameters)} {name}" for name, size in one.dtypes.items())
        lines.append(f"{one.network}: {', '.join(parts)}, stored as {stored}")
    return lines


def statement_lines(statements: Sequence[Statement], all_of_them: bool = False) -> list[str]:
    """What fits and what does not, a line a source; of misfits only those that agree in something, unless all."""
    lines = []
    for one in statements:
        where = f"{one.source}: {one.model}" + (f" ({one.place})" if one.place else "")
        told = [c for c in one.comparisons if c.agrees is not None]
        agreed = sum(bool(c.agrees) for c in told)
        if one.fits:
            lines.append(f"fits {where}: {agreed} of {len(told)} sizes")
        elif told and (all_of_them or one.source == "config.json" or kin(one)):
            lines.append(f"does not fit {where}: {'; '.join(_difference(c) for c in one.disagreements)}")
    others = sum(not s.fits for s in statements) - sum(line.startswith("does not") for line in lines)
    if others and not all_of_them:
        lines.append(f"{others} more stated architectures are of other sizes throughout (--against NAME shows them)")
    return lines


def kin(statement: Statement) -> bool:
    """Whether a statement that does not fit shares depth, width or inner width: the ones worth reading."""
    return any(c.agrees for c in statement.comparisons if c.field in ("layers", "hidden", "mlp"))


def statements_table(title: str, statements: Sequence[Statement]) -> Sheet:
    """A row for each stated size."""
    heads = (
        Head("source", "stated by"),
        Head("network", "network"),
        Head("field", "size"),
        Head("stated", "stated"),
        Head("found", "in the files"),
        Head("agrees", "agrees"),
        Head("quote", "as printed"),
    )
    words = {True: "yes", False: "NO", None: "not told"}
    rows = tuple(
        {
            "source": f"{s.source}: {s.model}" + (f", {s.place}" if s.place else ""),
            "network": c.network,
            "field": WORDS[c.field],
            "stated": c.stated,
            "found": c.found + (" (config.json)" if c.by == "config.json" else ""),
            "agrees": words[c.agrees],
            "quote": c.quote,
        }
        for s in statements
        for c in s.comparisons
    )
    return Sheet(title, heads, rows)


def matching_line(one: Compared) -> str:
    """How the tensors were matched, and what was not."""
    matching = one.matching
    hows = {how: sum(p.how == how for p in matching.pairs) for how in ("name", "key map", "content")}
    parts = [f"{len(matching.pairs)} tensors matched ({', '.join(f'{n} by {how}' for how, n in hows.items() if n)})"]
    moved = sum(p.row_order is not None or p.column_order is not None for p in matching.pairs)
    if moved:
        parts.append(f"{moved} with rows or columns in another order")
    if matching.renumbered:
        shown = ", ".join(f"{b} is A's {a}" for b, a in list(matching.renumbered.items())[:6])
        shown += ", ..." * (len(matching.renumbered) > 6)
        parts.append(f"{len(matching.renumbered)} blocks under another number ({shown})")
    for side, tensors in (("A", matching.only_a), ("B", matching.only_b)):
        if tensors:
            parts.append(
                f"{len(tensors)} only in {side} ({count(sum(t.size for t in tensors))} values; {tensors[0].name} ...)"
            )
    if matching.reshaped:
        first = matching.reshaped[0]
        parts.append(f"{len(matching.reshaped)} of another shape ({first.name}: {first.a.shape}, {first.b.shape} ...)")
    return "; ".join(parts)


def speed_line(comparison: Comparison) -> str:
    """How much was read, how fast."""
    rate = comparison.bytes_read / max(comparison.seconds, 1e-9)
    return f"{comparison.bytes_read / 1e9:.2f} GB compared in {comparison.seconds:.1f} s ({rate / 1e6:.0f} MB/s)"


def share(part: float, whole: float) -> str:
    """A share in percent that says 0 and 100 % only of none and all."""
    if not whole:
        return ""
    if part in (0, whole):
        return "0 %" if part == 0 else "100 %"
    value = 100 * part / whole
    return "< 0.1 %" if value < 0.1 else "> 99.9 %" if value > 99.9 else f"{value:.1f} %"


def number(value: float | None) -> str:
    """A relative change: 0, or three digits."""
    return "" if value is None or not math.isfinite(value) else "0" if value == 0 else f"{value:.3g}"


def count(value: int) -> str:
    """A number of values: 14.3 billion, 1.98 million, 480."""
    for limit, word in ((1e9, "billion"), (1e6, "million")):
        if value >= limit:
            return f"{value / limit:.3g} {word}"
    return f"{value:,}"


def _extent(parts: Sequence[Part]) -> str:
    tensors = sum(part.tensors for part in parts)
    return f"{tensors} tensor{'s' * (tensors != 1)}, {count(sum(part.size for part in parts))} values"


def _kinds(one: Compared, block: str) -> str:
    """Kinds of change of a block, by how many values they hold: "training-like, not judged"."""
    kinds = one.judgement.blocks.get(block, {})
    return ", ".join(sorted(kinds, key=lambda kind: -kinds[kind]))


def _difference(comparison) -> str:
    return f"{WORDS[comparison.field]} {comparison.stated} stated, {comparison.found} in the files"
