"""One attention module for all blocks of a stage [as in the code of the efficient-attention-network
paper, Huang et al. 2020, arXiv 2011.14058].

Insertion makes one instance per stage and keeps it once. Shapes: those of the module inside.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from qr_cli.attention.modules.contract import ChannelAttention, Ctx
from qr_cli.errors import UsageError


class Share(ChannelAttention):
    """The module inside, kept once per stage."""

    squeeze_kind = "none"
    scope = "stage"
    constant_input = "no"
    constant_reason = "it belongs to a stage"
    provenance: ClassVar = {"share": "official"}

    def __init__(self, channels: int, inner: ChannelAttention) -> None:
        super().__init__(channels)
        if inner.scope == "stage":
            raise UsageError(f"{inner.name} is shared by the blocks of a stage already")
        self.inner = inner
        self.needs = inner.needs
        self.place = inner.place

    def gate(self, f: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return the gate of the module inside."""
        return self.inner.gate(f, ctx)

    def forward(self, f: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Apply the module inside."""
        out: Tensor = self.inner(f, ctx)
        return out

    def aux_loss(self) -> Tensor | None:
        """Return the loss of the module inside."""
        return self.inner.aux_loss()
