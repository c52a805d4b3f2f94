"""Is a matrix white? Tests whose null is any entrywise independent noise that is symmetric about 0.

The null. Given the magnitudes |d_ij|, the signs are independent and fair. That covers Gaussian and uniform noise, noise
in proportion to each weight or to each row, and noise that rounding to bf16 has thinned out to a few steps up or down.

The statistic. For i < j and k < l the product d_ik d_jk d_il d_jl (the corners of a rectangle) has mean 0 under the
null, and two different rectangles are uncorrelated. Their sum T = sum_{i<j} ((D D')_ij^2 - sum_k d_ik^2 d_jk^2) / 2 has
mean 0 and variance sum_{rectangles} of squares, both exact given the magnitudes and both a few matrix products away. It
is the fourth Schatten norm without the part that the magnitudes alone make. A rank-one part that holds a share s of the
energy of m x n noise moves T by about s^2 m n / 4 and T's deviation is m n / 2: z = s^2 m n / 2.

Spectra are compared with the same matrix under random signs, which keeps its magnitudes, and not with a formula for
equal variances (Marchenko-Pastur), which thinned or weighted noise does not obey.

Products and factorisations are torch's: it keeps to one thread while pairs are measured side by side, numpy's do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FLIPS = 3  # sign-flipped copies that give the reference spectrum; its edge fluctuates by well under 5 % at these sizes
EDGE = 1.05  # a singular value this much above the largest of the flipped copies is outside the bulk
ABRUPT = 10.0  # a step that no spectrum of noise or training has inside
STEP = 1.5  # a step down to what rounding makes; among the values of noise, those next to last apart, it is under 1.4
ROUNDED = 1.5  # times the energy that rounding is expected to make
ROUNDING = 1e-12  # of the squared energy: what sums in fp64 may leave of a sum that is 0
SMALLEST_BULK = 8  # singular values that are never peeled: fewer are no bulk


@dataclass(frozen=True)
class Whiteness:
    """z: of the rectangle statistic; share: energy of the rank-one part that would give it; needed: that at z = 4.

    rectangles: how many the statistic effectively rests on; a few are no basis for a normal approximation.
    """

    z: float
    share: float
    needed: float
    rectangles: float


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Singular values and those under random signs; outliers: how many stand above the bulk.

    rank, gap: of the last few outliers, the one with the steepest step to the next value, and that step as a ratio (1
    without outliers): a merged low-rank product ends in a cliff, a trained difference in a slope; floor: share of the
    energy that white noise as strong as the lower half of the bulk would hold (an upper bound on the noise); bulk: the
    same of the whole bulk; remainder_z: the rectangle statistic of the bulk; exact: the cliff is abrupt, or what is
    after it is rounding.
    """

    values: np.ndarray
    null: np.ndarray
    outliers: int
    rank: int
    gap: float
    floor: float
    bulk: float
    remainder_z: float
    exact: bool = False


def whiteness(d: np.ndarray) -> Whiteness:
    """The rectangle statistic of a matrix (m, n), float64; z = 0 where no rectangle has four corners."""
    d = d if d.shape[0] <= d.shape[1] else d.T
    scale = np.sqrt(np.mean(d * d))
    if not scale > 0 or min(d.shape) < 2:
        return Whiteness(0.0, 0.0, 1.0, 0.0)
    d = d / scale
    squares = d * d
    total, variance, energy = over_rectangles(d), over_rectangles(squares), float(squares.sum())
    fourth = over_rectangles(squares * squares)
    # Few values that are not 0 form no rectangle, and rounding leaves either sum a little beside 0.
    if variance <= ROUNDING * energy**2 or fourth <= 0:
        return Whiteness(0.0, 0.0, 1.0, 0.0)
    return Whiteness(
        z=total / np.sqrt(variance),
        share=float(np.sqrt(max(4 * total, 0.0)) / energy),
        needed=float(min(np.sqrt(16 * np.sqrt(variance)) / energy, 1.0)),
        rectangles=variance**2 / fourth,
    )


def over_rectangles(x: np.ndarray) -> float:
    """Sum over rectangles of the product of the corners of x (m, n): sum_{i<j} ((X X')_ij^2 - sum_k x_ik^2 x_jk^2) / 2.

    T for a matrix, its variance given the magnitudes for the squares, and so on. Pairs of rows are summed as half of
    all less the diagonal, so that one matrix product is enough.
    """
    squares, gram = x * x, _product(x, x.T)
    crossed = inner(gram, gram) - np.square(gram.diagonal()).sum()
    return float(crossed - np.square(squares.sum(0)).sum() + inner(squares, squares)) / 4


