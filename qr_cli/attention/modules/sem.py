"""Switchable excitation: SEM (Zhong et al. 2022, arXiv 2209.05680).

    u = mean over H, W of f                       (B, C)
    omega = sigmoid(D u + d)                      (B, k), independent, no softmax, no temperature
    gate = prod_j sigmoid(omega_j o_j(u))         o_j: operator j's value before its sigmoid

Official operators: fc (that of `se`), eca, ie, all three. An operator with omega near 0 contributes
the constant 0.5; it is never removed. The mix is soft in training and in evaluation.
Shapes: B batch, C channels, H height, W width, k operators.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from qr_cli.attention.modules.contract import ChannelAttention, Ctx, linear
from qr_cli.attention.modules.eca import ECA
from qr_cli.attention.modules.ie import IE
from qr_cli.attention.modules.se import SE
from qr_cli.errors import UsageError


class SEM(ChannelAttention):
    """Gate prod_j sigmoid(omega_j o_j(u)), the omegas decided from u.

    Args:
        channels: C.
        *ops: modules with logits that pool the mean; SE, ECA, IE when none is given.
    """

    provenance: ClassVar = {"operators": "official", "decision": "official"}

    def __init__(self, channels: int, *ops: ChannelAttention) -> None:
        super().__init__(channels)
        chosen = ops or (SE(channels), ECA(channels), IE(channels))
        for op in chosen:
            if type(op).logits is ChannelAttention.logits or op.squeeze_kind != "mean":
                raise UsageError(f"{op.name} cannot stand inside sem; only: fc, eca, ie")
        self.decision = nn.Linear(channels, len(chosen))
        self.ops = nn.ModuleList(chosen)

    def gate_from(self, s: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return the product of the switched gates, (B, C) -> (B, C)."""
        omega = torch.sigmoid(linear(self.decision, s))
        gate = torch.ones_like(s)
        for j, op in enumerate(self.ops):
            assert isinstance(op, ChannelAttention)
            gate = gate * torch.sigmoid(omega[:, j : j + 1] * op.logits(s, ctx))
        return gate
