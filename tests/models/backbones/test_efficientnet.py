"""EfficientNet-Lite0: TensorFlow's padding by hand, and the public file's layout."""

from __future__ import annotations

import pytest
import torch

from alice_repro.models.backbones.efficientnet import EfficientNetLite0, SameConv


@pytest.mark.parametrize(
    "size, kernel, stride, expected",
    [
        (4, 3, 2, [0 + 1 + 2, 2 + 3]),  # one pixel over: padded at the end only
        (5, 3, 2, [0 + 1, 1 + 2 + 3, 3 + 4]),
        (4, 5, 1, [0 + 1 + 2, 0 + 1 + 2 + 3, 0 + 1 + 2 + 3, 1 + 2 + 3]),
        (4, 1, 1, [0, 1, 2, 3]),
    ],
)
def test_padding_is_tensorflows(size, kernel, stride, expected):
    conv = SameConv(1, 1, kernel, stride, bias=False)
    torch.nn.init.zeros_(conv.weight)
    conv.weight.data[0, 0, kernel // 2] = 1.0  # sums along a row
    row = torch.arange(float(size)).expand(1, 1, 1, size)
    if stride == 1:
        torch.testing.assert_close(conv(row)[0, 0, 0], torch.tensor(expected).float())
    conv.weight.data.fill_(1.0)
    tall = torch.zeros(1, 1, size, size)
    tall[0, 0, 1] = torch.arange(float(size))
    torch.testing.assert_close(conv(tall)[0, 0, 1 if kernel == 1 else 0], torch.tensor(expected).float())
    torch.testing.assert_close(conv(tall.mT)[0, 0, :, 1 if kernel == 1 else 0], torch.tensor(expected).float())


def test_layout_and_output():
    """296 tensors, 4,652,008 parameters: as the published Lite0 (Google's table: 4.7 M)."""
    network = EfficientNetLite0().eval()
    assert len(network.state_dict()) == 296
    assert sum(p.numel() for p in network.parameters()) == 4_652_008
    assert network.state_dict()["_blocks.15._project_conv.weight"].shape == (320, 1152, 1, 1)
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        both = network(images)
        torch.testing.assert_close(both[:1], network(images[:1]))
    assert both.shape == (2, 1280)
