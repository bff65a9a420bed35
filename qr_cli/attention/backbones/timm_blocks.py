"""Attention in timm's ResNet blocks with the forward written out (imports timm).

Needed for modules that see more than f; everything else goes into timm's own slot `se`. The order
of timm's layers is kept: a basic block drops before act1, a bottleneck before act2; anti-aliasing
follows; attention stands after the last BN, before drop_path.
Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from timm.models import _efficientnet_blocks as efficientnet
from timm.models import resnet
from torch import Tensor, nn

from qr_cli.attention.backbones.site import Site, attend


class BasicBlockAttn(resnet.BasicBlock):
    """timm's basic block with `attn` after bn2."""

    attn: nn.Module | None
    site: Site | None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        f = self.act1(self.drop_block(self.bn1(self.conv1(x))))
        f = self.aa(f)  # type: ignore[misc]  # timm types it optional; it never is None
        f = self.bn2(self.conv2(f))
        out: Tensor = self.act2(_join(self, x, f))
        return out


class BottleneckAttn(resnet.Bottleneck):
    """timm's bottleneck with `attn` after bn3."""

    attn: nn.Module | None
    site: Site | None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        f = self.act1(self.bn1(self.conv1(x)))
        f = self.act2(self.drop_block(self.bn2(self.conv2(f))))
        f = self.aa(f)  # type: ignore[misc]
        f = self.bn3(self.conv3(f))
        out: Tensor = self.act3(_join(self, x, f))
        return out


EXPLICIT: dict[type[nn.Module], type[nn.Module]] = {
    resnet.BasicBlock: BasicBlockAttn,
    resnet.Bottleneck: BottleneckAttn,
}
# class with a slot after its depthwise (or expanding) convolution -> that convolution, the last one
INVERTED: dict[type[nn.Module], tuple[str, str]] = {
    efficientnet.InvertedResidual: ("conv_dw", "conv_pwl"),
    efficientnet.DepthwiseSeparableConv: ("conv_dw", "conv_pw"),
    efficientnet.EdgeResidual: ("conv_exp", "conv_pwl"),
}
# residual blocks of the same networks without a slot
SLOTLESS: tuple[type[nn.Module], ...] = (efficientnet.ConvBnAct,)


def _join(block: BasicBlockAttn | BottleneckAttn, x: Tensor, f: Tensor) -> Tensor:
    """Return drop_path(attn(f)) + h(x)."""
    h = x if block.downsample is None else block.downsample(x)
    f = attend(block, x, h, f)
    if block.drop_path is not None:
        f = block.drop_path(f)
    return f + h
