"""Torchvision's networks, and attention in its ResNet family (imports torchvision).

Attention enters a block's last BN (`batch_norm.BatchNormAttn`), or, for modules that need more than
f and normalisations other than nn.BatchNorm2d, a subclass of the block whose forward is written
out. Either way the class of the object changes in place: parameters, hooks and optimisers stay.
Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torchvision
from torch import Tensor, nn
from torchvision.models import resnet

from qr_cli.attention.backbones.site import Site, attend
from qr_cli.errors import UsageError, near


def create(name: str, options: Mapping[str, Any], num_classes: int) -> nn.Module:
    """Build ``torchvision:NAME(options)`` without weights.

    Raises:
        UsageError: torchvision has no such network, or ``stem=cifar`` does not fit it.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise UsageError(
            f"--arch: torchvision has no network {name!r}{near(name, known)}", hint="qr list archs"
        )
    net: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=num_classes)
    if options.get("stem") == "cifar":
        _small_image_stem(name, net)
    return net


class BasicBlockAttn(resnet.BasicBlock):
    """Torchvision's basic block with `attn` after bn2."""

    attn: nn.Module | None
    site: Site | None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        f = self.relu(self.bn1(self.conv1(x)))
        f = self.bn2(self.conv2(f))
        h = x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(attend(self, x, h, f) + h)
        return out


class BottleneckAttn(resnet.Bottleneck):
    """Torchvision's bottleneck with `attn` after bn3."""

    attn: nn.Module | None
    site: Site | None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        f = self.relu(self.bn1(self.conv1(x)))
        f = self.relu(self.bn2(self.conv2(f)))
        f = self.bn3(self.conv3(f))
        h = x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(attend(self, x, h, f) + h)
        return out


EXPLICIT: dict[type[nn.Module], type[nn.Module]] = {
    resnet.BasicBlock: BasicBlockAttn,
    resnet.Bottleneck: BottleneckAttn,
}


def _small_image_stem(name: str, net: nn.Module) -> None:
    """Make the stem a 3x3 convolution of stride 1 without pooling, started as torchvision's."""
    if not isinstance(net, resnet.ResNet):
        raise UsageError(
            f"--arch: stem=cifar is for torchvision's ResNet family, got {name!r}",
            hint="torchvision:resnet18(stem=cifar)",
        )
    width = net.conv1.out_channels
    net.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
    net.maxpool = nn.Identity()
