"""Efficient channel attention (Wang et al. 2020, arXiv 1910.03151).

    gate = sigmoid(conv1d_K(mean over H, W of f))      along the channels, zero padding, no bias
    K = t if t is odd else t + 1,   t = int(|(log2 C + 1) / 2|)

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from math import log2
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from qr_cli.attention.modules.contract import ChannelAttention, Ctx
from qr_cli.errors import UsageError


class ECA(ChannelAttention):
    """Gate sigmoid of a convolution along the channels of the pooled vector."""

    provenance: ClassVar = {"kernel": "official"}

    def __init__(self, channels: int, *, kernel: int | Literal["auto"] = "auto") -> None:
        super().__init__(channels)
        size = auto_kernel(channels) if kernel == "auto" else kernel
        if size < 1 or size % 2 == 0:
            raise UsageError(f"eca: kernel must be odd and positive, got {size}")
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)

    def logits(self, s: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return the convolved vector, (B, C) -> (B, C)."""
        weight = self.conv.weight.to(s.dtype)
        return F.conv1d(s[:, None], weight, padding=weight.shape[-1] // 2)[:, 0]


def auto_kernel(channels: int) -> int:
    """Return the kernel for C channels: 3 for 16 ... 64, 5 for 128 ... 1024, 7 for 2048."""
    t = int(abs((log2(channels) + 1) / 2))
    return t if t % 2 else t + 1
