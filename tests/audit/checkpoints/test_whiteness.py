"""The rectangle test: exact moments, its null for noises of several kinds, its power in closed form, spectra."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from alice_repro.audit.checkpoints.whiteness import spectrum, whiteness


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_statistic_is_the_sum_over_rectangles():
    d = rng(0).standard_normal((5, 7))
    corners = [
        d[i, k] * d[j, k] * d[i, m] * d[j, m]
        for i, j in combinations(range(5), 2)
        for k, m in combinations(range(7), 2)
    ]
    assert whiteness(d).z == pytest.approx(sum(corners) / np.sqrt(sum(c * c for c in corners)))
    assert whiteness(d).z == pytest.approx(whiteness(d.T).z) == pytest.approx(whiteness(1e-9 * d).z)


NOISES = {
    "gaussian": lambda g, s: g.standard_normal(s),
    "uniform": lambda g, s: g.uniform(-1, 1, s),
    "heavy tails": lambda g, s: g.standard_t(4, s),
    "by row and column": lambda g, s: g.standard_normal(s) * g.lognormal(0, 0.5, (s[0], 1)) * g.lognormal(0, 0.5, s[1]),
    "few steps of rounding": lambda g, s: (
        g.choice((-1.0, 0.0, 1.0), s, p=(0.05, 0.9, 0.05)) * 2.0 ** g.integers(-3, 3, s)
    ),
}


@pytest.mark.parametrize("law", NOISES)
@pytest.mark.parametrize("shape", [(40, 56), (120, 90)])
def test_null_distribution_of_any_symmetric_noise(law, shape):
    """Mean 0, deviation 1, and nothing beyond the bound of one matrix (400 draws a shape and law)."""
    generator = rng(11)
    z = np.array([whiteness(NOISES[law](generator, shape)).z for _ in range(200)])
    assert abs(z.mean()) < 4 / np.sqrt(200)
    assert 0.75 < z.std() < 1.25
    assert z.max() < 6.0


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2])
def test_power_is_the_closed_form(share):
    """A rank-one part with a small share s of the energy of m x n noise: z = s^2 m n / 2."""
    generator, (m, n) = rng(3), (96, 140)
    z, shares = [], []
    for _ in range(20):
        spike = np.sqrt(m * n) * np.outer(
            *(v / np.linalg.norm(v) for v in (generator.standard_normal(k) for k in (m, n)))
        )
        seen = whiteness(np.sqrt(share) * spike + np.sqrt(1 - share) * generator.standard_normal((m, n)))
        z.append(seen.z)
        shares.append(seen.share)
    assert np.mean(z) == pytest.approx(share**2 * m * n / 2, rel=0.3)
    assert np.mean(shares) == pytest.approx(share, rel=0.15)


@pytest.mark.parametrize(
    ("shape", "rank", "noise"), [((90, 130), 3, 0.5), ((150, 150), 20, 0.2), ((70, 200), 12, 1e-6)]
)
def test_spectrum_counts_the_rank_and_weighs_the_noise(shape, rank, noise):
    generator = rng(5)
    low = generator.standard_normal((shape[0], rank)) @ generator.standard_normal((rank, shape[1])) / np.sqrt(rank)
    seen = spectrum(low + noise * generator.standard_normal(shape), generator)
    assert seen.rank == rank
    assert seen.gap > 1.5
    assert seen.floor == pytest.approx(noise**2 / (1 + noise**2), rel=0.25)
    assert abs(seen.remainder_z) < 5


def test_spectrum_of_noise_has_no_outliers():
    generator = rng(6)
    for shape in ((40, 40), (100, 160)):
        seen = [spectrum(generator.standard_normal(shape), generator) for _ in range(20)]
        assert np.mean([s.outliers > 0 for s in seen]) < 0.2  # the edge of so small a bulk fluctuates
        assert np.mean([s.floor for s in seen]) > 0.97


def test_degenerate_matrices():
    assert whiteness(np.zeros((8, 8))).z == 0
    assert whiteness(np.eye(8)).z == 0  # no rectangle has four corners
    assert whiteness(np.ones((1, 8))).rectangles == 0
