"""What a network's change is as a whole: which kinds, where, how strong, and how far this was judged at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import median
from typing import Any

from alice_repro.audit.checkpoints.character import (
    STRUCTURED,
    THRESHOLDS,
    UNCHANGED,
    Character,
    Thresholds,
    characterise,
    pooled,
)
from alice_repro.audit.checkpoints.counterparts import added_to, nameless, other_shapes, removed_from, reordered_in
from alice_repro.audit.checkpoints.matching import Matching, block_of
from alice_repro.audit.checkpoints.measures import Evidence
from alice_repro.audit.checkpoints.wording import OUTSIDE, where, words

DOMINANT = 0.9  # of the changed values: one kind of change is then the verdict, below it is "mixed"
NOISY = 0.5  # of the changed values show noise on top of a structure: it was added to all, and some hide it
FEW = 0.03  # of the tensors: so few changed ones, at most three, are edits and no character of the whole
WEIGHTS = 0.05  # mixtures whose weights round to the same multiple of this are told together
SAME = 4.0  # chi square a degree of freedom up to which factors of several tensors count as one


@dataclass(frozen=True)
class Part:
    """Tensors with one kind of change. where: in words; numbers: medians and ranges over the tensors."""

    kind: str
    where: str
    detail: str
    tensors: int
    size: int
    numbers: dict[str, Any]


@dataclass(frozen=True)
class Judgement:
    """The verdict on one network.

    kind: of `characterise`, or permuted, extended, mixed; summary: a sentence; parts: the composition, largest first;
    blocks: block -> {kind: values}; reasons: evidence with numbers; coverage: shares of B's values by how they were
    judged; confidence: "high", "moderate" or "low", with why.
    """

    kind: str
    summary: str
    parts: tuple[Part, ...]
    blocks: dict[str, dict[str, int]]
    reasons: tuple[str, ...]
    coverage: dict[str, float]
    confidence: str
    characters: tuple[Character, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def judge(evidence: Sequence[Evidence], matching: Matching, limits: Thresholds = THRESHOLDS) -> Judgement:
    """Judge a network from its pairs' evidence; `matching` says what has no counterpart."""
    characters = characterise(evidence, limits)
    parts = _parts(characters, evidence)
    removed, added, reordered = removed_from(matching), added_to(matching), reordered_in(matching)
    # What the files of an incomplete checkpoint do not hold says nothing about the network.
    kind = _kind(
        characters, matching, removed if matching.complete_b else "", added if matching.complete_a else "", reordered
    )
    coverage = _coverage(characters, matching)
    told = [f"{part.where}: {part.detail}" for part in parts if part.kind not in OUTSIDE]
    beside = (removed, added, reordered, other_shapes(matching), nameless(matching))
    summary = "; ".join([*filter(None, beside), *told]) or "nothing could be judged"
    return Judgement(
        kind,
        summary,
        tuple(parts),
        _blocks(characters),
        tuple(_reasons(characters, evidence, limits)),
        coverage,
        _confidence(kind, characters, coverage),
        tuple(characters),
    )


def _kind(characters: Sequence[Character], matching: Matching, removed: str, added: str, reordered: str) -> str:
    judged = [one for one in characters if one.kind not in OUTSIDE]
    changed = [one for one in judged if one.kind not in UNCHANGED]
    vectors = len(characters) - len(judged)
    recognised = "hold only" in removed and "not recognised" not in removed
    if not judged:
        return "pruned" if recognised else "cannot tell"
    few = 0 < len(changed) + vectors <= min(3, max(1, round(FEW * len(characters)))) and len(characters) >= 10
    if few:
        return "edited"
    if changed:
        sizes: dict[str, int] = {}
        for one in changed:
            sizes[one.kind] = sizes.get(one.kind, 0) + one.size
        return _of_changed(changed, sizes, sum(one.size for one in judged))
    if vectors:
        return "cannot tell"  # every matrix is as it was; the vectors alone changed, and say nothing about how
    if sum(map(bool, (removed, added))) == 2 or other_shapes(matching):
        return "mixed"
    if removed or added:
        return "pruned" if removed else "extended"
    if reordered or any(one.rearranged for one in judged):
        return "permuted"
    if any(one.missed for one in judged):
        return "edited"  # a cast leaves no choice
    return "cast" if any(one.kind == "cast" for one in judged) else "identical"


