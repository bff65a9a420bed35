"""Spatial group-wise enhancement (Li et al. 2019, arXiv 1905.09646).

Per group g of channels, over the positions p:

    t_p = sum over c in g of f_cp mean(f_c)
    t <- (t - mean) / (unbiased std + 1e-5),   gate = sigmoid(weight_g t + bias_g)

weight 0, bias 1 at the start. Groups: min(64, max(1, C // 4)), the official 64 from 256 channels
on; below that ours. Shapes: B batch, C channels, H height, W width, G groups.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from qr_cli.attention.modules import gate as gates
from qr_cli.attention.modules.contract import ChannelAttention, Ctx, precise
from qr_cli.errors import UsageError


class SGE(ChannelAttention):
    """One spatial gate per group of channels: likeness to the group's mean."""

    squeeze_kind = "none"
    constant_input = "no"
    constant_reason = "spatial attention is not a constant per channel"
    provenance: ClassVar = {
        "weight, bias": "official",
        "groups from 256": "official",
        "below": "ours",
    }

    def __init__(self, channels: int, *, groups: int | Literal["auto"] = "auto") -> None:
        super().__init__(channels)
        count = min(64, max(1, channels // 4)) if groups == "auto" else groups
        if count < 1 or channels % count:
            raise UsageError(f"sge: {channels} channels are not divisible into {count} groups")
        self.groups = count
        self.weight = nn.Parameter(torch.zeros(1, count, 1, 1))
        self.bias = nn.Parameter(torch.ones(1, count, 1, 1))

    def group_gate(self, f: Tensor) -> Tensor:
        """Return one gate per group, (B, C, H, W) -> (B, G, 1, H, W)."""
        b, c, h, w = f.shape
        wide = f.to(gates.accumulator(f))
        mean = gates.spatial_mean(f)
        grouped = wide.reshape(b * self.groups, c // self.groups, h * w)
        t = mean.view(b * self.groups, 1, c // self.groups) @ grouped  # (BG, 1, HW)
        t = t.view(b, self.groups, h * w)
        t = t - t.mean(2, keepdim=True)
        t = t / (t.std(2, keepdim=True) + 1e-5)
        weight, bias = self.weight.view(-1, 1).to(t.dtype), self.bias.view(-1, 1).to(t.dtype)
        return torch.sigmoid(weight * t + bias).view(b, self.groups, 1, h, w)

    def gate(self, f: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return the gate of every channel, (B, C, H, W)."""
        with precise(f):
            gate = self.group_gate(f).to(f.dtype)
            return gate.expand(-1, -1, f.shape[1] // self.groups, -1, -1).flatten(1, 2)

    def forward(self, f: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return gate * f without spreading the gate over the channels of a group."""
        with precise(f):
            gate = self.group_gate(f).to(f.dtype)
            b, c, h, w = f.shape
            return (f.view(b, self.groups, c // self.groups, h, w) * gate).flatten(1, 2)

    def reset_parameters(self) -> None:
        """Set weight 0, bias 1."""
        nn.init.zeros_(self.weight)
        nn.init.ones_(self.bias)
