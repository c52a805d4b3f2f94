"""Numbers with their uncertainty: intervals for proportions and means, and the crossed bootstrap for training
runs.

The unit of replication is a training run. Runs share their prompts, so a score is a two-way table, run by
prompt:

    score[i, j] = mean + run effect i + prompt effect j + noise i, j

and its mean is uncertain through all three. `hierarchical_bootstrap` resamples runs first and then prompts,
one draw of prompts for all runs of a replicate, as the prompts are crossed with the runs.

Everything is in the unit of its input; multiply an `Estimate` by 100 with `scaled` for percentage points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from alice_repro.errors import UserError


@dataclass(frozen=True)
class Estimate:
    """A value with its interval: `n` observations went in, from `runs` training runs (1 where runs play no
    part).

    `low` and `high` are NaN where the data allow no interval (a single observation).
    """

    value: float
    low: float
    high: float
    n: int
    runs: int = 1

    def scaled(self, factor: float) -> Estimate:
        """The same estimate in another unit, for example `scaled(100)` for points; `scaled(-1)` turns it
        around.
        """
        low, high = sorted((self.low * factor, self.high * factor))
        return Estimate(self.value * factor, low, high, self.n, self.runs)


def proportion_interval(k: int, n: int, level: float = 0.95) -> Estimate:
    """Wilson's score interval for k successes in n independent trials (Wilson 1927)."""
    if not 0 <= k <= n or n < 1:
        raise UserError(f"a proportion needs 0 <= k <= n and n >= 1, got k={k}, n={n}")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    centre = (k + z * z / 2) / (n + z * z)
    half = z * np.sqrt(k * (n - k) / n + z * z / 4) / (n + z * z)
    return Estimate(k / n, float(max(centre - half, 0.0)), float(min(centre + half, 1.0)), n)


def mean_interval(values: ArrayLike, level: float = 0.95) -> Estimate:
    """Student's t interval for the mean of independent values."""
    values = _finite(values, "values")
    n = len(values)
    if n == 1:
        return Estimate(float(values[0]), np.nan, np.nan, 1)
    half = student_quantile(0.5 + level / 2, n - 1) * values.std(ddof=1) / np.sqrt(n)
    return Estimate(float(values.mean()), float(values.mean() - half), float(values.mean() + half), n)


def median_interval(values: ArrayLike, level: float = 0.95) -> Estimate:
    """Median with the interval between order statistics that holds it with at least this probability.

    For any distribution of independent values: the k-th smallest and k-th largest of n, k as large as the binomial
    distribution allows. Needs 6 values for 95 %; with fewer, low and high are NaN.
    """
    values = np.sort(_finite(values, "values"))
    n = len(values)
    below = np.cumsum([math.comb(n, k) for k in range(n)]) / 2.0**n  # P(at most k of n lie below the median)
    k = int(np.sum(below <= (1 - level) / 2))
    low, high = (values[k - 1], values[n - k]) if k else (np.nan, np.nan)
    return Estimate(float(np.median(values)), float(low), float(high), n)


def student_quantile(probability: float, df: float) -> float:
    """Quantile of Student's t with `df` >= 1 degrees of freedom (accurate to about 1e-6 for the usual
    levels).

    With t = sqrt(df) tan(angle) the density is cos(angle)^(df - 1) on a bounded interval, summed here
    numerically.
    """
    angle = np.linspace(0.0, np.pi / 2, 20001)
    density = np.cos(angle) ** (df - 1)
    mass = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    upper = np.interp(2 * abs(probability - 0.5), mass / mass[-1], angle)
    return float(np.copysign(np.sqrt(df) * np.tan(upper), probability - 0.5))