def _of_changed(changed: Sequence[Character], sizes: dict[str, int], judged: int) -> str:
    """One kind if it dominates; a structured one "+ noise" if most of what changed is noisy; else mixed."""
    total = sum(sizes.values())
    top = max(sizes, key=lambda kind: sizes[kind])
    structured = [kind for kind in (*STRUCTURED, "interpolated") if kind in sizes]
    noisy = sum(one.size for one in changed if one.noise)
    if len(structured) == 1 and noisy >= NOISY * total and sizes[structured[0]] >= (1 - DOMINANT) * total:
        return f"{structured[0]} + noise"
    zeroed = sum(one.size for one in changed if one.zeroed)
    if top in ("noise", *STRUCTURED) and zeroed >= (1 - DOMINANT) * total and sizes[top] >= DOMINANT * total:
        return f"pruned + {top}"
    if top == "unrelated" and sizes[top] < DOMINANT * judged:
        return "mixed"  # said of a network as a whole, where much is A's own it would be wrong
    return top if sizes[top] >= DOMINANT * total else "mixed"


def _parts(characters: Sequence[Character], evidence: Sequence[Evidence]) -> list[Part]:
    groups: dict[tuple, list[int]] = {}
    for i, (one, seen) in enumerate(zip(characters, evidence, strict=True)):
        groups.setdefault(_key(one, seen), []).append(i)
    found = []
    for key, members in groups.items():
        ones, seen = [characters[i] for i in members], [evidence[i] for i in members]
        numbers = _numbers(ones, seen)
        others = sum(one.missed for one in ones)
        but = f", but for {others:,} of {sum(one.size for one in seen):,} values" if others else ""
        found.append(
            Part(
                ones[0].kind,
                where(ones, characters),
                words(key, numbers) + but,
                len(ones),
                sum(o.size for o in ones),
                numbers,
            )
        )
    return sorted(found, key=lambda part: -part.size)


def _key(one: Character, seen: Evidence) -> tuple:
    """What tensors must share to be told together."""
    detail = seen.detail if one.kind in ("quantised", "cast", "pruned") else one.doubt
    if one.kind == "identical":
        detail = "bit-identical" if seen.dtype_a == seen.dtype_b else f"equal values, {seen.dtype_b} for {seen.dtype_a}"
    if one.kind == "scaled" and not (seen.numbers or {}).get("factor"):
        detail = seen.detail
    base = "mixture" if seen.base_weights else seen.base.split(" by ")[0]
    if one.kind == "interpolated":
        detail, base = str(tuple(round(w / WEIGHTS) for w in _weights(seen))), ""
    before = (base, seen.zeroed_what) if one.kind != "unrelated" else ("", "")
    return (one.kind, one.rank if one.kind == "low-rank" else None, detail, seen.reverse and bool(detail),
            bool(one.noise) and one.kind != "noise", one.rearranged, *before)  # fmt: skip


