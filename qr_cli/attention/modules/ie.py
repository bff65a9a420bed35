"""Per-channel affine gate of the pooled vector: IE (Liang et al. 2020, "Instance enhancement batch
normalization", arXiv 1908.04008).

    gate = sigmoid(w * mean over H, W of f + b)        w = 0, b = -1 at the start

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from qr_cli.attention.modules.contract import ChannelAttention, Ctx


class IE(ChannelAttention):
    """Gate sigmoid(w mean(f) + b)."""

    provenance: ClassVar = {"w, b": "official"}

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.w = nn.Parameter(torch.empty(channels))
        self.b = nn.Parameter(torch.empty(channels))
        self.reset_parameters()

    def logits(self, s: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return w s + b, (B, C) -> (B, C)."""
        return self.w.to(s.dtype) * s + self.b.to(s.dtype)

    def reset_parameters(self) -> None:
        """Set w = 0, b = -1."""
        nn.init.zeros_(self.w)
        nn.init.constant_(self.b, -1.0)
