"""Two checkpoints compared: networks paired, tensors matched, each pair measured while the next is read, and judged."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from alice_repro.audit.checkpoints.architecture import (
    Architecture,
    Statement,
    architecture_of,
    compare_config,
    compare_stated,
)
from alice_repro.audit.checkpoints.layouts import Checkpoint
from alice_repro.audit.checkpoints.matching import Matching, Pair, match
from alice_repro.audit.checkpoints.pairing import NetworkPair, pair_networks
from alice_repro.audit.checkpoints.tensors import Tensor
from alice_repro.audit.findings import Record
from alice_repro.progress import Progress

if TYPE_CHECKING:
    from alice_repro.audit.checkpoints.measures import Evidence
    from alice_repro.audit.checkpoints.verdict import Judgement

MB = 1e6
_LISTED = 2000  # unmatched tensors that the JSON names


@dataclass(frozen=True)
class Compared:
    """Two networks: what was matched, measured and judged."""

    pair: NetworkPair
    matching: Matching
    evidence: tuple[Evidence, ...]
    judgement: Judgement

    @property
    def name(self) -> str:
        return self.pair.name


@dataclass(frozen=True)
class Comparison:
    """What is said of A and B. architectures, statements: by side, "a" or "b"; notes: what was seen and not read."""

    a: Checkpoint
    b: Checkpoint
    others: tuple[Checkpoint, ...]
    networks: tuple[Compared, ...]
    architectures: Mapping[str, tuple[Architecture, ...]]
    statements: Mapping[str, tuple[Statement, ...]]
    notes: tuple[str, ...]
    seconds: float
    bytes_read: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON; a number that is not finite becomes null."""
        sides = {"a": self.a, "b": self.b}
        return _finite(
            {
                **{side: _side(checkpoint, self.architectures[side]) for side, checkpoint in sides.items()},
                "with": [other.path.as_posix() for other in self.others],
                "notes": self.notes,
                "networks": [_compared(one) for one in self.networks],
                "statements": {side: [one.to_dict() for one in found] for side, found in self.statements.items()},
                "seconds": round(self.seconds, 3),
                "bytes_read": self.bytes_read,
            }
        )


def compare(
    a: Checkpoint,
    b: Checkpoint,
    others: Sequence[Checkpoint] = (),
    networks: Sequence[str] = (),
    records: Sequence[Record] = (),
    workers: int | None = None,
) -> Comparison:
    """Compare B with A.

    Args:
        others: checkpoints that B may be a mixture with.
        networks: names of those to compare, all that both have if empty.
        records: documents whose stated architectures are compared with both.
        workers: pairs measured at a time; the number of processors if not given.

    Raises:
        UserError: nothing to compare, an unknown network, a file that changed underneath.
    """
    began = time.monotonic()
    pairs, notes = pair_networks(a, b, others, networks)
    compared = tuple(_compare(pair, workers or os.cpu_count() or 1) for pair in pairs)
    found = {
        side: tuple(architecture_of(network) for network in one.networks.values()) for side, one in (("a", a), ("b", b))
    }
    return Comparison(
        a,
        b,
        tuple(others),
        compared,
        found,
        {"a": _statements(a, found["a"], records), "b": _statements(b, found["b"], records)},
        (*a.notes, *b.notes, *(note for other in others for note in other.notes), *notes),
        time.monotonic() - began,
        sum(p.a.byte_count + p.b.byte_count for one in compared for p in one.matching.pairs),
    )


def measure_all(pairs: Sequence[Pair], measure: Callable[[Pair], Any], workers: int, title: str) -> list[Any]:
    """Measure pairs, several at a time: one thread's reading overlaps with the others' arithmetic.

    Memory is that of `workers` measurements, whatever the number of pairs.
    """
    total = sum(pair.a.byte_count + pair.b.byte_count for pair in pairs)
    with Progress(round(total / MB), title) as progress, ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(measure, pair) for pair in pairs]
        found, read, shown = [], 0, 0
        try:
            for pair, future in zip(pairs, futures, strict=True):
                found.append(future.result())
                read += pair.a.byte_count + pair.b.byte_count
                progress.advance(round(read / MB) - shown, "MB")
                shown = round(read / MB)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def _compare(networks: NetworkPair, workers: int) -> Compared:
    from alice_repro.audit.checkpoints.measures import measure
    from alice_repro.audit.checkpoints.verdict import judge

    matching = match(networks.a, networks.b)

    def measured(pair: Pair) -> Evidence:
        anchors: list[Tensor] = []
        for network in networks.anchors:
            anchor = network.tensors.get(pair.a.name)
            if anchor is not None:
                anchors.append(anchor)
        return measure(pair, anchors)

    evidence = tuple(measure_all(matching.pairs, measured, workers, f"comparing {networks.name}"))
    return Compared(networks, matching, evidence, judge(evidence, matching))


def _statements(
    checkpoint: Checkpoint, found: Sequence[Architecture], records: Sequence[Record]
) -> tuple[Statement, ...]:
    networks = checkpoint.networks.values()
    configs = [compare_config(network, one) for network, one in zip(networks, found, strict=True)]
    return (*(one for one in configs if one), *compare_stated(checkpoint, records))


def _side(checkpoint: Checkpoint, found: Sequence[Architecture]) -> dict[str, Any]:
    return {
        "path": checkpoint.path.as_posix(),
        "layout": checkpoint.layout,
        "networks": [asdict(one) | {"names": checkpoint.networks[one.network].layout} for one in found],
    }


def _compared(one: Compared) -> dict[str, Any]:
    matching = one.matching
    hows: dict[str, int] = {}
    for pair in matching.pairs:
        hows[pair.how] = hows.get(pair.how, 0) + 1
    return {
        "a": one.pair.a.name,
        "b": one.pair.b.name,
        "note": one.pair.note,
        "anchors": [anchor.name for anchor in one.pair.anchors],
        "judgement": one.judgement.to_dict(),
        "matching": {
            "pairs": len(matching.pairs),
            "how": hows,
            "renumbered": dict(matching.renumbered or {}),
            "rearranged": sum(p.row_order is not None or p.column_order is not None for p in matching.pairs),
            "only_a": [_named(t) for t in matching.only_a[:_LISTED]],
            "only_b": [_named(t) for t in matching.only_b[:_LISTED]],
            "reshaped": [{"name": p.name, "a": p.a.shape, "b": p.b.shape} for p in matching.reshaped[:_LISTED]],
        },
        "tensors": [evidence.to_dict() for evidence in one.evidence],
    }


def _named(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "shape": tensor.shape, "dtype": tensor.dtype}


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
