"""What an attention module is, and what a residual block tells it.

A module scales the output f of a block's last normalisation: forward(f) = gate * f. The way to the
gate is cut in three, so that modules can be composed:

    s = squeeze(f)                 statistics of the map
    v = logits(s, ctx)             (B, C), the value before the sigmoid; not every module has one
    gate = gate_from(s, ctx)       (B, C); sigmoid(v) unless a module says otherwise

Everything up to the gate is computed in float32 (float64 for float64 maps) with autocast off; the
gate is cast to the map's dtype for the product [ours]. The backward pass of the product is in
`gate.py`.

The class attributes and the keyword-only arguments of ``__init__`` are literals: `grammar.py` reads
them from the source, so that a module string is checked before torch is loaded.
Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qr_cli.attention.modules import gate as gates
from qr_cli.errors import UsageError

SqueezeKind = Literal["mean", "mean_std", "max_min", "grid", "dct", "none"]


@dataclass(slots=True)
class Ctx:
    """What a block tells its attention module besides f.

    Args:
        x: the block's input, (B, C', H', W').
        shortcut: h(x), what the gated branch is added to, (B, C, H, W).
        stage: number of the stage, from 1.
        index: number of the block in its stage, from 0.
        depth: blocks in the stage.
        state: what the modules of one stage hand on from block to block; the block with index 0
            empties it. Activation checkpointing runs a block twice and so excludes it.
    """

    x: Tensor | None = None
    shortcut: Tensor | None = None
    stage: int = 1
    index: int = 0
    depth: int = 1
    state: dict[Any, Any] | None = None


class ChannelAttention(nn.Module):
    """Base of the modules here: a gate on a feature map.

    A subclass takes `channels` first, then inner modules, then keyword-only options, and gives at
    least `logits` or `gate_from` (or its own `gate`, with ``squeeze_kind = "none"``).

    Class attributes (an instance may narrow them):
        squeeze_kind: which statistics `squeeze` takes; "none" for a `gate` of the module's own.
        needs: which fields of `Ctx` must be there.
        constant_input, constant_reason: whether the module may stand inside ``asr``: "ok",
            "degenerate" (it works, but its statistics fall together), or "no"; and why.
        scope: "block" (each block its own) or "stage" (one instance for all blocks of a stage).
        place: "branch" (on f) or "stage-end" (on the output of a stage).
        limits: inclusive bounds of options, ``{"order": (0, 16)}``.
        provenance: where each default comes from: "official", "figure", "ours", "algebra".
        backward: "auto" (the single pass for big maps), "single" (always), "autograd" (never).
    """

    squeeze_kind: SqueezeKind = "mean"
    needs: frozenset[str] = frozenset()
    constant_input: Literal["ok", "degenerate", "no"] = "ok"
    constant_reason: str = "a function of the pooled vector"
    scope: Literal["block", "stage"] = "block"
    place: Literal["branch", "stage-end"] = "branch"
    limits: ClassVar[Mapping[str, tuple[float, float]]] = {}
    provenance: ClassVar[Mapping[str, str]] = {}
    backward: Literal["auto", "single", "autograd"] = "auto"

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels < 1:
            raise UsageError(f"{self.name}: channels must be at least 1, got {channels}")
        self.channels = channels

    @property
    def name(self) -> str:
        """The module's name in messages."""
        return type(self).__name__.lower()

    @classmethod
    def default_stages(cls, stages: int) -> tuple[int, ...]:
        """Return which of `stages` stages (from 1) get the module under ``--stages auto``."""
        return tuple(range(1, stages + 1))

    def squeeze(self, f: Tensor) -> Tensor:
        """Return the statistics of the map; here its mean, (B, C, H, W) -> (B, C)."""
        return gates.spatial_mean(f)

    def basis(self, f: Tensor) -> Tensor | None:
        """Return the (C, H, W) weights of a squeeze of kind "dct" for maps of the size of `f`."""
        return None

    def logits(self, s: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return the value before the sigmoid, (B, C); a module without one has no such method."""
        raise NotImplementedError(f"{self.name} has no single value before the sigmoid")

    def gate_from(self, s: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return the gate (B, C) for statistics `s`."""
        return torch.sigmoid(self.logits(s, ctx))

    def gate(self, f: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return the gate of a map: (B, C, 1, 1), (B, 1, H, W) or (B, C, H, W).

        Raises:
            ValueError: `ctx` lacks something the module needs.
        """
        self.demand(ctx)
        with precise(f):
            return self.gate_from(self.squeeze(f), ctx)[:, :, None, None].to(f.dtype)

    def forward(self, f: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return gate * f, (B, C, H, W) -> (B, C, H, W)."""
        self.demand(ctx)
        if self.squeeze_kind == "none" or not gates.worthwhile(f, self.backward):
            return f * self.gate(f, ctx)
        with precise(f):
            return gates.single_pass(
                f, self.squeeze_kind, lambda s: self.gate_from(s, ctx), self.basis(f)
            )

    def aux_loss(self) -> Tensor | None:
        """Return the module's addition to the training loss, a scalar, or None."""
        return None

    def reset_parameters(self) -> None:
        """Draw the parameters anew; inner modules included."""
        for child in self.children():
            reset(child)

    def demand(self, ctx: Ctx | None) -> None:
        """Raise ValueError when `ctx` lacks something the module needs."""
        missing = sorted(n for n in self.needs if ctx is None or getattr(ctx, n) is None)
        if missing:
            raise ValueError(
                f"{self.name} needs ctx.{' and ctx.'.join(missing)}: call it as "
                f"module(f, Ctx({', '.join(f'{n}=...' for n in missing)}))"
            )

    def check_limits(self, **options: float) -> None:
        """Raise UsageError for an option outside the class's `limits`."""
        for key, value in options.items():
            low, high = self.limits[key]
            if not low <= value <= high:
                raise UsageError(f"{self.name}: {key} must be from {low} to {high}, got {value}")


def precise(f: Tensor) -> AbstractContextManager[Any]:
    """Switch autocast off for the device of `f`, if it is on."""
    device = f.device.type
    if device == "meta" or not torch.is_autocast_enabled(device):
        return nullcontext()
    return torch.autocast(device, enabled=False)


def reset(module: nn.Module) -> None:
    """Draw the parameters of `module` anew, through its own reset_parameters or its children's."""
    method = getattr(module, "reset_parameters", None)
    if callable(method):
        method()
        return
    for child in module.children():
        reset(child)


def hidden_width(channels: int, reduction: int = 16, *, least: int = 1) -> int:
    """Return m = max(least, round(C / reduction)), Python's round."""
    return max(least, round(channels / reduction))


def linear(layer: nn.Linear | nn.Conv2d, u: Tensor) -> Tensor:
    """Apply a layer in the dtype of `u` and not of its parameters, (B, in) -> (B, out)."""
    bias = None if layer.bias is None else layer.bias.to(u.dtype)
    return F.linear(u, layer.weight.to(u.dtype), bias)
