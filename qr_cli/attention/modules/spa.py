"""Spatial pyramid attention (Guo et al. 2020, "SPANet").

    s = [average pools to 1x1 (C), 2x2 (4C), 4x4 (16C)], each channel-major      (B, 21 C)
    gate = sigmoid(W2 relu(W1 s))      W1: 21C -> m, W2: m -> C, no biases, m = max(1, C // 16)

The pools are adaptive; the lower bound of m is ours.
Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from qr_cli.attention.modules import gate as gates
from qr_cli.attention.modules.contract import ChannelAttention, Ctx, linear


class SPA(ChannelAttention):
    """Gate from three grids of averages."""

    squeeze_kind = "grid"
    constant_input = "degenerate"
    constant_reason = "the pools of three sizes all repeat psi"
    provenance: ClassVar = {"grids": "official", "width": "official", "at least 1": "ours"}

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        width = max(1, channels // 16)
        cells = sum(side * side for side in gates.GRIDS)
        self.fc1 = nn.Linear(cells * channels, width, bias=False)
        self.fc2 = nn.Linear(width, channels, bias=False)

    def squeeze(self, f: Tensor) -> Tensor:
        """Return the three grids, (B, C, H, W) -> (B, 21 C)."""
        return gates.spatial_grids(f)

    def logits(self, s: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return W2 relu(W1 s), (B, 21 C) -> (B, C)."""
        return linear(self.fc2, torch.relu(linear(self.fc1, s)))
