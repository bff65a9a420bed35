"""Dense-and-implicit attention (Huang et al. 2020, arXiv 1905.10671): one LSTM cell per stage.

    G = ih(mean over H, W of f) + hh(h),   i, f, g, o = the four parts of G
    c = sigmoid(f) c + sigmoid(i) tanh(g),   h = sigmoid(o) sigmoid(c),   gate = h

ih, hh: Linear(C, C/4), ReLU, Linear(C/4, 4C), biased. The cell runs along the blocks of a stage:
its state (h, c) is in ``ctx.state``, zero at the stage's start, carried over blocks without
attention. sigmoid(c) where an LSTM has tanh(c) is official. Activation checkpointing is excluded.
Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from qr_cli.attention.modules.contract import ChannelAttention, Ctx, linear


class DIA(ChannelAttention):
    """Gate h of an LSTM cell shared by the blocks of a stage."""

    needs = frozenset({"state"})
    scope = "stage"
    constant_input = "no"
    constant_reason = "it needs a state shared by blocks"
    provenance: ClassVar = {"cell": "official", "reduction 4": "official"}

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.ih = Excitation(channels)
        self.hh = Excitation(channels)

    def gate_from(self, s: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Run the cell once; return h, (B, C) -> (B, C), and leave (h, c) in ``ctx.state``."""
        assert ctx is not None and ctx.state is not None  # `demand` has seen to it
        key = ("dia", id(self))
        h, c = ctx.state.get(key) or (torch.zeros_like(s), torch.zeros_like(s))
        i, f, g, o = (self.ih(s) + self.hh(h)).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.sigmoid(c)
        ctx.state[key] = (h, c)
        return h


class Excitation(nn.Module):
    """Linear(C, C/4), ReLU, Linear(C/4, 4C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = max(1, channels // 4)
        self.fc1 = nn.Linear(channels, width)
        self.fc2 = nn.Linear(width, 4 * channels)

    def forward(self, u: Tensor) -> Tensor:
        """Return the four parts in one, (B, C) -> (B, 4C)."""
        return linear(self.fc2, torch.relu(linear(self.fc1, u)))
