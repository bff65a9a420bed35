"""Attention as a step size: StepNet, a reconstruction from the abstract of the paper
(Huang et al. 2023, arXiv 2308.09939).

A residual block is an Euler step and the gate its step size; unlike SE it must see the state and
the trial state. x is the block's input, h its shortcut:

    z_0 = mean over H, W of h(x),   z_1 = mean of h(x) + f = z_0 + mean of f
    gate = step_max sigmoid(W2 relu(W1 [z_0, z_1] + c1) + c2)     W1: 2C -> m, W2: m -> C

with m = max(4, round(C / 16)). Everything here is ours: the authors' code is not known to us.
`inputs=state` gives W1 z_0 only, `slope` z_1 - z_0 only. W1 = [-V, V] gives SE with weight V.
`step_max=2` starts the step near 1. The wider of the two sums is never formed: z_1 comes from the
two means.
Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from qr_cli.attention.modules import gate as gates
from qr_cli.attention.modules.contract import ChannelAttention, Ctx, hidden_width, linear


class StepNet(ChannelAttention):
    """Gate of the state and the trial state (a reconstruction from the abstract)."""

    needs = frozenset({"shortcut"})
    constant_input = "no"
    constant_reason = "it needs the block's input"
    limits: ClassVar = {"step_max": (0.01, 100.0)}
    provenance: ClassVar = {"equations": "ours", "inputs": "ours", "step_max": "ours"}

    def __init__(
        self,
        channels: int,
        *,
        inputs: Literal["both", "state", "slope"] = "both",
        step_max: float = 1.0,
    ) -> None:
        super().__init__(channels)
        self.check_limits(step_max=step_max)
        self.inputs = inputs
        self.step_max = step_max
        width = hidden_width(channels, least=4)
        self.fc1 = nn.Linear((2 if inputs == "both" else 1) * channels, width)
        self.fc2 = nn.Linear(width, channels)

    def logits(self, s: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return W2 relu(W1 z + c1) + c2 for z of `inputs`, (B, C) -> (B, C)."""
        assert ctx is not None and ctx.shortcut is not None  # `demand` has seen to it
        z = s
        if self.inputs != "slope":
            state = gates.spatial_mean(ctx.shortcut).to(s.dtype)
            z = state if self.inputs == "state" else torch.cat([state, state + s], 1)
        return linear(self.fc2, torch.relu(linear(self.fc1, z)))

    def gate_from(self, s: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return the step size, (B, C), in (0, step_max)."""
        return self.step_max * torch.sigmoid(self.logits(s, ctx))
