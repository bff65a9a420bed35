"""Squeeze-and-excitation (Hu et al. 2018, arXiv 1709.01507).

    u = mean over H, W of f                            (B, C)
    v = W2 relu(W1 u + c1) + c2                        W1: C -> m, W2: m -> C
    gate = sigmoid(v),   m = max(1, round(C / reduction))

Both layers are biased, as in the official LSAS and ASR repositories (the original paper's code has
no biases: `bias=false`). Rounding follows Python's round; the lower bound of 1 is ours.
Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from qr_cli.attention.modules.contract import ChannelAttention, Ctx, hidden_width, linear


class SE(ChannelAttention):
    """Gate sigmoid(W2 relu(W1 mean(f) + c1) + c2)."""

    limits: ClassVar = {"reduction": (1, 65536)}
    provenance: ClassVar = {"reduction": "official", "bias": "official", "at least 1": "ours"}

    def __init__(self, channels: int, *, reduction: int = 16, bias: bool = True) -> None:
        super().__init__(channels)
        self.check_limits(reduction=reduction)
        width = hidden_width(channels, reduction)
        self.fc1 = nn.Linear(channels, width, bias=bias)
        self.fc2 = nn.Linear(width, channels, bias=bias)

    def logits(self, s: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return W2 relu(W1 s + c1) + c2, (B, C) -> (B, C)."""
        return linear(self.fc2, torch.relu(linear(self.fc1, s)))
