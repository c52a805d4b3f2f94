"""What the change of each tensor is: rules that were fixed before any pair was judged, each with its reason.

Order: what one formula explains to the last bit; what was edited in a few places; what has nothing to do with A; then
structure against white noise. A tensor alone shows structure at z >= 6; the quiet ones are pooled by block and over the
network, where many weak signs add up. "Noise" is said only if the structure of a usual training would have shown:
otherwise it is "cannot tell".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from math import sqrt
from typing import Any

from alice_repro.audit.checkpoints.matching import block_of
from alice_repro.audit.checkpoints.measures import Evidence, plane


@dataclass(frozen=True)
class Thresholds:
    """Every bound of the verdict, with its reason."""

    z_tensor: float = 6.0  # of one matrix; the statistic's null has heavier tails than the normal one's 1e-9
    z_pool: float = 4.5  # of a mean over matrices, which is nearly normal: 3e-6, for tens of pools
    rectangles: float = 100.0  # on fewer, one matrix's z is no test of its own
    poolable: float = 3.0  # on fewer, it has no place in a pool either
    training_share: float = 0.1  # structure of the lab's trained differences: 0.07 to 0.6, mostly above 0.15
    gap: float = 1.5  # a merged rank-r product ends in a cliff; the lab's trained spectra step by at most 1.25
    rank_share: float = 1 / 2  # of the side; a higher rank leaves no bulk to stand out of
    noise_floor: float = 0.25  # white share of a trained difference from which on noise is said to be added: those
    # of the lab without noise have 0.00 to 0.08 (nine of ten matrices)
    beyond_rounding: float = 2.0  # times the energy that rounding makes by itself
    related: float = 6.0  # z of the correlation with a: under it nothing is in common
    apart: float = 0.5  # relative change from which on a lack of correlation means "unrelated"
    local: float = 0.5  # of the rows (columns) that as many scattered changes would touch: edited in places
    noisy: float = 0.5  # of what was trained must have such a floor, or it is the training's own
    many: float = 4.0  # times as many tensors: then the few that could be either are taken for the same
    tiny: float = 0.001  # share of values that differ: edited, if the rest is explained


THRESHOLDS = Thresholds()
UNCHANGED = ("identical", "cast")
STRUCTURED = ("low-rank", "training-like")


@dataclass(frozen=True)
class Character:
    """What one pair's change is. kind: see `character`; detail: in words, with numbers.

    rank: of a low-rank part; noise: size of the white part relative to a; structure: share of the energy of the
    rank-one part that would give the same statistic; certain: false if only the company of other tensors decided.
    """

    name: str
    size: int
    kind: str
    detail: str
    rank: int | None = None
    noise: float | None = None
    structure: float | None = None
    rearranged: str = ""
    certain: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def characterise(evidence: Sequence[Evidence], limits: Thresholds = THRESHOLDS) -> list[Character]:
    """The character of each pair of one network, in the order given.

    Kinds: identical, cast, quantised, scaled, interpolated, pruned, edited, noise, low-rank, training-like, unrelated,
    not judged (a vector, or too narrow), cannot tell.
    """
    found = [_alone(one, limits) for one in evidence]
    quiet = [i for i, one in enumerate(found) if one is None]
    structured = _in_company([evidence[i] for i in quiet], limits)
    power = pooled([_expected(evidence[i], limits) for i in quiet if evidence[i].rectangles >= limits.poolable])
    for i in quiet:
        if evidence[i].name in structured:
            found[i] = replace(_structured(evidence[i], limits), certain=False)
        else:
            found[i] = _white(evidence[i], max(power, _expected(evidence[i], limits)), limits)
    return _agreed(found, evidence, limits)


def pooled(z: Iterable[float]) -> float:
    """Stouffer's sum of independent z values."""
    z = list(z)
    return sum(z) / sqrt(len(z)) if z else 0.0


def noise_size(one: Evidence, share: float = 1.0) -> float:
    """The white part's size relative to a, without what rounding makes by itself.

    Where fewer than half of the values moved, they moved by whole steps of b's dtype: `spread` knows how to read those.
    """
    if one.changed < 0.5:
        return one.spread * sqrt(share)
    return sqrt(max(share * one.residual**2 - one.rounding**2, 0.0))


