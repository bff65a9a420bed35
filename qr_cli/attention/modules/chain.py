"""Attention modules one after another: A + B is y = B(A(f)) [the stack asr(se)+se: official].

The keys are `0.*`, `1.*`. Stage rule and place are those of the first term; the terms are all kept
per block, or all per stage. Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from qr_cli.attention.modules.contract import ChannelAttention, Ctx
from qr_cli.errors import UsageError


class Chain(ChannelAttention):
    """y = B(A(f)) for terms A, B, ..."""

    squeeze_kind = "none"
    constant_input = "no"
    constant_reason = "a chain cannot be folded as one"
    provenance: ClassVar = {"asr(se)+se": "official", "other chains": "ours"}

    def __init__(self, channels: int, *terms: ChannelAttention) -> None:
        super().__init__(channels)
        if not terms:
            raise UsageError("a chain needs at least one term")
        if len({term.scope for term in terms}) > 1:
            raise UsageError("the terms of a chain must all be kept per block, or all per stage")
        for number, term in enumerate(terms):
            self.add_module(str(number), term)
        self.needs = frozenset().union(*(term.needs for term in terms))
        self.scope = terms[0].scope
        self.place = terms[0].place

    def terms(self) -> list[ChannelAttention]:
        """Return the terms, the first applied first."""
        return [m for m in self.children() if isinstance(m, ChannelAttention)]

    def gate(self, f: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return the product of the gates, each of the map that reaches it."""
        self.demand(ctx)
        total: Tensor | None = None
        for term in self.terms():
            gate = term.gate(f if total is None else total * f, ctx)
            total = gate if total is None else total * gate
        assert total is not None
        return total

    def forward(self, f: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Apply the terms in order, (B, C, H, W) -> (B, C, H, W)."""
        self.demand(ctx)
        for term in self.terms():
            f = term(f, ctx)
        return f

    def aux_loss(self) -> Tensor | None:
        """Return the sum of the terms' losses, or None."""
        losses = [loss for term in self.terms() if (loss := term.aux_loss()) is not None]
        return torch.stack(losses).sum() if losses else None
