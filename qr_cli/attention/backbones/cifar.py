"""ResNets for small images (He et al. 2016, arXiv 1512.03385, section 4.2), as the official
repositories of the attention modules here build them; attention is an argument of the block.

    stem      3x3 convolution 3 -> 16, BN, ReLU; no pooling
    stages    three, planes 16, 32, 64, strides 1, 2, 2
    basic     6n + 2 layers: 3x3 (stride) BN ReLU, 3x3 BN, [attention], + shortcut, ReLU
    neck      9n + 2 layers: 1x1 BN ReLU, 3x3 (stride) BN ReLU, 1x1 (to 4 planes) BN, and so on
    head      global average pool, linear

Convolutions have no bias and start at N(0, sqrt(2 / (k k C_out))); the rest is PyTorch's default.
Differs from the official code: attention in basic blocks (theirs fails), global pooling in every
net (two of theirs pool 8x8 only and fail at 96 pixels), and the shortcut without weights that
common public checkpoints have (``shortcut=pad``).
Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from qr_cli.attention.backbones.names import LAYERS_PER_STEP, block_of
from qr_cli.attention.backbones.site import Site, attend

PLANES = (16, 32, 64)


def create(name: str, options: Mapping[str, Any], num_classes: int) -> CifarResNet:
    """Build ``qr:NAME(options)``; the name has been checked by `parse_arch`."""
    block = block_of(name, options)
    return CifarResNet(
        (int(name.removeprefix("resnet")) - 2) // LAYERS_PER_STEP[block],
        BLOCKS[block],
        num_classes=num_classes,
        shortcut=options.get("shortcut", "conv"),
    )


class PadShortcut(nn.Module):
    """Every `stride`-th pixel, and zero channels on both sides: a shortcut without weights."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        before = (out_channels - in_channels) // 2
        self.channels = (before, out_channels - in_channels - before)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *self.channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; `attn` sits after bn2, before the addition."""

    expansion = 1
    attn: nn.Module | None
    site: Site | None

    def __init__(
        self, in_channels: int, planes: int, stride: int, shortcut: nn.Module | None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, planes, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = shortcut
        self.attn, self.site = None, None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, planes, H / stride, W / stride)."""
        f = F.relu(self.bn1(self.conv1(x)))
        f = self.bn2(self.conv2(f))
        return _join(self, x, f)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut; `attn` sits after bn3, before the addition."""

    expansion = 4
    attn: nn.Module | None
    site: Site | None

    def __init__(
        self, in_channels: int, planes: int, stride: int, shortcut: nn.Module | None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.downsample = shortcut
        self.attn, self.site = None, None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 4 planes, H / stride, W / stride)."""
        f = F.relu(self.bn1(self.conv1(x)))
        f = F.relu(self.bn2(self.conv2(f)))
        f = self.bn3(self.conv3(f))
        return _join(self, x, f)


BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck]] = {
    "basic": BasicBlock,
    "bottleneck": Bottleneck,
}


class CifarResNet(nn.Module):
    """The network; any input size.

    Args:
        depth: n, blocks per stage.
        block: `BasicBlock` or `Bottleneck`.
        num_classes: outputs of the classifier.
        shortcut: where stride or width changes, "conv" (1x1 convolution and BN) or "pad".
    """

    def __init__(
        self,
        depth: int,
        block: type[BasicBlock] | type[Bottleneck],
        *,
        num_classes: int,
        shortcut: Literal["conv", "pad"] = "conv",
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, PLANES[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(PLANES[0])
        width = block.expansion
        self.layer1 = _stage(depth, block, PLANES[0], PLANES[0], 1, shortcut)
        self.layer2 = _stage(depth, block, width * PLANES[0], PLANES[1], 2, shortcut)
        self.layer3 = _stage(depth, block, width * PLANES[1], PLANES[2], 2, shortcut)
        self.fc = nn.Linear(width * PLANES[2], num_classes)
        self._reset_convolutions()

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, num_classes)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)  # (B, C)
        logits: Tensor = self.fc(x)
        return logits

    def _reset_convolutions(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = math.prod(module.kernel_size) * module.out_channels
                nn.init.normal_(module.weight, 0.0, math.sqrt(2 / fan_out))


def _stage(
    depth: int,
    block: type[BasicBlock] | type[Bottleneck],
    in_channels: int,
    planes: int,
    stride: int,
    shortcut: str,
) -> nn.Sequential:
    out_channels = planes * block.expansion
    change = None
    if stride != 1 or in_channels != out_channels:
        change = _SHORTCUTS[shortcut](in_channels, out_channels, stride)
    first = block(in_channels, planes, stride, change)
    return nn.Sequential(first, *(block(out_channels, planes, 1, None) for _ in range(1, depth)))


def _conv_shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
    )


_SHORTCUTS = {"conv": _conv_shortcut, "pad": PadShortcut}


def _join(block: BasicBlock | Bottleneck, x: Tensor, f: Tensor) -> Tensor:
    """Return ReLU(h(x) + attn(f)) for the block's input `x` and branch `f`."""
    h = x if block.downsample is None else block.downsample(x)
    return F.relu(h + attend(block, x, h, f))