def _alone(one: Evidence, limits: Thresholds) -> Character | None:
    """What a tensor shows by itself; None: no sign of structure in it, to be judged in company."""

    def said(kind: str, detail: str, **more: Any) -> Character:
        return Character(one.name, one.size, kind, detail, rearranged=one.rearranged, **more)

    missed = one.size - one.explained
    if one.not_finite:
        return said("cannot tell", f"{one.not_finite:,} values are NaN or infinite")
    if one.explanation and missed <= limits.tiny * one.size:
        return _explained(one, missed, said)
    if one.energy == 0:
        return said("cannot tell", "A's values are all 0, B's are not: nothing to compare them with")
    places = _places(one, limits)
    if places:
        return said("edited", f"{places}; relative change {_size(one.relative)}")
    if not one.matrix:
        return said("not judged", f"changed by {_size(one.relative)}; too narrow for a test of structure")
    if one.related_z is not None and one.related_z < limits.related and (one.relative or 0) > limits.apart:
        return said("unrelated", f"cosine {one.cosine or 0:.3f}, z {one.related_z:.1f}; change {_size(one.relative)}")
    if one.rectangles >= limits.rectangles and one.z >= limits.z_tensor:
        return _structured(one, limits)
    return None


def _explained(one: Evidence, missed: int, said: Any) -> Character:
    """A formula gives (nearly) all values."""
    kind, detail = one.explanation, one.detail
    if kind == "identical" and missed:
        return said("edited", f"{missed:,} of {one.size:,} values; relative change {_size(one.relative)}")
    if kind == "identical" and one.dtype_a != one.dtype_b:
        detail = f"equal values, {one.dtype_b} instead of {one.dtype_a}"
    if kind == "pruned":
        detail = f"{one.zeroed / one.size:.1%} of the values set to 0, the others equal"
    if one.reverse:
        detail = f"A is B {detail}" if kind != "scaled" else f"A is B {detail}, rounded"
    return said(kind, detail + (f"; {missed:,} values differ" if missed else ""))


def _places(one: Evidence, limits: Thresholds) -> str:
    """Rows or columns that hold all the changes, where scattered ones would have touched many more."""
    rows, columns = plane(one.shape)
    share = 1 - one.explained / one.size
    if one.zeroed and one.zeroed >= 0.99 * (one.size - one.equal):
        return ""
    both = ((one.rows_changed, rows, columns, "rows"), (one.columns_changed, columns, rows, "columns"))
    for count, of, across, what in both:
        scattered = of * (1 - (1 - share) ** across)
        if of >= 8 and across >= 8 and 0 < count < limits.local * scattered:
            return f"{count} of {of} {what}"
    return ""


def _structured(one: Evidence, limits: Thresholds) -> Character:
    """Low rank if the outliers end in a cliff; else as trainings leave it, with or without noise on top."""
    base = "" if one.base == "a" else f"{one.base}, then "
    seen = f"z {one.z:.1f}, structured share {one.share:.2f}"
    common = {"structure": one.share, "rearranged": one.rearranged}
    made = limits.beyond_rounding * one.rounding**2
    cliff = one.rank is not None and one.gap >= limits.gap and 0 < one.rank <= limits.rank_share * one.side
    if cliff:
        noise = noise_size(one, one.bulk) if one.bulk * one.residual**2 > max(made, 1e-13) else None
        more = f" plus white noise of relative size {noise:.2g}" if noise else ""
        detail = f"{base}rank {one.rank} of relative size {_size(one.residual)}{more} ({seen})"
        return Character(one.name, one.size, "low-rank", detail, one.rank, noise, **common)
    noisy = one.floor is not None and one.floor >= limits.noise_floor and one.floor * one.residual**2 > made
    noise = noise_size(one, one.floor) if noisy else None
    more = f" plus white noise of relative size {noise:.2g}" if noise else ""
    detail = f"{base}structured change of relative size {_size(one.residual)}{more} ({seen})"
    return Character(one.name, one.size, "training-like", detail, None, noise, **common)