def inner(x: np.ndarray, y: np.ndarray) -> float:
    """Sum of products of two matrices, in one thread."""
    return float(np.einsum("ij,ij", x, y))


def spectrum(d: np.ndarray, rng: np.random.Generator, made: float = 0.0) -> Spectrum:
    """What stands out of the bulk of a matrix (m, n), float64, and what is left when it is taken away.

    made: variance of an entry that storing makes by itself. Where the values end in a step down to it, or in an abrupt
    one, the matrix has that rank, however high it is.

    Values above the edge of the flipped copies are peeled off, the rest is compared with flips of the rest, and so on
    until nothing new stands out. The rest of rank-k removal lives in (m - k)(n - k) dimensions: the flipped copies are
    cut to that size and given the rest's energy.
    """
    d = d if d.shape[0] <= d.shape[1] else d.T
    import torch

    matrix = torch.from_numpy(np.ascontiguousarray(d))
    values = torch.linalg.svdvals(matrix).numpy()
    left = right = None  # vectors cost as much again, and noise needs none
    most = len(values) - SMALLEST_BULK
    exact = _numerical_rank(values, made, d.shape)
    count, rest = exact, d
    while True:
        if count:
            if left is None:
                left, _, right = (part.numpy() for part in torch.linalg.svd(matrix, full_matrices=False))
            rest = _product(left[:, count:] * values[count:], right[count:])
        null, fourth, deviation = _flipped(rest, count, rng)
        fresh = count + int((values[count:most] > EDGE * null[0]).sum()) if most > count else count
        if fresh == count:
            break
        count = fresh
    bulk = values[count:]
    half = len(bulk) // 2
    energy, (m, n) = float((values**2).sum()) or 1.0, d.shape
    whole = m * n / ((m - count) * (n - count))  # the bulk's energy if it had not lost the peeled directions
    floor = float((bulk[half:] ** 2).sum() / max((null[half:] ** 2).sum(), 1e-300) * (bulk**2).sum() * whole / energy)
    rank, gap = _cliff(values, count)
    z = ((bulk**4).sum() - fourth) / (4 * deviation * np.sqrt(1 + 1 / FLIPS)) if deviation > 0 else 0.0
    padded, under = np.concatenate([np.full(count, null[0]), null]), float((bulk**2).sum() * whole / energy)
    return Spectrum(values, padded, count, rank, gap, min(floor, 1.0), under, float(z), rank == exact > 0)


def _numerical_rank(values: np.ndarray, made: float, shape: tuple[int, int]) -> int:
    """How many values stand before the steepest step, if what is after it is no more than rounding; else 0."""
    most = len(values) - SMALLEST_BULK
    if most < 1:
        return 0
    steps = values[:most] / np.maximum(values[1 : most + 1], 1e-300)
    rank = int(steps.argmax()) + 1
    left = (shape[0] - rank) * (shape[1] - rank)
    rounded = steps.max() >= STEP and (values[rank:] ** 2).sum() <= ROUNDED * made * left
    return rank if rounded or steps.max() >= ABRUPT else 0


def _cliff(values: np.ndarray, count: int) -> tuple[int, float]:
    """The steepest step near the end of the outliers (the last may be the bulk's own); or anywhere an abrupt one."""
    if count == 0:
        return 0, 1.0
    steps = values[:count] / np.maximum(values[1 : count + 1], 1e-300)
    last = steps.copy()
    last[: max(0, count - max(3, count // 4))] = 0.0
    at = int(steps.argmax()) if steps.max() >= ABRUPT else int(last.argmax())
    return at + 1, float(min(steps[at], 1e9))


def _flipped(rest: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
    """Of sign-flipped copies: mean singular values, mean sum of their fourth powers, deviation of the statistic T."""
    import torch

    m, n = rest.shape
    energy, spectra, deviations = (rest**2).sum(), [], []
    for _ in range(FLIPS):
        copy = rest * rng.choice((-1.0, 1.0), rest.shape)
        copy = copy[rng.permutation(m)[: m - count]][:, rng.permutation(n)[: n - count]]
        copy *= np.sqrt(energy / max((copy**2).sum(), 1e-300))
        eigenvalues = torch.linalg.eigvalsh(torch.from_numpy(_product(copy, copy.T))).numpy()
        spectra.append(np.sqrt(np.clip(eigenvalues[::-1], 0.0, None)))
        deviations.append(np.sqrt(max(over_rectangles(copy * copy), 0.0)))
    return np.mean(spectra, 0), float((np.array(spectra) ** 4).sum(1).mean()), float(np.mean(deviations))


def _product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    import torch

    return (torch.from_numpy(np.ascontiguousarray(x)) @ torch.from_numpy(np.ascontiguousarray(y))).numpy()
