"""Attention that does not look at its input: ASR (Zhong et al. 2023, arXiv 2304.06345), in
training form.

    v_i = A_i(psi_i),  i = 1 .. delta;   v = v_1 ... v_delta;   y = v f

psi_i is a learnable vector, every entry 0.1 at the start; A_i an attention module of its own. v
does not depend on the image, so it can be folded into the normalisation before it. It is computed
once per forward in the parameters' own dtype with autocast off: training and fold use the same v.

Facts. Start gates: inner `se` mean 0.50, `ie` 0.2689, delta = 2 with `se` about 0.25. With a
constant input a hidden unit of A that is negative gets no gradient from any image; at the start
each is so with probability 1/2, and all m of a block with probability 2^-m (m = 1 at 16 channels).
Then v = sigmoid(c2), a free scale. `alive=true` (ours) flips the sign of those rows of (W1, c1).
With `ie`, w = 0 at the start: psi gets no gradient at step 0, w does.
Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from copy import deepcopy
from typing import ClassVar

import torch
from torch import Tensor, nn

from qr_cli.attention.modules import gate as gates
from qr_cli.attention.modules.contract import ChannelAttention, Ctx, precise
from qr_cli.attention.modules.se import SE
from qr_cli.errors import UsageError


class ASR(ChannelAttention):
    """Gate of inner modules at learnable vectors, the same for every image.

    Args:
        channels: C.
        inner: A_1, `SE(channels)` when None; the others are copies with a start of their own.
        delta: how many gates are multiplied.
        psi_init: start of every entry of psi.
        alive: make every hidden unit of `se` positive at the start.
    """

    squeeze_kind = "none"
    constant_input = "no"
    constant_reason = "it is a constant already"
    limits: ClassVar = {"delta": (1, 8), "psi_init": (-100.0, 100.0)}
    provenance: ClassVar = {
        "psi_init": "official",
        "delta": "ours",
        "alive": "ours",
        "basic blocks": "ours",
    }

    def __init__(
        self,
        channels: int,
        inner: ChannelAttention | None = None,
        *,
        delta: int = 1,
        psi_init: float = 0.1,
        alive: bool = False,
    ) -> None:
        super().__init__(channels)
        self.check_limits(delta=delta, psi_init=psi_init)
        first = SE(channels) if inner is None else inner
        reason = not_constant(first)
        if reason:
            raise UsageError(f"{first.name} cannot stand inside asr: {reason}")
        copies = [deepcopy(first) for _ in range(delta - 1)]
        for copy in copies:
            copy.reset_parameters()
        self.inner = nn.ModuleList([first, *copies])
        self.psi_init = psi_init
        self.alive = alive
        self.psi = nn.Parameter(torch.full((delta, channels), psi_init))
        if alive:
            self._revive()

    def constant_gate(self) -> Tensor:
        """Return v, (C,), exactly what `forward` multiplies by."""
        with precise(self.psi):
            v = torch.ones_like(self.psi[:1])
            for psi, module in zip(self.psi, self.inner, strict=True):
                assert isinstance(module, ChannelAttention)
                v = v * module.gate(psi[None, :, None, None]).flatten(1)
        return v[0]

    def gate(self, f: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return v as (1, C, 1, 1); of `f` only the dtype matters."""
        return self.constant_gate()[None, :, None, None].to(f.dtype)

    def forward(self, f: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return v * f, (B, C, H, W) -> (B, C, H, W)."""
        gate = self.gate(f, ctx)
        return gates.constant_product(f, gate) if gates.worthwhile(f, self.backward) else f * gate

    def aux_loss(self) -> Tensor | None:
        """Return the sum of the inner modules' losses."""
        losses = [m.aux_loss() for m in self.inner if isinstance(m, ChannelAttention)]
        known = [loss for loss in losses if loss is not None]
        return torch.stack(known).sum() if known else None

    def reset_parameters(self) -> None:
        """Reset the inner modules and psi, then apply `alive`."""
        super().reset_parameters()
        nn.init.constant_(self.psi, self.psi_init)
        if self.alive:
            self._revive()

    @torch.no_grad()
    def _revive(self) -> None:
        """Flip the rows of W1 and c1 whose unit is not positive at psi."""
        found = 0
        for psi, module in zip(self.psi, self.inner, strict=True):
            for part in module.modules():
                if isinstance(part, SE):
                    found += 1
                    value = part.fc1(psi)
                    sign = torch.where(value > 0, 1.0, -1.0)
                    part.fc1.weight.mul_(sign[:, None])
                    if part.fc1.bias is not None:
                        part.fc1.bias.mul_(sign)
        if not found:
            raise UsageError("asr: alive needs an inner module with hidden units: se, or one on it")


def not_constant(module: ChannelAttention) -> str | None:
    """Return why a module may not stand inside asr, or None; looks into its parts."""
    for part in module.modules():
        if isinstance(part, ChannelAttention) and part.constant_input == "no":
            return part.constant_reason
    return None
