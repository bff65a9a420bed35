"""The residual blocks of a network: where they are, and how attention goes into each kind.

| blocks | attention goes | keys |
| --- | --- | --- |
| ours | into the block's argument, after the last BN | ``layer1.0.attn.*`` |
| torchvision ResNet family | into the last BN, as its child | ``layer1.0.bn2.attn.*``, ``bn3`` |
| timm ResNet family | into timm's slot, after the last BN | ``layer1.0.se.*`` |
| timm EfficientNet, MobileNet | into timm's slot, after the depthwise conv | ``blocks.0.0.se.*`` |
| torchvision, timm ResNets, when f is not enough | into a written-out block | ``layer1.0.attn.*`` |

Only these very classes are taken: a subclass may have another forward.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Literal

from torch import nn

from qr_cli.attention.backbones import cifar
from qr_cli.errors import UsageError

Kind = Literal["qr", "torchvision", "timm resnet", "timm inverted"]

SUPPORTED = (
    "the CIFAR ResNets of qr, torchvision's ResNet family, "
    "timm's ResNet family and its EfficientNet and MobileNet blocks"
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Block:
    """A residual block of a network.

    Args:
        name: its path in the network (``layer1.0``).
        stage: number of its stage, from 1: the `Sequential` it stands in.
        index: its number in the stage, from 0.
        depth: blocks in the stage.
        module: the block.
        kind: whose block it is.
        channels: C of the map that attention scales.
        out_channels: channels of the block's output.
        identity: whether the shortcut is the identity.
    """

    name: str
    stage: int
    index: int
    depth: int
    module: nn.Module
    kind: Kind
    channels: int
    out_channels: int
    identity: bool

    @property
    def stage_name(self) -> str:
        """Path of the stage (``layer1``)."""
        return self.name.rpartition(".")[0]

    @property
    def last_norm(self) -> str:
        """Name of the last normalisation of the branch (``bn2``)."""
        return "bn3" if hasattr(self.module, "conv3") else "bn2"


def residual_blocks(model: nn.Module) -> list[Block]:
    """Return the residual blocks of `model` in network order.

    Raises:
        UsageError: there is none that attention fits.
    """
    found = [
        (name, module, traits)
        for name, module in model.named_modules()
        if (traits := _traits(module)) is not None
    ]
    if not found:
        raise UsageError(
            f"{type(model).__name__} is not supported yet: it has no residual block that "
            "attention fits",
            hint=f"supported: {SUPPORTED}",
        )
    _mention_slotless(model)
    parents = [name.rpartition(".")[0] for name, _, _ in found]
    stages = list(dict.fromkeys(parents))
    blocks, counts = [], dict.fromkeys(stages, 0)
    for (name, module, traits), parent in zip(found, parents, strict=True):
        stage, depth = stages.index(parent) + 1, parents.count(parent)
        blocks.append(Block(name, stage, counts[parent], depth, module, *traits))
        counts[parent] += 1
    return blocks


def explicit_class(block: Block) -> type[nn.Module]:
    """Return the class with a written-out forward, for a block of torchvision's or timm's."""
    return _explicit()[type(block.module)]


def plain_class(module: nn.Module) -> type[nn.Module]:
    """Return the class a block with a written-out forward had before."""
    return {written: plain for plain, written in _explicit().items()}[type(module)]


def is_explicit(module: nn.Module) -> bool:
    """Whether the block has a forward written out by us."""
    return type(module) in _explicit().values()


def _traits(module: nn.Module) -> tuple[Kind, int, int, bool] | None:
    """Return kind, channels, output channels and whether the shortcut is the identity."""
    kind = _kinds().get(type(module))
    if kind is None:
        return None
    if kind == "timm inverted":
        return _inverted_traits(module)
    conv: nn.Conv2d = getattr(module, "conv3", None) or module.conv2  # type: ignore[assignment]
    channels = conv.out_channels
    return kind, channels, channels, module.downsample is None


def _inverted_traits(module: nn.Module) -> tuple[Kind, int, int, bool]:
    from qr_cli.attention.backbones.timm_blocks import INVERTED

    before, last = (module.get_submodule(name) for name in INVERTED[type(module)])
    assert isinstance(before, nn.Conv2d) and isinstance(last, nn.Conv2d)  # for the type checker
    return "timm inverted", before.out_channels, last.out_channels, bool(module.has_skip)


# a library whose blocks can exist only once it is imported -> our written-out versions, their kind
_LIBRARIES: dict[str, tuple[str, Kind]] = {
    "torchvision.models.resnet": (f"{__package__}.torchvision", "torchvision"),
    "timm.models.resnet": (f"{__package__}.timm_blocks", "timm resnet"),
}


def _loaded() -> tuple[str, ...]:
    """Return the libraries that are imported; looking for a block must not import one."""
    return tuple(library for library in _LIBRARIES if library in sys.modules)


def _timm_loaded() -> bool:
    return "timm.models.resnet" in sys.modules


def _kinds() -> dict[type[nn.Module], Kind]:
    return _kinds_of(_loaded())


def _explicit() -> dict[type[nn.Module], type[nn.Module]]:
    return {
        plain: written
        for library in _loaded()
        for plain, written in import_module(_LIBRARIES[library][0]).EXPLICIT.items()
    }


@cache
def _kinds_of(libraries: tuple[str, ...]) -> dict[type[nn.Module], Kind]:
    kinds: dict[type[nn.Module], Kind] = dict.fromkeys(cifar.BLOCKS.values(), "qr")
    for library in libraries:
        module, kind = _LIBRARIES[library]
        for plain, written in import_module(module).EXPLICIT.items():
            kinds[plain] = kinds[written] = kind
    if "timm.models.resnet" in libraries:
        from qr_cli.attention.backbones.timm_blocks import INVERTED

        kinds |= dict.fromkeys(INVERTED, "timm inverted")
    return kinds


def _mention_slotless(model: nn.Module) -> None:
    """Say how many residual blocks next to supported ones cannot hold attention."""
    if not _timm_loaded():
        return
    from qr_cli.attention.backbones.timm_blocks import SLOTLESS

    count = sum(isinstance(m, SLOTLESS) and bool(m.has_skip) for m in model.modules())
    if count:
        _log.warning("%d residual blocks without a slot for attention stay as they are", count)
