"""Deeper attention by recurrence: RAS (Zhong et al. 2022, arXiv 2210.15676).

    u = mean over H, W of f,   z_1 = e(u),   z_{t+1} = e(BN_t(z_t)),  t = 1 .. T-1
    gate = sigmoid(z_T)

e is one operator used T times; the T - 1 normalisations are not shared, and none follows the last
turn. They are over the batch alone, so training needs more than one image. T = 1 is the operator
itself. Official: e = ie, T = 2; fc and eca are ours.

`init=paper` (w = 0, b = -1) is an exact saddle: the normalisation of a constant batch is 0, so the
gradient of w is 0 and w escapes through rounding noise only. `init=safe` (ours) starts w at 0.1.
It concerns ie alone; fc and eca keep their own start.
Shapes: B batch, C channels, H height, W width, T depth.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from qr_cli.attention.modules.contract import ChannelAttention, Ctx
from qr_cli.attention.modules.ie import IE
from qr_cli.attention.modules.normalize import normalize
from qr_cli.errors import UsageError


class RAS(ChannelAttention):
    """Gate sigmoid(e(BN(... e(mean(f))))).

    Args:
        channels: C.
        op: the operator e, a module with logits that pools the mean; `IE(channels)` when None.
        depth: T, how often e is applied.
        init: start of w when e is ie.
    """

    constant_input = "no"
    constant_reason = "it normalises a batch, and a constant is a batch of one"
    limits: ClassVar = {"depth": (1, 16)}
    provenance: ClassVar = {
        "op": "official",
        "depth": "official",
        "init": "ours",
        "w = 0": "official",
    }

    def __init__(
        self,
        channels: int,
        op: ChannelAttention | None = None,
        *,
        depth: int = 2,
        init: Literal["safe", "paper"] = "safe",
    ) -> None:
        super().__init__(channels)
        self.check_limits(depth=depth)
        self.init = init
        self.op = IE(channels) if op is None else op
        if type(self.op).logits is ChannelAttention.logits or self.op.squeeze_kind != "mean":
            raise UsageError(f"{self.op.name} cannot stand inside ras; only: fc, eca, ie")
        self.bns = nn.ModuleList(nn.BatchNorm1d(channels) for _ in range(depth - 1))
        self._start()

    def logits(self, s: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return z_T, (B, C) -> (B, C)."""
        z = self.op.logits(s, ctx)
        for bn in self.bns:
            assert isinstance(bn, nn.BatchNorm1d)
            z = self.op.logits(normalize(bn, z), ctx)
        return z

    def reset_parameters(self) -> None:
        """Reset the operator and the normalisations, then apply `init`."""
        super().reset_parameters()
        self._start()

    def _start(self) -> None:
        if self.init == "safe" and isinstance(self.op, IE):
            nn.init.constant_(self.op.w, 0.1)
