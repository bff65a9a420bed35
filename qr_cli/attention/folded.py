"""The forms of a folded network: what stands where attention, blocks and batch norms were.

`qr reparam` computes the weights; here is only the structure, so that a folded checkpoint can be
built from its model.json and loaded strictly.
Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from qr_cli.attention.backbones.batch_norm import BatchNormAttn, PassThrough
from qr_cli.attention.backbones.hosts import clear, held
from qr_cli.attention.backbones.records import Block, residual_blocks
from qr_cli.attention.modules.chain import Chain
from qr_cli.attention.modules.contract import ChannelAttention
from qr_cli.errors import UsageError

_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class Passing(ChannelAttention):
    """What is left of a gate that was folded away."""

    squeeze_kind = "none"

    def forward(self, f: Tensor, ctx: Any = None) -> Tensor:
        """Return f."""
        return f


class ChannelScale(ChannelAttention):
    """A constant gate that nothing could carry: a product with the buffer `scale`, (C,)."""

    squeeze_kind = "none"
    scale: Tensor

    def __init__(self, scale: Tensor) -> None:
        super().__init__(len(scale))
        self.register_buffer("scale", scale)

    def gate(self, f: Tensor, ctx: Any = None) -> Tensor:
        """Return the scale along dimension 1."""
        return self.scale.reshape(-1, *[1] * (f.ndim - 2))[None]


def clear_gates(net: nn.Module) -> None:
    """Take `Passing` gates out of blocks and chains; a chain of one term becomes that term.

    Only where all blocks with attention are left alike: else names would differ from block to block
    and one word could not say what the network is.
    """
    seats = [found for block in _blocks(net) if (found := held(block)) is not None]
    kept = [sum(not isinstance(t, Passing | ChannelScale) for t in _terms(m)) for _, m in seats]
    scaled = any(isinstance(part, ChannelScale) for part in net.modules())
    if len(set(kept)) > 1 or scaled:
        return
    for block in _blocks(net):
        found = held(block)
        if found is not None:
            name, module = found
            left = [term for term in _terms(module) if not isinstance(term, Passing)]
            if not left and not _replaced(block):
                clear(block)
            elif not left:
                net.set_submodule(f"{block.name}.{name}", Passing(block.channels))
            elif len(left) < len(_terms(module)):
                chain = left[0] if len(left) == 1 else Chain(left[0].channels, *left)
                net.set_submodule(f"{block.name}.{name}", chain)
        stage = net.get_submodule(block.stage_name)
        if isinstance(stage._modules.get("attn"), Passing):
            del stage.attn


def strip(net: nn.Module, norm: str, conv: str) -> bool:
    """Take out a batch norm whose work `conv` does, and give that a bias; False if it must stay.

    A batch norm of a class of others stays: nobody knows what else its forward does.
    """
    rest = _rest(net.get_submodule(norm))
    layer: Any = net.get_submodule(conv)
    if layer.bias is None:
        layer.bias = nn.Parameter(layer.weight.new_zeros(_outputs(layer)))
    if rest is None:
        return False
    net.set_submodule(norm, rest)
    return True


def apply_form(net: nn.Module, form: Mapping[str, Any]) -> None:
    """Give a plain network the structure that model.json tells: ``form`` of `qr reparam`."""
    for name in form.get("gone", ()):
        net.set_submodule(name, Passing(1))
    for name, channels in form.get("scales", {}).items():
        net.set_submodule(name, ChannelScale(torch.ones(channels)))
    for norm, conv in form.get("norms", {}).items():
        strip(net, norm, conv)


def _rest(norm: nn.Module) -> nn.Module | None:
    """Return what a batch norm does besides normalising."""
    if isinstance(norm, BatchNormAttn):
        return PassThrough(norm.attn)
    if type(norm) in _PLAIN:
        return nn.Identity()
    if isinstance(norm, _BatchNorm) and {"drop", "act"} == set(norm._modules):  # timm's, with act
        return nn.Sequential(OrderedDict(norm._modules))  # type: ignore[arg-type]
    return None


def _outputs(layer: Any) -> int:
    return int(layer.out_channels if hasattr(layer, "out_channels") else layer.out_features)


def _replaced(block: Block) -> bool:
    """Whether `clear` would bring back attention of the network's own that gave way."""
    former = getattr(block.module, "former_slot", (None,))[0]
    return former is not None and not isinstance(former, nn.Identity)


def _terms(module: nn.Module) -> list[Any]:
    return module.terms() if isinstance(module, Chain) else [module]


def _blocks(net: nn.Module) -> list[Block]:
    try:
        return residual_blocks(net)
    except UsageError:
        return []
