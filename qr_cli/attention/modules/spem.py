"""Self-adaptive pooling: SPEM of SPENet (Zhong et al. 2022, arXiv 2208.10322).

    M, m = max, min over H, W of f                 (B, C)
    M' = w_rew M + b_rew,   m' = w_rew m + b_rew   one affine for both
    q_i = (p_i^2 + eps) / (p_0^2 + p_1^2 + 2 eps),   s = q_0 M' + q_1 m'
    gate = sigmoid(M' + m') sigmoid(w_exc s + b_exc)
    auxiliary loss: p_0^2 + p_1^2 per block; the training loss adds alpha times the sum over blocks

At the start w_rew = w_exc = 0, b_rew = b_exc = -1, p = (0.5, 0.5). eps keeps q defined when p goes
to 0 (official: 0). `mix=affine` follows the authors' code; `mix=raw` follows their figure, where
the pooled maps are mixed before the affine (the two differ in rounding, as q sums to 1).
Ties in max and min: the gradient goes to one position, the one whose index the reduction returns.
Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from qr_cli.attention.modules import gate as gates
from qr_cli.attention.modules.contract import ChannelAttention, Ctx


class SPEM(ChannelAttention):
    """Gate from a learned mix of a channel's maximum and minimum."""

    squeeze_kind = "max_min"
    constant_input = "degenerate"
    constant_reason = "maximum and minimum of one number are the same"
    limits: ClassVar = {"eps": (0.0, 1.0)}
    provenance: ClassVar = {"eps": "ours", "mix": "official", "mix=raw": "figure", "p": "official"}

    def __init__(
        self, channels: int, *, mix: Literal["affine", "raw"] = "affine", eps: float = 1e-12
    ) -> None:
        super().__init__(channels)
        self.check_limits(eps=eps)
        self.mix = mix
        self.eps = eps
        self.w_rew = nn.Parameter(torch.empty(channels))
        self.b_rew = nn.Parameter(torch.empty(channels))
        self.w_exc = nn.Parameter(torch.empty(channels))
        self.b_exc = nn.Parameter(torch.empty(channels))
        self.p = nn.Parameter(torch.empty(2))
        self.reset_parameters()

    def shares(self) -> Tensor:
        """Return q, the shares of the maximum and the minimum, (2,)."""
        squares = self.p.square()
        return (squares + self.eps) / (squares.sum() + 2 * self.eps)

    def squeeze(self, f: Tensor) -> Tensor:
        """Return maximum and minimum, (B, C, H, W) -> (B, 2, C)."""
        return gates.spatial_max_min(f)

    def gate_from(self, s: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return the gate, (B, 2, C) -> (B, C)."""
        w_rew, b_rew = self.w_rew.to(s.dtype), self.b_rew.to(s.dtype)
        q = self.shares().to(s.dtype)[:, None]
        affine = w_rew * s + b_rew  # (B, 2, C)
        if self.mix == "affine":
            mixed = (q * affine).sum(1)
        else:
            mixed = w_rew * (q * s).sum(1) + b_rew
        excited = self.w_exc.to(s.dtype) * mixed + self.b_exc.to(s.dtype)
        return torch.sigmoid(affine.sum(1)) * torch.sigmoid(excited)

    def aux_loss(self) -> Tensor:
        """Return p_0^2 + p_1^2."""
        return self.p.square().sum()

    def reset_parameters(self) -> None:
        """Set the affines to 0 u - 1 and p = (0.5, 0.5)."""
        for w, b in ((self.w_rew, self.b_rew), (self.w_exc, self.b_exc)):
            nn.init.zeros_(w)
            nn.init.constant_(b, -1.0)
        nn.init.constant_(self.p, 0.5)
