"""How a module gets into one block, and out of it again; `insert` decides which and where.

What a block was before is read off its class, but for timm's slot: what stood in it is kept in a
tuple, outside of parameters and keys.
"""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from qr_cli.attention.backbones.batch_norm import hold, holds_attention, release
from qr_cli.attention.backbones.records import Block, explicit_class, is_explicit, plain_class
from qr_cli.attention.backbones.site import Site
from qr_cli.attention.modules.contract import ChannelAttention
from qr_cli.errors import UsageError

Mechanism = Literal["block argument", "batch norm", "slot", "explicit block", "stage end"]


class StageModules(nn.ModuleDict):
    """The modules that the blocks of a stage share, kept once under ``shared.STAGE.*``."""

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`: in a `Sequential`, which calls all its children, it must be no step."""
        return x


def slot_taken(module: nn.Module) -> nn.Module | None:
    """Return what fills the block's timm slot, if anything but an identity does."""
    slot = getattr(module, "se", None)
    return None if slot is None or isinstance(slot, nn.Identity) else slot


def put(block: Block, mechanism: Mechanism, module: nn.Module, model: nn.Module) -> None:
    """Put `module` into a block of `model`, or behind its stage."""
    host: Any = block.module
    if mechanism == "stage end":
        model.get_submodule(block.stage_name).add_module("attn", module)
    elif mechanism == "batch norm":
        hold(host.get_submodule(block.last_norm), module)
    elif mechanism == "slot":
        _fill_slot(host, module)
    else:
        if mechanism == "explicit block":
            if slot_taken(host) is not None:
                _fill_slot(host, None)
            host.__class__ = explicit_class(block)
        host.attn = module


def share(model: nn.Module, modules: dict[int, ChannelAttention]) -> None:
    """Keep one module per stage, by the number of the stage, as children of `model`."""
    if hasattr(model, "shared"):
        raise UsageError(
            f"{type(model).__name__} has an attribute 'shared' already, the place of modules kept "
            "once per stage",
            hint="attach to the part of the network that holds the residual blocks",
        )
    model.shared = StageModules({str(stage): module for stage, module in modules.items()})


def _fill_slot(host: Any, module: nn.Module | None) -> None:
    """Fill timm's slot; what was there is kept outside of the parameters, for `detach`."""
    host.former_slot = (host.se,)  # a tuple: not registered
    host.se = module


def mark_sites(found: list[Block]) -> None:
    """Tell the blocks whose attention receives a `Ctx` where they stand."""
    for stage in {block.stage for block in found}:
        attended = [b for b in found if b.stage == stage and getattr(b.module, "attn", None)]
        state: dict[Any, Any] = {}
        for block in attended:
            opens, closes = block is attended[0], block is attended[-1]
            block.module.site = Site(  # type: ignore[assignment]  # no tensor, no module
                stage, block.index, block.depth, opens, closes, state
            )


def held(block: Block) -> tuple[str, nn.Module] | None:
    """Return name and module of the attention that `attach` put into a block, or None."""
    host: Any = block.module
    if getattr(host, "attn", None) is not None:
        return "attn", host.attn
    if hasattr(host, "former_slot"):
        return "se", host.se
    norm: Any = getattr(host, block.last_norm, None)
    if holds_attention(norm):
        return f"{block.last_norm}.attn", norm.attn
    return None


def clear(block: Block) -> None:
    """Make a block what it was before `attach`."""
    host: Any = block.module
    example = next(host.parameters())
    if block.kind == "qr":
        del host.attn, host.site
        host.attn = host.site = None
    elif is_explicit(host):
        del host.attn, host.site
        host.__class__ = plain_class(host)
    norm: Any = getattr(host, block.last_norm, None)
    if holds_attention(norm):
        release(norm)
    if hasattr(host, "former_slot"):
        (former,) = host.former_slot
        del host.former_slot
        if former is None:
            del host.se
            host.se = None
        else:
            host.se = former.to(example.device, example.dtype).train(host.training)
