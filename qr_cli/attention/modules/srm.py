"""Style-based recalibration (Lee et al. 2019, arXiv 1903.10829).

    t = [mean, sqrt(unbiased variance + 1e-5)] over H, W      (B, 2, C)
    gate = sigmoid(BN(sum_j cfc[c, j] t_j))                   cfc = 0 at the start

Batch normalisation is over the batch alone, so training needs more than one image.
Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from qr_cli.attention.modules import gate as gates
from qr_cli.attention.modules.contract import ChannelAttention, Ctx
from qr_cli.attention.modules.normalize import normalize


class SRM(ChannelAttention):
    """Gate sigmoid of the normalised mix of a channel's mean and deviation."""

    squeeze_kind = "mean_std"
    constant_input = "no"
    constant_reason = "the standard deviation of one value is undefined, and it normalises a batch"
    provenance: ClassVar = {"cfc": "official", "eps": "official"}

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.cfc = nn.Parameter(torch.zeros(channels, 2))
        self.bn = nn.BatchNorm1d(channels)

    def squeeze(self, f: Tensor) -> Tensor:
        """Return mean and deviation, (B, C, H, W) -> (B, 2, C)."""
        return gates.spatial_mean_std(f)

    def logits(self, s: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return the normalised mix, (B, 2, C) -> (B, C)."""
        mixed = (s * self.cfc.t().to(s.dtype)).sum(1)
        return normalize(self.bn, mixed)

    def reset_parameters(self) -> None:
        """Set cfc = 0 and reset the normalisation."""
        nn.init.zeros_(self.cfc)
        self.bn.reset_parameters()
