"""Gates held at a constant while a question is asked, and what that costs in accuracy [ours].

Shapes: B batch, C channels, H height, W width, N images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from qr_cli.attention.trace import Batch, Seat, seats, watch
from qr_cli.errors import UsageError


class Frozen(nn.Module):
    """A gate that is a constant, (1, C | 1, H | 1, W | 1), in the place of an attention module."""

    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)

    def forward(self, f: Tensor, ctx: Any = None) -> Tensor:
        """Return value * f, (B, C, H, W) -> (B, C, H, W)."""
        return f * self.value.to(f.dtype)


def gated(net: nn.Module) -> list[Seat]:
    """Return the attention modules, each with a gate to hold.

    Raises:
        UsageError: there is none, or one shows no gate.
    """
    found = seats(net)
    if not found:
        raise UsageError("the network has no attention: nothing to drop", hint="another run")
    for seat in found:
        if not seat.has_gate:
            raise UsageError(
                f"{seat.name} ({getattr(seat.module, 'name', 'module')}) shows no gate to hold",
                hint="a module of `qr list attention`",
            )
    return found


@contextmanager
def frozen(net: nn.Module, gates: Mapping[str, Tensor]) -> Iterator[None]:
    """Hold the gates of some attention modules, {seat name: (1, C | 1, H | 1, W | 1)}.

    A recurrent module of a stage (``dia``) does not run in a held block; its state is handed on.
    """
    example = next(net.parameters())
    before = {name: net.get_submodule(name) for name in gates}
    try:
        for name, value in gates.items():
            net.set_submodule(name, Frozen(value.to(example.device, example.dtype)))
        yield
    finally:
        for name, module in before.items():
            net.set_submodule(name, module)


@torch.no_grad()
def correct(net: nn.Module, batches: Iterable[Batch]) -> Tensor:
    """Return whether each image is classified right, bool (N,), in evaluation mode."""
    hits: list[Tensor] = []
    device = next(net.parameters()).device
    with watch(net):
        for images, labels in batches:
            hits.append(net(images.to(device)).argmax(1).cpu() == labels.cpu())
    return torch.cat(hits)


def paired_drop(before: Tensor, after: Tensor) -> dict[str, float]:
    """Return drop, drop_low, drop_high: accuracy before minus after on the same images, bool (N,).

    (l - w) / N +- 1.96 sqrt(l + w - (l - w)^2 / N) / N for l images lost and w won, in [-1, 1].
    """
    size = len(before)
    lost, won = int((before & ~after).sum()), int((after & ~before).sum())
    drop = (lost - won) / size
    half = 1.96 * (lost + won - (lost - won) ** 2 / size) ** 0.5 / size
    return {"drop": drop, "drop_low": drop - half, "drop_high": drop + half}
