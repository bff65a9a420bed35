"""The networks of the RepVGG and MobileOne authors, with their key names.

RepVGG: stage0 one block 3 -> min(64, 64 a0), stride 2; four stages whose first block has stride 2;
ReLU after each block; global pooling; `linear`. MobileOne: stage0 one block of stride 2; layers of
a depthwise 3x3 and a pointwise block, flat in their stage. Where SE is part of the architecture it
stands before the ReLU and stays. With `deploy` each block is its folded convolution, under the name
it has in the authors' deployed files.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from qr_cli.attention.srp.block import Shape
from qr_cli.attention.srp.mobileone import MobileOne
from qr_cli.attention.srp.repvgg import RepVGG
from qr_cli.reparam.names import MOBILEONE, REPVGG

_MOBILEONE_LAYERS = (2, 8, 10, 1)
_SE_LAYERS = 5  # of stage 3, at its end


class Squeeze(nn.Module):
    """Squeeze-and-excitation of 1x1 convolutions, whatever they are called."""

    def __init__(self, channels: int, hidden: int, names: tuple[str, str]) -> None:
        super().__init__()
        self.add_module(names[0], nn.Conv2d(channels, hidden, 1))
        self.add_module(names[1], nn.Conv2d(hidden, channels, 1))

    def forward(self, f: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        down, up = self.children()
        gate: Tensor = torch.sigmoid(up(torch.relu(down(f.mean((2, 3), keepdim=True)))))
        return f * gate


class Folded(nn.Module):
    """A block after folding: its convolution, SE if it has one, ReLU."""

    def __init__(self, name: str, conv: nn.Conv2d, se: nn.Module | None) -> None:
        super().__init__()
        self.add_module(name, conv)
        self.name = name
        self.se = se

    def forward(self, x: Tensor) -> Tensor:
        """(B, i, H, W) -> (B, o, H', W')."""
        y = self.get_submodule(self.name)(x)
        return torch.relu(y if self.se is None else self.se(y))


class RepVGGLayer(RepVGG):
    """A RepVGG block with the SE and the ReLU that its authors keep inside."""

    def __init__(self, shape: Shape, *, se: nn.Module | None = None) -> None:
        super().__init__(shape)
        self.se = se

    def forward(self, x: Tensor) -> Tensor:
        """(B, i, H, W) -> (B, o, H', W')."""
        y = super().forward(x)
        return torch.relu(y if self.se is None else self.se(y))

    def deployed(self, conv: nn.Conv2d) -> nn.Module:
        """Return the convolution with what stays of the block."""
        return Folded(self.deploy_name, conv, self.se)


class MobileOneLayer(MobileOne):
    """A MobileOne block with the SE and the ReLU that its authors keep inside."""

    def __init__(self, shape: Shape, *, branches: int, se: nn.Module | None = None) -> None:
        super().__init__(shape, branches=branches)
        self.se = se

    def forward(self, x: Tensor) -> Tensor:
        """(B, i, H, W) -> (B, o, H', W')."""
        y = super().forward(x)
        return torch.relu(y if self.se is None else self.se(y))

    def deployed(self, conv: nn.Conv2d) -> nn.Module:
        """Return the convolution with what stays of the block."""
        return Folded(self.deploy_name, conv, self.se)


class OfficialNet(nn.Module):
    """Stages of blocks, global pooling, `linear`."""

    def __init__(self, stages: list[nn.Module], channels: int, classes: int) -> None:
        super().__init__()
        for number, stage in enumerate(stages):
            self.add_module(f"stage{number}", stage)
        self.stages = len(stages)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, classes)."""
        for number in range(self.stages):
            x = self.get_submodule(f"stage{number}")(x)
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


def create_official(name: str, *, classes: int = 1000, deploy: bool = False) -> nn.Module:
    """Build ``repvgg-*`` or ``mobileone-*``, untrained."""
    if name in REPVGG:
        blocks, widths, groups, se = REPVGG[name]
        return repvgg(blocks, widths, groups=groups, se=se, classes=classes, deploy=deploy)
    multipliers, branches, se = MOBILEONE[name]
    return mobileone(multipliers, branches, se=se, classes=classes, deploy=deploy)


def repvgg(
    blocks: tuple[int, ...],
    widths: tuple[float, ...],
    *,
    groups: int = 1,
    se: bool = False,
    classes: int = 1000,
    deploy: bool = False,
) -> OfficialNet:
    """Build a RepVGG; `groups` is of blocks 2, 4, ..., 26, counted from the first of stage 1."""
    channels = min(64, int(64 * widths[0]))

    def layer(shape: Shape) -> nn.Module:
        out = shape.out_channels
        squeeze = Squeeze(out, out // 16, ("down", "up")) if se else None
        return _layer(RepVGGLayer(shape, se=squeeze), deploy)

    stages: list[nn.Module] = [layer(Shape(3, channels, stride=2))]
    number = 1
    for depth, width, base in zip(blocks, widths, (64, 128, 256, 512), strict=True):
        out, layers = int(base * width), []
        for index in range(depth):
            grouped = groups if number % 2 == 0 and number <= 26 else 1
            layers.append(layer(Shape(channels, out, stride=2 - (index > 0), groups=grouped)))
            channels, number = out, number + 1
        stages.append(nn.Sequential(*layers))
    return OfficialNet(stages, channels, classes)


def mobileone(
    widths: tuple[float, ...],
    branches: int,
    *,
    se: bool = False,
    classes: int = 1000,
    deploy: bool = False,
    layers: tuple[int, ...] = _MOBILEONE_LAYERS,
    base: tuple[int, ...] = (64, 128, 256, 512),
) -> OfficialNet:
    """Build a MobileOne; `se` puts SE into the last layers of stages 3 and 4."""
    channels = min(base[0], int(base[0] * widths[0]))

    def layer(shape: Shape, count: int, squeezed: bool) -> nn.Module:
        out = shape.out_channels
        squeeze = Squeeze(out, int(out / 16), ("reduce", "expand")) if squeezed else None
        return _layer(MobileOneLayer(shape, branches=count, se=squeeze), deploy)

    stages: list[nn.Module] = [layer(Shape(3, channels, stride=2), 1, False)]
    for number, (depth, width) in enumerate(zip(layers, widths, strict=True), start=1):
        out, flat = int(base[number - 1] * width), []
        for index in range(depth):
            squeezed = se and (number == 4 or (number == 3 and index >= depth - _SE_LAYERS))
            stride = 2 - (index > 0)
            depthwise = Shape(channels, channels, stride=stride, groups=channels)
            flat.append(layer(depthwise, branches, squeezed))
            flat.append(layer(Shape(channels, out, kernel=1), branches, squeezed))
            channels = out
        stages.append(nn.Sequential(*flat))
    return OfficialNet(stages, channels, classes)


def _layer(made: RepVGGLayer | MobileOneLayer, deploy: bool) -> nn.Module:
    """Return the block, or the convolution it would fold into."""
    if not deploy:
        return made
    s = made.shape
    conv = nn.Conv2d(
        s.in_channels, s.out_channels, s.kernel, s.stride, s.padding, s.dilation, s.groups
    )
    return made.deployed(conv)


def is_deployed(tensors: Mapping[str, Tensor]) -> bool:
    """Whether weights are those of a folded network, by the names of the folded convolutions."""
    parts = {part for key in tensors for part in key.split(".")}
    names = {RepVGG.deploy_name, MobileOne.deploy_name}
    return bool(parts & names) and not parts & {"rbr_dense", "rbr_conv"}
