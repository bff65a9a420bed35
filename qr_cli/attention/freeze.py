"""Gates held at a constant while a question is asked, and what that costs in accuracy [ours].

Shapes: B batch, C channels, H height, W width, N images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from qr_cli.attention import intervals
from qr_cli.attention.stiffness import nsi
from qr_cli.attention.trace import Batch, Gate, Seat, Step, batched, run, seats, watch
from qr_cli.errors import UsageError

Record = dict[str, Any]
ALL = "all"  # key of `drops` for all gates at once


class Means:
    """What one pass of the intact network says of its gates.

    Args:
        seats: the attention modules, in network order.
        gate: the mean gate of each, over images alone, float64 (1, C | 1, H | 1, W | 1).
        step: mean of the gate's population standard deviation over images, of each.
        nsi: mean NSI of the inner blocks, by block name.
    """

    def __init__(self, net: nn.Module, batches: Iterable[Batch]) -> None:
        self.seats = gated(net)
        count = dict.fromkeys((seat.name for seat in self.seats), 0)
        sums: dict[str, Tensor] = {}
        squares: dict[str, Tensor] = {}
        moved: dict[str, list[Tensor]] = {}

        def on_gate(gate: Gate) -> None:
            name, value = gate.seat.name, gate.value()
            assert value is not None  # `gated` has seen to it
            value = value.double().expand(len(gate.f), -1, -1, -1)
            count[name] += len(value)
            sums[name] = sums.get(name, 0) + value.sum(0, keepdim=True)
            squares[name] = squares.get(name, 0) + value.square().sum(0, keepdim=True)

        def on_step(step: Step) -> None:
            moved.setdefault(step.block.name, []).append(nsi(step.x, step.y))

        with watch(net, step=on_step, gate=on_gate):
            run(net, batches)
        self.gate = {name: total / count[name] for name, total in sums.items()}
        self.step = {
            name: float((squares[name] / count[name] - mean.square()).clamp(min=0).sqrt().mean())
            for name, mean in self.gate.items()
        }
        self.nsi = {name: float(torch.cat(parts).mean()) for name, parts in moved.items()}


class Frozen(nn.Module):
    """A gate that is a constant, (1, C | 1, H | 1, W | 1), in the place of an attention module."""

    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)

    def forward(self, f: Tensor, ctx: Any = None) -> Tensor:
        """Return value * f, (B, C, H, W) -> (B, C, H, W)."""
        return f * self.value.to(f.dtype)


def drops(
    net: nn.Module, calibration: Iterable[Batch], test_batches: Iterable[Batch]
) -> dict[str, Record]:
    """Return what holding gates at their mean costs, by block and for "all": ``--stripes-drop``.

    Each entry has top1 and top1_frozen (shares in [0, 1]), drop, drop_low, drop_high (with the
    paired 95 % interval) and images.

    Args:
        net: a network with attention; it is left as it was.
        calibration: images over which the means are taken: not those of the test.
        test_batches: the test split; re-readable.

    Raises:
        UsageError: no attention, or a module without a gate.
    """
    test_batches = batched(test_batches)
    gated(net)
    means = Means(net, calibration)
    intact = correct(net, test_batches)
    held = {seat.block: {seat.name: means.gate[seat.name]} for seat in means.seats}
    figures = {}
    for block, gates in {**held, ALL: means.gate}.items():
        with frozen(net, gates):
            left = correct(net, test_batches)
        figures[block] = {
            "top1": float(intact.double().mean()),
            "top1_frozen": float(left.double().mean()),
            **paired_drop(intact, left),
            "images": len(intact),
        }
    return figures


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

    In [-1, 1]; the interval is that of `intervals.paired_shares`.
    """
    lost, won = intervals.discordant(before, after)
    low, high = intervals.paired_shares(lost, won, len(before))
    return {"drop": (lost - won) / len(before), "drop_low": low, "drop_high": high}
