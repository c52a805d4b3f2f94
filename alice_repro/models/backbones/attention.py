"""Attention with several heads, the one way that the image transformers here use it."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def attend(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, heads: int) -> torch.Tensor:
    """softmax(q k' / sqrt(d)) v per head; all (N, L, width), the width split evenly over the heads."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (queries, keys, values))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
