"""Look-ups in feature correlations against sums written out, and DINO's positions against closed forms."""

from __future__ import annotations

import pytest
import torch

from alice_repro.models.backbones.correlation import LEVELS, Correlation, pixel_grid
from alice_repro.models.backbones.dino import DinoViT
from alice_repro.models.backbones.musiq import multiscale_patches


@pytest.mark.parametrize("table_bytes", [0, 20_000, 2**30])
def test_look_ups_at_whole_pixels_are_inner_products(table_bytes):
    torch.manual_seed(0)
    first, second = torch.randn(2, 2, 5, 16, 24)
    shift = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1)
    found = Correlation(first, second, 1, table_bytes)(pixel_grid(16, 24, "cpu") + shift.expand(2, -1, -1, -1))
    assert found.shape == (2, 9 * LEVELS, 16, 24)
    for n, y, x in ((0, 5, 7), (1, 9, 2), (1, 0, 23)):
        for i, dx in enumerate((-1, 0, 1)):
            for j, dy in enumerate((-1, 0, 1)):
                at_y, at_x = y - 2 + dy, x + 3 + dx
                inside = 0 <= at_y < 16 and 0 <= at_x < 24
                product = first[n, :, y, x] @ second[n, :, at_y, at_x] / 5**0.5 if inside else torch.tensor(0.0)
                assert found[n, 3 * i + j, y, x].item() == pytest.approx(product.item(), abs=1e-5)


def test_windows_and_tables_agree_between_pixels_and_far_outside():
    torch.manual_seed(1)
    first, second = torch.randn(2, 2, 8, 16, 17)
    centres = pixel_grid(16, 17, "cpu") + 9 * torch.randn(2, 2, 16, 17)
    centres[0, :, 0, 0], centres[1, :, 3, 3] = 1e4, -1e4
    table, windows = (Correlation(first, second, 3, size)(centres) for size in (2**30, 0))
    assert torch.allclose(table, windows, atol=1e-4)
    assert table[0, :, 0, 0].eq(0).all() and windows[0, :, 0, 0].eq(0).all()


def small_dino(grid: int = 4) -> DinoViT:
    torch.manual_seed(2)
    network = DinoViT(width=8, depth=1, heads=2, patch=4, grid=grid).eval()
    torch.nn.init.normal_(network.pos_embed)
    return network


def test_positions_of_the_training_size_are_untouched_and_remainders_drop():
    network = small_dino()
    assert network.positions(16, 16) is network.pos_embed
    assert network.positions(19, 19) is network.pos_embed
    x = torch.randn(1, 3, 14, 23)
    assert torch.equal(network(x), network(x[:, :, :12, :20]))


def cubic_samples(count: int, places: torch.Tensor) -> torch.Tensor:
    """Matrix (places, count) of bicubic convolution with a = -3/4 (Keys 1981), the border repeated."""
    matrix = torch.zeros(len(places), count)
    for row, place in enumerate(places.tolist()):
        for tap in range(int(place // 1) - 1, int(place // 1) + 3):
            d = abs(place - tap)
            near = 1.25 * d**3 - 2.25 * d**2 + 1
            weight = near if d <= 1 else -0.75 * (d**3 - 5 * d**2 + 8 * d - 4)
            matrix[row, min(max(tap, 0), count - 1)] += weight
    return matrix


def test_positions_are_sampled_with_dinos_offset():
    """At (i + 1/2) / factor - 1/2, the factor being (patches + 0.1) / 14."""
    network = small_dino(grid=14)
    height, width = 17, 20
    found = network.positions(4 * height, 4 * width)[0, 1:].unflatten(0, (height, width))
    grid = network.pos_embed[0, 1:].unflatten(0, (14, 14))
    rows, columns = (
        cubic_samples(14, (torch.arange(n) + 0.5) * 14 / (n + 0.1) - 0.5).to(grid) for n in (height, width)
    )
    expected = torch.einsum("yr,xc,rcd->yxd", rows, columns, grid)
    assert torch.allclose(found, expected, atol=1e-4)
    without = cubic_samples(14, (torch.arange(height) + 0.5) * 14 / height - 0.5).to(grid)
    assert not torch.allclose(found, torch.einsum("yr,xc,rcd->yxd", without, columns, grid), atol=1e-2)


def test_musiq_cuts_three_sizes_and_spreads_positions():
    patches, positions, sizes = multiscale_patches(torch.rand(2, 3, 288, 512))
    counts = [7 * 4, 12 * 7, 16 * 9]  # 224 x 126, 384 x 216 and 512 x 288 in patches of 32, the last ones padded
    assert patches.shape == (2, sum(counts), 3, 32, 32)
    assert [int((sizes == i).sum()) for i in range(3)] == counts
    assert positions[:7].tolist() == [0, 1, 2, 4, 5, 7, 8] and positions[7].item() == 20
    assert positions.max().item() <= 99