def _expected(one: Evidence, limits: Thresholds) -> float:
    """The z that the structure of a usual training would have given here, after what rounding hides of it."""
    if not one.needed:
        return 0.0
    visible = one.changed if one.changed < 0.5 else max(1 - (one.rounding / one.residual) ** 2, 0.0)
    return 4.0 * (limits.training_share * visible / one.needed) ** 2


def _in_company(quiet: Sequence[Evidence], limits: Thresholds) -> set[str]:
    """Names of the quiet tensors that show structure together: by block, then all that is left."""
    blocks: dict[Any, list[Evidence]] = {}
    for one in quiet:
        if one.rectangles >= limits.poolable:
            blocks.setdefault(block_of(one.name), []).append(one)
    found: set[str] = set()
    for members in (*blocks.values(), [one for group in blocks.values() for one in group]):
        left = [one for one in members if one.name not in found]
        if len(left) > 1 and pooled(one.z for one in left) >= limits.z_pool:
            found |= {one.name for one in left}
    return found


def _white(one: Evidence, power: float, limits: Thresholds) -> Character:
    """No structure, alone or in company: noise if structure would have shown, else nobody can tell."""
    base = "" if one.base == "a" else f"{one.base}, then "
    noise = noise_size(one)
    common = {"noise": noise, "structure": one.share, "rearranged": one.rearranged}
    scatter = f"white noise of relative size {noise:.2g} (z {one.z or 0:.1f}"
    if (one.repeats_z or 0.0) >= limits.z_tensor:
        detail = f"{base}rounded to a grid that is not recognised (values repeat, z {one.repeats_z:.0f}), or {scatter})"
        return Character(one.name, one.size, "cannot tell", detail, None, **common)
    if one.base_weights:
        return Character(one.name, one.size, "interpolated", f"{base}{scatter})", None, **common)
    if power >= limits.z_pool:
        return Character(one.name, one.size, "noise", f"{base}{scatter})", None, **common)
    detail = f"{base}{scatter}), or a change whose structure is too weak to show here (expected z {power:.1f})"
    return Character(one.name, one.size, "cannot tell", detail, None, **common)


def _agreed(found: list[Character], evidence: Sequence[Evidence], limits: Thresholds) -> list[Character]:
    """A few odd ones among many follow the many: a single outlier may look like a cliff, noise may hide a cliff."""
    ranks = Counter(one.rank for one in found if one.kind == "low-rank")
    low, trained = ranks.total(), sum(one.kind == "training-like" for one in found)
    doubtful = [one for one in found if one.kind == "training-like"]
    if sum(one.size for one in doubtful if one.noise) < limits.noisy * sum(one.size for one in doubtful):
        # A long training fills some matrices' spectra to the floor; noise that was added would be in most of them.
        found = [replace(one, noise=None) if one.kind == "training-like" else one for one in found]
    usual = ranks.most_common(1)[0][0] if ranks else 0
    for i, (one, seen) in enumerate(zip(found, evidence, strict=True)):
        hidden = seen.floor is not None and seen.floor >= limits.noise_floor
        if one.kind == "low-rank" and one.rank <= 3 and hidden and trained > limits.many * low:
            detail = one.detail.replace(f"rank {one.rank}", "structured change", 1)
            found[i] = replace(one, kind="training-like", rank=None, detail=detail, certain=False)
        elif one.kind == "training-like" and low > trained and abs((seen.outliers or 0) - usual) <= usual / 5:
            found[i] = replace(
                one, kind="low-rank", rank=usual, detail=f"{one.detail}; about rank {usual}", certain=False
            )
        elif one.kind == "training-like" and hidden and low > limits.many * trained:
            found[i] = replace(
                one, kind="low-rank", rank=usual, detail=f"{one.detail}; its rank is hidden", certain=False
            )
    return found


def _size(value: float | None) -> str:
    return "unknown (a is 0)" if value is None else f"{value:.2g}"
