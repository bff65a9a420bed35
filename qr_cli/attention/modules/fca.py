"""Frequency channel attention (Qin et al. 2021, arXiv 2012.11879).

    y_c = sum_ij f_cij D_cij,   D_cij = B(i, u) B(j, v) for the pair (u, v) of channel c
    B(p, q) = cos(pi q (p + 1/2) / L) / sqrt(L), times sqrt 2 if q > 0
    gate = sigmoid(W2 relu(W1 y))     no biases, m = max(1, C // 16)

Channel c takes the pair number c // (C / freq) of `PAIRS`, which is given for L = 7; for L = 7 n
both are multiplied by n. A map of another size is first adaptively averaged to L x L. That pool is
linear, so it is folded into the weights here: one weighted sum over the map instead of a pool and
a sum. `dct=stage` takes the official L = 56, 28, 14, 7 for stages 1 to 4; 7 elsewhere is ours.
Shapes: B batch, C channels, H height, W width, L side of the basis.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from qr_cli.attention.modules import gate as gates
from qr_cli.attention.modules.contract import ChannelAttention, Ctx, linear
from qr_cli.errors import UsageError

PAIRS = (
    *((0, 0), (0, 1), (6, 0), (0, 5), (0, 2), (1, 0), (1, 2), (4, 0)),
    *((5, 0), (1, 6), (3, 0), (0, 4), (0, 6), (0, 3), (3, 5), (2, 2)),
)
OFFICIAL_SIDES = {1: 56, 2: 28, 3: 14, 4: 7}


class FCA(ChannelAttention):
    """Gate from one cosine coefficient per channel.

    Args:
        channels: C, divisible by `freq`.
        freq: how many of the pairs are used.
        dct: side L of the basis, a multiple of 7; "stage" for the official one of `stage`.
        stage: stage of the network, from 1; used by ``dct="stage"`` only.
    """

    squeeze_kind = "dct"
    constant_input = "degenerate"
    constant_reason = "of a constant map only the coefficient (0, 0) is not zero"
    limits: ClassVar = {"stage": (1, 4)}
    provenance: ClassVar = {"pairs": "official", "freq": "official", "dct": "ours"}

    dct: Tensor

    def __init__(
        self,
        channels: int,
        *,
        freq: Literal[1, 2, 4, 8, 16] = 16,
        dct: int | Literal["stage"] = 7,
        stage: int = 1,
    ) -> None:
        super().__init__(channels)
        self.check_limits(stage=stage)
        side = OFFICIAL_SIDES[stage] if dct == "stage" else dct
        if channels % freq:
            raise UsageError(f"fca: {channels} channels are not divisible by freq={freq}")
        if side < 7 or side % 7:
            raise UsageError(f"fca: dct must be a multiple of 7, got {side}")
        width = max(1, channels // 16)
        self.fc1 = nn.Linear(channels, width, bias=False)
        self.fc2 = nn.Linear(width, channels, bias=False)
        self.register_buffer("dct", cosine_basis(channels, freq, side), persistent=False)

    def basis(self, f: Tensor) -> Tensor:
        """Return the (C, H, W) weights for the size of `f`: the pool's adjoint applied to D."""
        h, w = f.shape[2:]
        side = self.dct.shape[-1]
        dct = self.dct.to(gates.accumulator(f))
        if (h, w) == (side, side):
            return dct
        return gates.pool_matrix(side, h, dct).t() @ dct @ gates.pool_matrix(side, w, dct)

    def squeeze(self, f: Tensor) -> Tensor:
        """Return one coefficient per channel, (B, C, H, W) -> (B, C)."""
        return gates.weighted_sum(f, self.basis(f))

    def logits(self, s: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return W2 relu(W1 s), (B, C) -> (B, C)."""
        return linear(self.fc2, torch.relu(linear(self.fc1, s)))


def cosine_basis(channels: int, freq: int, side: int) -> Tensor:
    """Return D, (C, L, L), float64 rounded to the default dtype."""
    p = torch.arange(side, dtype=torch.float64) + 0.5
    waves = torch.stack([torch.cos(pi * q * p / side) / sqrt(side) for q in range(side)])
    waves[1:] *= sqrt(2)
    step = side // 7
    each = channels // freq
    maps = [torch.outer(waves[u * step], waves[v * step]) for u, v in PAIRS[:freq]]
    return torch.stack(maps).repeat_interleave(each, 0).to(torch.get_default_dtype())
