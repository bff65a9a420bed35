"""A module of somebody else's: any `nn.Module` that maps (B, C, H, W) to the same shape [ours].

It is a black box: it has no gate of its own to look at, and cannot stand inside lsas, sem or asr
(unless it offers `constant_gate`). Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from qr_cli.attention.modules.contract import ChannelAttention, Ctx
from qr_cli.errors import EnvironmentFault, MissingExtra, UsageError


class Foreign(ChannelAttention):
    """A plain module behind the contract."""

    squeeze_kind = "none"
    constant_input = "no"
    constant_reason = "its gate is unknown here"
    provenance: ClassVar = {"wrapper": "ours"}

    def __init__(self, channels: int, inner: nn.Module) -> None:
        super().__init__(channels)
        self.inner = inner

    @property
    def name(self) -> str:
        """The class name of the module inside."""
        return type(self.inner).__name__

    @property
    def constant_gate(self) -> Any:
        """The module's own `constant_gate`; AttributeError when it has none."""
        return getattr(self.inner, "constant_gate")  # noqa: B009 (AttributeError is the point)

    def gate(self, f: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Raise TypeError: a black box shows no gate."""
        raise TypeError(f"{self.name} is not a ChannelAttention: it has no gate to look at")

    def forward(self, f: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Apply the module, (B, C, H, W) -> (B, C, H, W)."""
        out: Tensor = self.inner(f)
        return out


def create_timm(name: str, channels: int, options: dict[str, Any]) -> nn.Module:
    """Build ``timm.layers.create_attn(name, channels, ...)``.

    Raises:
        MissingExtra: timm is not installed.
        UsageError: timm does not know the name, or cannot build it from channels alone.
    """
    try:
        from timm.layers.create_attn import create_attn
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] != "timm":
            raise EnvironmentFault(f"timm cannot be imported: {error}") from error
        raise MissingExtra("timm", "timm") from error
    try:
        module: nn.Module = create_attn(name, channels, **options)
        _try(module, channels)
    except (AssertionError, TypeError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error) or type(error).__name__
        raise UsageError(f"timm:{name} cannot be built from channels alone: {reason}") from error
    return module


@torch.no_grad()
def _try(module: nn.Module, channels: int) -> None:
    """Run a small map through a module: some of timm's build well and then refuse any input."""
    training = module.training
    module.eval()(torch.zeros(1, channels, 8, 8))
    module.train(training)