def _numbers(ones: Sequence[Character], seen: Sequence[Evidence]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    columns = {
        "relative": [one.relative for one in seen],
        "noise": [one.noise for one in ones],
        "structure": [one.structure for one in ones],
        "zeroed": [one.zeroed or None for one in ones],
        "places": [e.changed if e.changed < 0.5 and not e.thinned else None for e in seen],
        "factor": [(one.numbers or {}).get("factor") or (one.factor if one.base != "a" else None) for one in seen],
    }
    for name, values in columns.items():
        values = sorted(v for v in values if v is not None)
        if values:
            found[name] = {"median": median(values), "lowest": values[0], "highest": values[-1]}
    for i, values in enumerate(zip(*filter(None, map(_weights, seen)), strict=True)):
        found[f"weight {i}"] = {"median": median(values), "lowest": min(values), "highest": max(values)}
    return found


def _weights(seen: Evidence) -> tuple[float, ...]:
    """Of A and the other checkpoints given, where b is a mixture of them."""
    return tuple((seen.numbers or {}).get("weights") or seen.base_weights)


def _blocks(characters: Sequence[Character]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for one in characters:
        block = block_of(one.name)
        kinds = found.setdefault(f"{block[0]}.{block[1]}" if block else "outside", {})
        kinds[one.kind] = kinds.get(one.kind, 0) + one.size
    return found


def _coverage(characters: Sequence[Character], matching: Matching) -> dict[str, float]:
    sizes = {"judged": 0, "cannot tell": 0, "not judged": 0, "unmatched": 0}
    for one in characters:
        sizes[one.kind if one.kind in sizes else "judged"] += one.size
    sizes["unmatched"] = sum(t.size for t in matching.only_b) + sum(pair.b.size for pair in matching.reshaped)
    total = sum(sizes.values()) or 1
    return {name: size / total for name, size in sizes.items()}


def _reasons(characters: Sequence[Character], evidence: Sequence[Evidence], limits: Thresholds) -> list[str]:
    found = []
    tested = [e for e in evidence if e.z is not None and e.rectangles >= limits.poolable]
    if tested:
        strong = sum(e.z >= limits.z_tensor and e.rectangles >= limits.rectangles for e in tested)
        found.append(
            f"whiteness: {strong} of {len(tested)} changed matrices reject independent noise "
            f"at z >= {limits.z_tensor:g}; "
            f"median z {median(e.z for e in tested):.1f}, pooled z {pooled(e.z for e in tested):.1f} (noise: 0 +- 1)"
        )
    for kind in ("noise", "training-like"):
        sizes = [e.residual for c, e in zip(characters, evidence, strict=True) if c.kind == kind]
        if len(sizes) > 2:
            mean = sum(sizes) / len(sizes)
            spread = sqrt(sum((s - mean) ** 2 for s in sizes) / (len(sizes) - 1)) / mean
            found.append(f"{kind}: relative size over {len(sizes)} matrices varies by {spread:.0%} of its mean")
    if any(one.kind == "noise" for one in characters):
        found.append("noise, or a part of a checkpoint that is not given: both are independent of A (--with C tells)")
    factors = [(e.factor, e.factor_error) for c, e in zip(characters, evidence, strict=True)
               if c.kind == "noise" and e.base == "a" and e.factor_error]  # fmt: skip
    if len(factors) > 2:
        weight = sum(1 / s**2 for _, s in factors)
        mean = sum(f / s**2 for f, s in factors) / weight
        chi = sum(((f - mean) / s) ** 2 for f, s in factors) / (len(factors) - 1)
        if abs(mean - 1) * sqrt(weight) > limits.z_tensor and chi < SAME:
            found.append(f"beside the noise, all matrices are scaled by {mean:.6g} +- {1 / sqrt(weight):.1g}")
    storages = sorted({e.storage for e in evidence if e.storage and e.matrix})
    if storages:
        found.append(f"B's values are rounded to {', '.join(storages)}")
    return found


def _confidence(kind: str, characters: Sequence[Character], coverage: dict[str, float]) -> str:
    judged = [one for one in characters if one.kind not in (*OUTSIDE, "cannot tell")]
    sure = sum(one.size for one in judged if one.certain) / max(sum(one.size for one in judged), 1)
    if kind == "cannot tell":
        return "low: nothing decides between the explanations"
    seen = coverage["judged"]
    why = f"{seen:.0%} of B's values judged, {sure:.0%} of those on their own evidence"
    return ("high: " if min(seen, sure) >= 0.9 else "moderate: " if min(seen, sure) >= 0.5 else "low: ") + why
