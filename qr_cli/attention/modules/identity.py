"""Start as the identity, so that a trained network is not destroyed [ours].

    out = f + s (A(f) - f),   s in R^C, 0 at the start, trained

For a gate g this is (1 + s (g - 1)) f. At s = 0 the output is f bit for bit for any finite A,
also a foreign or a spatial one. s has a gradient at step 0, the module's own parameters from
step 1 on.
Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from qr_cli.attention.modules.contract import ChannelAttention, Ctx


class IdentityStart(ChannelAttention):
    """A module blended in from nothing, per channel."""

    squeeze_kind = "none"
    constant_input = "no"
    constant_reason = "wrap the whole module instead"
    provenance: ClassVar = {"s": "ours"}

    def __init__(self, inner: ChannelAttention) -> None:
        super().__init__(inner.channels)
        self.inner = inner
        self.needs = inner.needs
        self.scope = inner.scope
        self.place = inner.place
        self.s = nn.Parameter(torch.zeros(inner.channels))

    @property
    def constant_gate(self) -> Callable[[], Tensor]:
        """Return 1 + s (v - 1), (C,); AttributeError when the module inside is no constant."""
        inner: Callable[[], Tensor] = getattr(self.inner, "constant_gate")  # noqa: B009
        return lambda: 1 + self.s * (inner() - 1)

    def gate(self, f: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return 1 + s (g - 1)."""
        s = self.s[:, None, None].to(f.dtype)
        return 1 + s * (self.inner.gate(f, ctx) - 1)

    def forward(self, f: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return f + s (A(f) - f), (B, C, H, W) -> (B, C, H, W)."""
        scaled: Tensor = self.inner(f, ctx)
        return f + self.s[:, None, None].to(f.dtype) * (scaled - f)

    def aux_loss(self) -> Tensor | None:
        """Return the loss of the module inside."""
        return self.inner.aux_loss()

    def reset_parameters(self) -> None:
        """Set s = 0 and reset the module inside."""
        nn.init.zeros_(self.s)
        self.inner.reset_parameters()
