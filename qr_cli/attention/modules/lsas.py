"""Sub-attention on the logits of a base module: LSAS (Zhong et al. 2023, arXiv 2305.05200).

    v_0 = logits of the base module,   v_i = w_i v_{i-1} + b_i,  i = 1..n        per channel
    gate = sigmoid(v_0) sigmoid(v_1) ... sigmoid(v_n)

The official code has the base SE only and writes the orders out one by one; here any base with
logits is allowed, and w, b are stacked to (n, C). Official is w = 0.5, b = -0.5 for every order,
and attention in the last stage of three, or the last two of four, only. Order 0 is the base module.
Shapes: B batch, C channels, n order.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from qr_cli.attention.modules.contract import ChannelAttention, Ctx
from qr_cli.attention.modules.se import SE
from qr_cli.errors import UsageError


class LSAS(ChannelAttention):
    """Gate sigmoid(v_0) ... sigmoid(v_n), each v an affine function of the one before.

    Args:
        channels: C.
        base: a module with logits; `SE(channels)` when None.
        order: n, the number of sub-attention gates.
    """

    limits: ClassVar = {"order": (0, 16)}
    provenance: ClassVar = {
        "order": "official",
        "w, b": "official",
        "stages of 3 or 4": "official",
        "stages otherwise": "ours",
        "bases besides se": "ours",
    }

    def __init__(
        self, channels: int, base: ChannelAttention | None = None, *, order: int = 1
    ) -> None:
        super().__init__(channels)
        self.check_limits(order=order)
        self.base = SE(channels) if base is None else base
        if type(self.base).logits is ChannelAttention.logits:
            raise UsageError(f"{self.base.name} has no single pre-sigmoid value: lsas needs one")
        self.squeeze_kind = self.base.squeeze_kind
        self.needs = self.base.needs
        self.scope = self.base.scope
        self.w = nn.Parameter(torch.empty(order, channels))
        self.b = nn.Parameter(torch.empty(order, channels))
        self._reset_gates()

    @classmethod
    def default_stages(cls, stages: int) -> tuple[int, ...]:
        """Return the last stage of three, the last two of four: the later half."""
        return tuple(range(stages - max(1, stages // 2) + 1, stages + 1))

    def squeeze(self, f: Tensor) -> Tensor:
        """Return the base module's statistics."""
        return self.base.squeeze(f)

    def basis(self, f: Tensor) -> Tensor | None:
        """Return the base module's squeeze weights."""
        return self.base.basis(f)

    def gate_from(self, s: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return the product of the n + 1 gates, (B, C)."""
        v = self.base.logits(s, ctx)
        gate = torch.sigmoid(v)
        for w, b in zip(self.w.to(v.dtype), self.b.to(v.dtype), strict=True):
            v = w * v + b
            gate = gate * torch.sigmoid(v)
        return gate

    def aux_loss(self) -> Tensor | None:
        """Return the base module's."""
        return self.base.aux_loss()

    def reset_parameters(self) -> None:
        """Set w = 0.5, b = -0.5 and reset the base module."""
        self._reset_gates()
        self.base.reset_parameters()

    def _reset_gates(self) -> None:
        nn.init.constant_(self.w, 0.5)
        nn.init.constant_(self.b, -0.5)
