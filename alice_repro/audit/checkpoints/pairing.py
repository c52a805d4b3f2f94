"""Which network of A is compared with which of B, and which others the result may be a mixture with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alice_repro.audit.checkpoints.layouts import HIGH, LOW, Checkpoint, Network
from alice_repro.audit.checkpoints.signatures import correlations, signature
from alice_repro.errors import UserError, unknown_name

_EXPERTS = (HIGH, LOW)
_SAMPLED = 24  # matrices that the likeness of two networks is read from


@dataclass(frozen=True)
class NetworkPair:
    """Two networks to compare. anchors: networks that b may be a mixture of with a; note: why these two, if unclear."""

    a: Network
    b: Network
    anchors: tuple[Network, ...] = ()
    note: str = ""

    @property
    def name(self) -> str:
        """The network's name, or both where they differ."""
        return self.a.name if self.a.name == self.b.name else f"{self.a.name} ~ {self.b.name}"


def pair_networks(
    a: Checkpoint, b: Checkpoint, others: Sequence[Checkpoint] = (), wanted: Sequence[str] = ()
) -> tuple[list[NetworkPair], list[str]]:
    """Networks to compare, and notes on those that have no counterpart.

    Two experts are compared with two, crosswise if they are more alike that way; of two in A, the one that is more
    like B's single network is compared with it, and the other is an anchor; of two in B, each is compared with A's.

    Raises:
        UserError: an unknown name in `wanted`; nothing to compare.
    """
    known = {*a.networks, *b.networks}
    for name in wanted:
        if name not in known:
            raise unknown_name("network", name, known)
    pairs = _experts(a, b)
    rest = [name for name in a.networks if name in b.networks and name not in _EXPERTS]
    pairs += [NetworkPair(a.networks[name], b.networks[name]) for name in rest]
    if wanted:
        pairs = [pair for pair in pairs if pair.a.name in wanted or pair.b.name in wanted]
    if not pairs:
        raise UserError(
            f"nothing to compare: {a.path} has {', '.join(a.networks)}, {b.path} has {', '.join(b.networks)}"
            + (f"; --networks keeps only {', '.join(wanted)}" if wanted else "")
        )
    pairs = [NetworkPair(p.a, p.b, p.anchors + _anchors(p, others), p.note) for p in pairs]
    return pairs, _doubled(a, b) + ([] if wanted else _alone(a, b, pairs))


def likeness(a: Network, b: Network) -> float:
    """Mean correlation of sampled rows over matrices of one name and shape; 0 if there is none."""
    names = [n for n, t in a.tensors.items() if len(t.shape) > 1 and n in b.tensors and b.tensors[n].shape == t.shape]
    chosen = names[:: max(len(names) // _SAMPLED, 1)]
    found = []
    for name in chosen:
        one, other = (signature(side.tensors[name]).reshape(1, -1) for side in (a, b))
        found.append(float(correlations(one, other)[0, 0]))
    return float(np.mean(found)) if found else 0.0


def _experts(a: Checkpoint, b: Checkpoint) -> list[NetworkPair]:
    mine = [a.networks[name] for name in _EXPERTS if name in a.networks]
    theirs = [b.networks[name] for name in _EXPERTS if name in b.networks]
    if len(mine) == len(theirs) == 2:
        straight = likeness(mine[0], theirs[0]) + likeness(mine[1], theirs[1])
        crossed = likeness(mine[0], theirs[1]) + likeness(mine[1], theirs[0])
        if crossed > straight:
            why = f"the experts are more alike crosswise: mean correlation {crossed / 2:.4f} against {straight / 2:.4f}"
            return [NetworkPair(mine[0], theirs[1], (), why), NetworkPair(mine[1], theirs[0], (), why)]
        return [NetworkPair(one, other) for one, other in zip(mine, theirs, strict=True)]
    if len(mine) == 2 and theirs:
        alike = [likeness(one, theirs[0]) for one in mine]
        nearest = int(np.argmax(alike))
        why = (
            f"A has two experts and B one network: compared with the more alike (mean correlation {alike[nearest]:.4f} "
            f"against {alike[1 - nearest]:.4f}); the other is tried as the second part of a mixture"
        )
        return [NetworkPair(mine[nearest], theirs[0], (mine[1 - nearest],), why)]
    if len(theirs) == 2 and mine:
        return [NetworkPair(mine[0], other, (), "B has two experts and A one network") for other in theirs]
    return [NetworkPair(mine[0], theirs[0])] if mine and theirs else []


def _doubled(a: Checkpoint, b: Checkpoint) -> list[str]:
    """A note where the two experts of a checkpoint are one network, stored twice."""
    notes = []
    for side, checkpoint in (("A", a), ("B", b)):
        high, low = (checkpoint.networks.get(name) for name in _EXPERTS)
        if high and low and high.tensors.keys() == low.tensors.keys():
            both = [(tensor, low.tensors[name]) for name, tensor in high.tensors.items()]
            if all(x.shape == y.shape and np.array_equal(signature(x), signature(y)) for x, y in both):
                notes.append(f"{side}'s two experts are equal in all sampled rows: one network, stored twice")
    return notes


def _anchors(pair: NetworkPair, others: Sequence[Checkpoint]) -> tuple[Network, ...]:
    """Of each further checkpoint the network of a's name, or else its transformers."""
    found: list[Network] = []
    for other in others:
        same = other.networks.get(pair.a.name)
        experts = [other.networks[name] for name in _EXPERTS if name in other.networks]
        found += [same] if same else experts if pair.a.name in _EXPERTS else []
    return tuple(found)


def _alone(a: Checkpoint, b: Checkpoint, pairs: Sequence[NetworkPair]) -> list[str]:
    """A note for each network that is not compared."""
    notes = []
    for side, checkpoint, used in (
        ("A", a, {n.name for p in pairs for n in (p.a, *p.anchors)}),
        ("B", b, {p.b.name for p in pairs}),
    ):
        gone = [name for name in checkpoint.networks if name not in used]
        if gone:
            notes.append(f"only {side} has {', '.join(gone)}: not compared")
    return notes
