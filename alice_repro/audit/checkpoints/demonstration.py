"""Pairs of known relation, judged from files as a user's are; tables and figures of what the method sees in them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alice_repro.audit.checkpoints import synthetic
from alice_repro.audit.checkpoints.layouts import open_checkpoint
from alice_repro.audit.checkpoints.matching import match
from alice_repro.audit.checkpoints.measures import Evidence, measure
from alice_repro.audit.checkpoints.verdict import Judgement, judge
from alice_repro.audit.checkpoints.whiteness import whiteness

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from alice_repro.audit.checkpoints.synthetic import Weights

Judged = tuple[list[Evidence], Judgement]
SHOWN = ("noise", "noise in bf16", "low-rank", "low-rank + noise", "trained", "trained + noise")


def audit(a: Weights, b: Weights, c: Weights | None = None, seed: int = 0) -> Judged:
    """Write the weights to files, open, match, measure and judge B against A (and C): evidence and judgement."""
    with tempfile.TemporaryDirectory() as folder:
        files = [
            synthetic.write(w, Path(folder) / f"{i}.safetensors") for i, w in enumerate((a, b, c)) if w is not None
        ]
        networks = [next(iter(open_checkpoint(file).networks.values())) for file in files]
        matching = match(*networks[:2])
        evidence = [measure(pair, [n.tensors[pair.name] for n in networks[2:]], seed) for pair in matching.pairs]
        return evidence, judge(evidence, matching)


def every_kind(a: Weights, level: float, seed: int = 0, rank: int = 8) -> dict[str, Judged]:
    """One pair of each kind of change, judged."""
    return {kind: audit(a, *synthetic.change(kind, a, level, seed, rank), seed) for kind in synthetic.CHANGES}


def verdict_table(judged: Mapping[str, Judged]) -> pd.DataFrame:
    """What was made, what was said."""
    import pandas as pd

    rows = [(kind, seen.kind, seen.confidence, seen.summary) for kind, (_, seen) in judged.items()]
    return pd.DataFrame(rows, columns=["made", "judged", "confidence", "summary"])


def noise_table(a: Weights, sizes: Sequence[float], seed: int = 0) -> pd.DataFrame:
    """White noise of several sizes, kept in fp32, rounded to bf16, or added to values that were bf16 before."""
    import pandas as pd
    import torch

    half, rows = synthetic.cast(a, torch.bfloat16), []
    for size in sizes:
        noisy = synthetic.noised(a, size, seed=seed)
        stored = {
            "fp32": (a, noisy),
            "bf16 from fp32": (a, synthetic.cast(noisy, torch.bfloat16)),
            "bf16 from bf16": (half, synthetic.noised(half, size, seed=seed)),
        }
        for name, pair in stored.items():
            _, seen = audit(*pair, seed=seed)
            said = [p.numbers["noise"]["median"] for p in seen.parts if "noise" in p.numbers]
            rows.append((size, name, seen.kind, said[0] if said else None))
    return pd.DataFrame(rows, columns=["made", "stored", "judged", "measured"])


def null_figure(draws: int = 200, seed: int = 0) -> Figure:
    """The rectangle statistic of noises of several laws: mean 0, deviation 1."""
    import numpy as np
    from matplotlib.figure import Figure

    generator, shape = np.random.default_rng(seed), (draws, 80, 100)
    laws = {
        "Gaussian": generator.standard_normal(shape),
        "rows of unequal size": generator.standard_normal(shape) * generator.lognormal(0, 1, (draws, 80, 1)),
        "thinned by rounding": generator.choice((-1.0, 0.0, 1.0), shape, p=(0.05, 0.9, 0.05)),
    }
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, matrices in laws.items():
        z = [whiteness(d).z for d in matrices]
        axes.hist(z, bins=30, histtype="step", density=True, label=f"{name}: {np.mean(z):+.2f} ± {np.std(z):.2f}")
    axes.set(xlabel="z under the null")
    axes.legend()
    return figure


def z_figure(judged: Mapping[str, Judged]) -> Figure:
    """z of each matrix, by kind of change."""
    from matplotlib.figure import Figure

    from alice_repro.audit.checkpoints.character import THRESHOLDS

    z = {kind: [e.z for e in judged[kind][0] if e.z is not None] for kind in SHOWN if kind in judged}
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    axes.boxplot(list(z.values()), tick_labels=list(z), orientation="horizontal")
    axes.set_xscale("symlog", linthresh=THRESHOLDS.z_tensor)
    axes.axvline(THRESHOLDS.z_tensor, ls=":", c="k")
    axes.set(xlabel="z of each matrix; dotted: the bound of a single one")
    return figure


def spectra_figure(judged: Mapping[str, Judged], of: str = "attn1.to_q") -> Figure:
    """Singular values of one matrix's change, by kind, against what is left of it under random signs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6), layout="constrained")
    for axes, kind in zip(figure.subplots(2, 3, sharex=True).flat, SHOWN, strict=True):
        one = next(e for e in judged[kind][0] if e.values and of in e.name)
        axes.semilogy([v / one.values[0] for v in one.values], label="change")
        axes.semilogy([v / one.values[0] for v in one.null], ls=":", label="without outliers, random signs")
        axes.set(title=f"{kind}: {one.outliers} outliers, white floor {one.floor:.2f}", ylim=(1e-4, 2))
    figure.axes[0].legend()
    return figure