def hierarchical_bootstrap(
    run: ArrayLike,
    prompt: ArrayLike,
    value: ArrayLike,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Mean of a score over runs and prompts with its interval: runs are resampled first, then prompts.

    Args: run, prompt, value: arrays of one length, a row per observation; several rows of one (run, prompt),
    such as sampling seeds, are averaged first, so that each (run, prompt) counts once. Not every prompt need
    be there for every run.

    The plain percentile interval is wrong in both directions here: replicates of a crossed table carry the
    noise up to three times (Owen 2007), and with 5 runs they miss a fifth of the run variance and the heavy
    tail of having 5 values. So the quantiles of the replicates, which give the interval its shape, are
    rescaled to the unbiased two-way variance and to Student's t with Satterthwaite's degrees of freedom. With
    one run there is no run-to-run variance to be seen: the interval is over prompts only and `runs` says 1.
    """
    values = _finite(value, "value")
    table, present = _table(np.asarray(run), np.asarray(prompt), values)
    n_runs, n_prompts = table.shape
    mean = float(table.sum() / present.sum())
    variance, df = _crossed_variance(np.where(present, table - mean, 0.0), present)
    if np.isnan(variance):
        return Estimate(mean, np.nan, np.nan, len(values), n_runs)
    replicates = _replicate_means(table, present, n_boot, np.random.default_rng(seed))
    spread = replicates.std()
    if variance == 0 or spread == 0:
        return Estimate(mean, mean, mean, len(values), n_runs)
    upper = 0.5 + level / 2
    scale = np.sqrt(variance) / spread * student_quantile(upper, df) / NormalDist().inv_cdf(upper)
    low, high = mean + scale * (np.quantile(replicates, [1 - upper, upper]) - replicates.mean())
    return Estimate(mean, float(low), float(high), len(values), n_runs)


def paired_difference(
    run: ArrayLike,
    prompt: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    *,
    y_run: ArrayLike | None = None,
    y_prompt: ArrayLike | None = None,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Mean of x - y, paired by run and prompt, with the interval of `hierarchical_bootstrap`.

    Args: run, prompt, x: a row per observation of the first arm. y: aligned with x; or, with `y_run` and
    `y_prompt`, a table of its own. If that one has a single run (a teacher), it is compared with every run:
    its own sampling seeds are averaged per prompt, and the noise left in them is common to all runs and
    counted as a prompt effect.

    Raises `UserError` if some (run, prompt) of x has no partner: missing pairs are dropped by the caller, in
    sight.
    """
    run, prompt, x = np.asarray(run), np.asarray(prompt), _finite(x, "x")
    y = _finite(y, "y")
    if y_run is None and y_prompt is None:
        y_run, y_prompt = run, prompt
    elif y_run is None or y_prompt is None:
        raise UserError("a reference with its own rows needs both y_run and y_prompt")
    reference_runs = np.asarray(y_run)
    if len(np.unique(reference_runs)) == 1:
        reference = _cell_means(np.asarray(y_prompt).tolist(), y)
        partners = prompt.tolist()
    else:
        reference = _cell_means(list(zip(reference_runs.tolist(), np.asarray(y_prompt).tolist(), strict=True)), y)
        partners = list(zip(run.tolist(), prompt.tolist(), strict=True))
    lonely = sorted({str(key) for key in partners if key not in reference})
    if lonely:
        raise UserError(f"no reference value for {len(lonely)} pairs, such as {', '.join(lonely[:3])}; drop them first")
    difference = x - np.array([reference[key] for key in partners])
    return hierarchical_bootstrap(run, prompt, difference, n_boot, seed, level)


def _finite(values: ArrayLike, name: str) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise UserError(f"{name} must be a filled array of one axis, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise UserError(f"{name}: {np.sum(~np.isfinite(values))} of {len(values)} are missing; drop them, counted")
    return values


def _cell_means(keys: list, values: np.ndarray) -> dict:
    sums: dict = {}
    for key, value in zip(keys, values.tolist(), strict=True):
        total, count = sums.get(key, (0.0, 0))
        sums[key] = (total + value, count + 1)
    return {key: total / count for key, (total, count) in sums.items()}


def _table(run: np.ndarray, prompt: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cell means (runs, prompts), 0 where absent, and the mask of cells that are present."""
    if not len(run) == len(prompt) == len(values):
        raise UserError(f"run, prompt and value differ in length: {len(run)}, {len(prompt)}, {len(values)}")
    runs, i = np.unique(run, return_inverse=True)
    prompts, j = np.unique(prompt, return_inverse=True)
    shape = (len(runs), len(prompts))
    flat = i * shape[1] + j
    count = np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)
    total = np.bincount(flat, weights=values, minlength=shape[0] * shape[1]).reshape(shape)
    return np.divide(total, count, out=np.zeros(shape), where=count > 0), count > 0


def _crossed_variance(residual: np.ndarray, present: np.ndarray) -> tuple[float, float]:
    """Variance of the mean of a two-way table, unbiased for crossed random effects, and its degrees of
    freedom.

    Analysis of variance: (MS_run + MS_prompt - MS_noise) / (runs * prompts), at least MS_noise / (runs *
    prompts). Exact for a full table, an approximation where cells are absent. Degrees of freedom after
    Satterthwaite (1946).
    """
    n_runs, n_prompts = residual.shape
    cells = present.sum()

    def clustered(sums: np.ndarray) -> float:
        groups = sums.size
        return float((sums**2).sum() / cells**2 * groups / (groups - 1)) if groups > 1 else np.nan

    by_run, by_prompt = clustered(residual.sum(axis=1)), clustered(residual.sum(axis=0))
    if n_runs == 1 or n_prompts == 1:
        groups = max(n_runs, n_prompts)
        return (by_prompt if n_runs == 1 else by_run), max(groups - 1.0, 1.0)
    leftover = residual - np.where(present, _row_means(residual, present) + _row_means(residual.T, present.T).T, 0.0)
    noise = float((leftover**2).sum() / cells**2 * cells / ((n_runs - 1) * (n_prompts - 1)))
    variance = max(by_run + by_prompt - noise, noise)
    parts = by_run**2 / (n_runs - 1) + by_prompt**2 / (n_prompts - 1) + noise**2 / ((n_runs - 1) * (n_prompts - 1))
    return variance, max(variance**2 / parts, 1.0) if parts > 0 else 1.0


def _row_means(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    return values.sum(axis=1, keepdims=True) / present.sum(axis=1, keepdims=True)


def _replicate_means(table: np.ndarray, present: np.ndarray, n_boot: int, rng: np.random.Generator) -> np.ndarray:
    """Means of resampled tables, (n_boot,): how often each run and each prompt is drawn, as multinomial
    counts.
    """
    n_runs, n_prompts = table.shape
    run_weight = rng.multinomial(n_runs, np.full(n_runs, 1 / n_runs), size=n_boot).astype(float)
    prompt_weight = rng.multinomial(n_prompts, np.full(n_prompts, 1 / n_prompts), size=n_boot).astype(float)
    total = ((run_weight @ table) * prompt_weight).sum(axis=1)
    count = ((run_weight @ present.astype(float)) * prompt_weight).sum(axis=1)
    return np.divide(total, count, out=np.full(n_boot, table.sum() / present.sum()), where=count > 0)
