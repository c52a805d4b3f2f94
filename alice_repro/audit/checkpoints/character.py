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

from alice_repro.audit.checkpoints.explanations import BOTH
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
    agreeing: float = 0.8  # of the noisy structured tensors must have one rank for a rank of 3 or less to be believed
    mixture: tuple[float, float] = (0.5, 2.5)  # size of what is independent of A over what A lacks to weight 1: then
    # it may be another checkpoint, of half to 2.5 times A's size
    sphere: float = 0.03  # of A's energy, by which a spherical mixture may differ from it
    torn: float = 1.5  # times the share of the holes: what lies under a product then is more than they leave
    least_mixed: float = 0.02  # part of another checkpoint; where the rest is structured, five times as much, since
    # weight decay shrinks what is trained


THRESHOLDS = Thresholds()
UNCHANGED = ("identical", "cast")
STRUCTURED = ("low-rank", "training-like")


@dataclass(frozen=True)
class Character:
    """What one pair's change is. kind: see `character`; detail: in words, with numbers.

    rank: of a low-rank part; noise: size of the white part relative to a; structure: share of the energy of the
    rank-one part that would give the same statistic; certain: false if only the company of other tensors decided;
    doubt: between what "cannot tell" cannot decide; zeroed: share of a's values that were set to 0 before; missed:
    values that the formula does not give, where there is one.
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
    doubt: str = ""
    zeroed: float = 0.0
    missed: int = 0

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
        return Character(one.name, one.size, kind, detail, rearranged=one.rearranged, zeroed=_zeroed(one), **more)

    missed = one.size - one.explained
    if one.not_finite:
        return said("cannot tell", f"{one.not_finite:,} values are NaN or infinite", doubt="values are NaN or infinite")
    if one.explanation and missed <= limits.tiny * one.size:
        return _explained(one, missed, said)
    if one.energy == 0:
        detail = "A's values are all 0, B's are not: nothing to compare them with"
        return said("cannot tell", detail, doubt="A's values are all 0")
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
        detail = f"{one.zeroed / one.size:.1%} of the {one.detail}"
    if one.reverse:
        detail = f"A is B {detail}" if kind != "scaled" else f"A is B {detail}, rounded"
    if kind == "cast" and (one.reverse or one.detail == BOTH):
        missed = 0  # B is the finer, or rounded elsewhere: another neighbour here and there is no edit
    return said(kind, detail + (f"; {missed:,} values differ" if missed else ""), missed=missed)


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
    base = _base(one)
    seen = f"z {one.z:.1f}, structured share {one.share:.2f}"
    common = {"structure": one.share, "rearranged": one.rearranged, "zeroed": _zeroed(one)}
    # A may be rounded itself, of values that B came from unrounded.
    made = limits.beyond_rounding * (one.rounding**2 + one.rounding_a**2)
    if _foreign(one, 5 * limits.least_mixed, limits):
        detail = f"{base}a structured part of relative size {_size(one.residual)} ({seen})"
        return Character(one.name, one.size, "cannot tell", detail, doubt=_MIXTURE, **common)
    torn = one.zeroed_share  # values that were kept at 0 tear holes, which look like noise
    low = one.rank is not None and 0 < one.rank <= limits.rank_share * one.side and one.gap >= limits.gap
    if low or (one.rank and one.exact):
        left = one.bulk * one.residual**2 > max(made, 1e-13) and one.bulk > limits.torn * torn
        noise = noise_size(one, one.bulk) if left else None
        more = f" plus white noise of relative size {noise:.2g}" if noise else ""
        detail = f"{base}rank {one.rank} of relative size {_size(one.residual)}{more} ({seen})"
        return Character(one.name, one.size, "low-rank", detail, one.rank, noise, **common)
    noisy = one.floor is not None and one.floor >= limits.noise_floor + torn and one.floor * one.residual**2 > made
    noise = noise_size(one, one.floor) if noisy else None
    more = f" plus white noise of relative size {noise:.2g}" if noise else ""
    detail = f"{base}structured change of relative size {_size(one.residual)}{more} ({seen})"
    return Character(one.name, one.size, "training-like", detail, None, noise, **common)


_MIXTURE = "a mixture of A with a checkpoint that is not given, or A scaled and changed independently"


def _foreign(one: Evidence, least: float, limits: Thresholds) -> bool:
    """Whether b is as a mixture with another checkpoint would be: a share of a, and as much of something else."""
    factor = one.factor or 0.0
    lacking = 1 - factor
    if one.base_weights or one.base.startswith(("each", "cast")) or not least <= lacking <= 1:
        return False
    if one.base == "a" and (one.zeroed_what or lacking < limits.z_tensor * (one.factor_error or 1.0)):
        return False
    # Of b - a, lacking * a is not independent of a; weights of a mixture on the sphere (SLERP) keep the energy.
    other = sqrt(max(one.residual**2 - (lacking**2 if one.base == "a" else 0.0), 0.0))
    slerp = abs(factor**2 + other**2 - 1) <= limits.sphere
    return slerp or limits.mixture[0] <= other / lacking <= limits.mixture[1]


def _zeroed(one: Evidence) -> float:
    return one.zeroed / one.size if one.explanation == "pruned" else one.zeroed_share


def _base(one: Evidence) -> str:
    """In words, what the change was on top of."""
    pruned = f"{one.zeroed_share:.1%} of the values set to 0 ({one.zeroed_what}), then " if one.zeroed_what else ""
    return pruned + ("" if one.base == "a" else f"{one.base}, then ")


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
    base = _base(one)
    noise = noise_size(one)
    common = {"structure": one.share, "rearranged": one.rearranged, "zeroed": _zeroed(one)}
    places = f" on {one.changed:.1%} of the values" if one.changed < 0.5 and not one.thinned else ""
    scatter = f"white noise of relative size {noise:.2g}{places} (z {one.z or 0:.1f}"

    def said(kind: str, detail: str, doubt: str = "") -> Character:
        size = None if one.bounded and kind in ("scaled", "interpolated") else noise
        return Character(one.name, one.size, kind, f"{base}{detail}", None, size, doubt=doubt, **common)

    if (one.repeats_z or 0.0) >= limits.z_tensor:
        detail = f"rounded to a grid that is not recognised (values repeat, z {one.repeats_z:.0f}), or {scatter})"
        return said("cannot tell", detail, "rounded to a grid that is not recognised, or noise")
    if one.base_weights:
        return said("interpolated", "rounded" if one.bounded else f"{scatter})")
    if one.bounded and "scaled" in one.base:
        return said("scaled", "within what rounding both A and B makes")
    if _foreign(one, limits.least_mixed, limits):
        return said("cannot tell", f"{scatter})", _MIXTURE)
    if power >= limits.z_pool:
        return said("noise", f"{scatter})")
    detail = f"{scatter}), or a change whose structure is too weak to show here (expected z {power:.1f})"
    return said("cannot tell", detail, "noise, or a change too weak to show its structure")


def _agreed(found: list[Character], evidence: Sequence[Evidence], limits: Thresholds) -> list[Character]:
    """A few odd ones among many follow the many: a single outlier may look like a cliff, noise may hide a cliff."""
    ranks = Counter(one.rank for one in found if one.kind == "low-rank")
    low, trained = ranks.total(), sum(one.kind == "training-like" for one in found)
    doubtful = [one for one in found if one.kind == "training-like"]
    if sum(one.size for one in doubtful if one.noise) < limits.noisy * sum(one.size for one in doubtful):
        # A long training fills some matrices' spectra to the floor; noise that was added would be in most of them.
        found = [replace(one, noise=None) if one.kind == "training-like" else one for one in found]
    usual = ranks.most_common(1)[0][0] if ranks else 0
    hidden = [i for i, seen in enumerate(evidence) if (seen.floor or 0.0) >= limits.noise_floor]
    structured = [found[i] for i in hidden if found[i].kind in STRUCTURED]
    agree = sum(one.rank == usual for one in structured) >= limits.agreeing * len(structured)
    for i, (one, seen) in enumerate(zip(found, evidence, strict=True)):
        # A training leaves low ranks here and there, where a layer saw little; a merge gives one rank to several.
        stray = trained > limits.many * low and not (low > 2 and max(ranks.values()) >= limits.agreeing * low)
        if one.kind == "low-rank" and stray:
            detail = one.detail.replace(f"rank {one.rank}", "structured change", 1)
            found[i] = replace(one, kind="training-like", rank=None, noise=None, detail=detail, certain=False)
            continue
        # Noise leaves the first few directions of a training, which then look like a cliff, each at another rank.
        if one.kind == "low-rank" and one.rank <= 3 and i in hidden and trained > 0 and not agree:
            detail = one.detail.replace(f"rank {one.rank}", "structured change", 1)
            found[i] = replace(one, kind="training-like", rank=None, detail=detail, certain=False)
        elif one.kind == "training-like" and low > trained and abs((seen.outliers or 0) - usual) <= usual / 5:
            found[i] = replace(
                one, kind="low-rank", rank=usual, detail=f"{one.detail}; about rank {usual}", certain=False
            )
        elif one.kind == "training-like" and i in hidden and low > limits.many * trained:
            found[i] = replace(
                one, kind="low-rank", rank=usual, detail=f"{one.detail}; its rank is hidden", certain=False
            )
    return found


def _size(value: float | None) -> str:
    return "unknown (a is 0)" if value is None else f"{value:.2g}"
