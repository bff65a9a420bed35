"""One look at a pass: what enters and leaves each residual block, and the gate of its attention.

`watch` hands both to callbacks while the network runs, so that no map is kept, and leaves nothing
behind: its hooks are gone and every mode is restored when the block ends. The gate is asked of the
module (`gate(f, ctx)`), with a copy of the state that modules of one stage hand on.
Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from qr_cli.attention.backbones.records import Block, residual_blocks
from qr_cli.attention.insert import iter_attention
from qr_cli.attention.modules.contract import Ctx
from qr_cli.attention.modules.foreign import Foreign
from qr_cli.engine.loader import Fetch, in_order

Batch = tuple[Tensor, Tensor]
At = Literal["relu", "pre-act"]
CHUNK = 128  # images of a bare tensor that run at once


@dataclass(frozen=True, slots=True)
class Step:
    """One batch in an inner block, one whose shortcut is the identity.

    x, the input, and y, the output or what the final ReLU receives (x + gate * f), are both
    (B, C, H, W).
    """

    block: Block
    x: Tensor
    y: Tensor


@dataclass(frozen=True, slots=True)
class Seat:
    """Where an attention module sits in a network.

    Args:
        name: path of the module, of its hold where a stage shares one (``layer3.1.attn``).
        block: path of its block; of its stage for a module at a stage's end.
        stage: number of the stage, from 1.
        index: number of the block in its stage, from 0.
        module: the module itself.
    """

    name: str
    block: str
    stage: int
    index: int
    module: nn.Module

    @property
    def has_gate(self) -> bool:
        """Whether the module shows a gate; a foreign one, or one with a foreign part, does not."""
        return not any(isinstance(part, Foreign) for part in self.module.modules())


@dataclass(frozen=True, slots=True)
class Gate:
    """One batch in an attention module: the map f, (B, C, H, W), and what the block tells."""

    seat: Seat
    f: Tensor
    ctx: Ctx | None

    def value(self) -> Tensor | None:
        """Return the gate, (B | 1, C | 1, H | 1, W | 1); None when the module shows none."""
        module: Any = self.seat.module
        return module.gate(self.f, self.ctx) if self.seat.has_gate else None

    def per_channel(self) -> Tensor | None:
        """Return the gate averaged over positions, (B, C); None without one per channel."""
        gate = self.value()
        batch, channels = self.f.shape[:2]
        if gate is None or gate.shape[1] != channels:
            return None
        return gate.mean((2, 3)).expand(batch, -1)


class Batches:
    """The first `size` images of a set in order, as (images, labels), as often as they are read."""

    def __init__(self, fetch: Fetch, size: int, *, batch_size: int) -> None:
        self.fetch, self.size, self.batch_size = fetch, size, batch_size

    def __iter__(self) -> Iterator[Batch]:
        return in_order(self.fetch, self.size, batch_size=self.batch_size)


def batched(images: Tensor | Iterable[Batch]) -> Iterable[Batch]:
    """Return batches; a bare tensor of images (B, 3, H, W) is cut into some, with labels 0.

    Raises:
        TypeError: an iterator, which could be read only once.
    """
    if isinstance(images, Tensor):
        return [(part, part.new_zeros(len(part), dtype=torch.long)) for part in images.split(CHUNK)]
    if iter(images) is images:
        raise TypeError("the batches are read more than once: give a list or `Batches`")
    return images


def seats(net: nn.Module) -> list[Seat]:
    """Return the attention modules of a network, in its order; without any an empty list."""
    found = []
    names = {(block.stage, block.index): block.name for block in residual_blocks(net)}
    for name, stage, index, module in iter_attention(net):
        block = names[stage, index]
        inside = name.startswith(f"{block}.")
        found.append(Seat(name, block if inside else name.rpartition(".")[0], stage, index, module))
    return found


@contextmanager
def watch(
    net: nn.Module,
    *,
    step: Callable[[Step], None] | None = None,
    gate: Callable[[Gate], None] | None = None,
    at: At = "relu",
) -> Iterator[None]:
    """Call back for every inner block and attention module while `net` runs inside the block.

    Args:
        net: a network of a kind that attention fits; in evaluation mode inside.
        step: called when an inner block is through.
        gate: called before an attention module runs.
        at: what `Step.y` is: the block's output, or what its final ReLU receives.
    """
    handles = []
    modes = [(module, module.training) for module in net.modules()]
    try:
        net.eval()
        if step is not None:
            for block in residual_blocks(net):
                if block.identity:
                    handles += _watch_block(block, step, at)
        if gate is not None:
            for seat in seats(net):
                host = net.get_submodule(seat.name)
                handles.append(host.register_forward_pre_hook(_gate_hook(seat, gate)))
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training


@torch.no_grad()
def run(net: nn.Module, batches: Iterable[Batch]) -> None:
    """Run the images of `batches` through `net`, on its device."""
    device = next(net.parameters()).device
    for images, _ in batches:
        net(images.to(device))


def _watch_block(block: Block, see: Callable[[Step], None], at: At) -> list[Any]:
    """Hook a block; a tensor that the block may overwrite is used before it does."""
    seen: dict[str, Tensor] = {}

    def enter(module: nn.Module, args: Any) -> None:
        seen["x"] = args[0]

    def branch(module: nn.Module, args: Any, scaled: Tensor) -> None:
        seen["y"] = seen["x"] + scaled

    def leave(module: nn.Module, args: Any, out: Tensor) -> None:
        x = seen.pop("x")
        see(Step(block, x, seen.pop("y", out)))

    handles = [block.module.register_forward_pre_hook(enter)]
    if at == "pre-act" and block.kind != "timm inverted":  # that one has no activation at its end
        handles.append(_branch_end(block).register_forward_hook(branch))
    return [*handles, block.module.register_forward_hook(leave)]


def _branch_end(block: Block) -> nn.Module:
    """Return the module whose output is added to the shortcut."""
    for child in ("attn", "se"):
        module = getattr(block.module, child, None)
        if isinstance(module, nn.Module):
            return module
    return block.module.get_submodule(block.last_norm)


def _gate_hook(seat: Seat, see: Callable[[Gate], None]) -> Callable[[nn.Module, Any], None]:
    def hook(module: nn.Module, args: Any) -> None:
        ctx = args[1] if len(args) > 1 else None
        if ctx is not None and ctx.state is not None:
            ctx = replace(ctx, state=dict(ctx.state))
        see(Gate(seat, args[0], ctx))

    return hook
