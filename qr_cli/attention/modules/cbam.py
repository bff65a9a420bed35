"""Convolutional block attention (Woo et al. 2018, arXiv 1807.06521).

    a = sigmoid(MLP(mean over H, W of f) + MLP(max over H, W of f))          (B, C)
    b = sigmoid(BN(conv7x7([max over c of a f, mean over c of a f])))        (B, 1, H, W)
    gate = a b                                                               (B, C, H, W)

MLP: C -> m -> C with ReLU, m = max(1, C // 16), biased in the official code (`bias=false`: as in
the tables of the LSAS group), its biases 0 at the start. The convolution has no bias and a
Kaiming-normal start; the normalisation has momentum 0.01 and **weight 0** at the start, so b = 0.5.
Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qr_cli.attention.modules import gate as gates
from qr_cli.attention.modules.contract import ChannelAttention, Ctx, linear, precise


class CBAM(ChannelAttention):
    """A channel gate, then a spatial gate of the scaled map."""

    squeeze_kind = "none"
    constant_input = "no"
    constant_reason = "spatial attention is not a constant per channel"
    limits: ClassVar = {"reduction": (1, 65536)}
    provenance: ClassVar = {"reduction": "official", "bias": "official", "bn": "official"}

    def __init__(self, channels: int, *, reduction: int = 16, bias: bool = True) -> None:
        super().__init__(channels)
        self.check_limits(reduction=reduction)
        width = max(1, channels // reduction)
        self.fc1 = nn.Linear(channels, width, bias=bias)
        self.fc2 = nn.Linear(width, channels, bias=bias)
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.bn = nn.BatchNorm2d(1, momentum=0.01)
        self._start()

    def channel_gate(self, s: Tensor) -> Tensor:
        """Return a for [mean, max], (B, 2, C) -> (B, C)."""
        return torch.sigmoid(linear(self.fc2, torch.relu(linear(self.fc1, s))).sum(1))

    def scale(self, f: Tensor) -> Tensor:
        """Return a f, by the single pass for big maps."""
        if gates.worthwhile(f, self.backward):
            return gates.single_pass(f, "mean_max", self.channel_gate)
        return f * self.channel_gate(gates.spatial_mean_max(f))[:, :, None, None].to(f.dtype)

    def spatial_gate(self, scaled: Tensor) -> Tensor:
        """Return b of the scaled map, (B, C, H, W) -> (B, 1, H, W)."""
        wide = gates.accumulator(scaled)
        top = scaled.max(1, keepdim=True).values.to(wide)
        pooled = torch.cat([top, scaled.mean(1, keepdim=True, dtype=wide)], 1)
        weight = self.conv.weight.to(wide)
        return torch.sigmoid(self.bn(F.conv2d(pooled, weight, padding=3))).to(scaled.dtype)

    def gate(self, f: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return a b, (B, C, H, W)."""
        with precise(f):
            a = self.channel_gate(gates.spatial_mean_max(f))[:, :, None, None].to(f.dtype)
            return a * self.spatial_gate(f * a)

    def forward(self, f: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return a b f, the scaled map formed once."""
        with precise(f):
            scaled = self.scale(f)
            return scaled * self.spatial_gate(scaled)

    def reset_parameters(self) -> None:
        """Reset the layers, then the official start."""
        super().reset_parameters()
        self._start()

    def _start(self) -> None:
        for layer in (self.fc1, self.fc2):
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")
        nn.init.zeros_(self.bn.weight)
