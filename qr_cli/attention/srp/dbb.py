"""Diverse branch block (Ding et al. 2021, arXiv 2103.13425).

    y = BN(conv_k(x)) + BN(conv1(x))
      + BN2(conv_k(P(BN1((I + D) x))))           D: 1x1 convolution, 0 at the start
      + BN2(average_k(P(BN1(conv1(x)))))

P pads by d (k - 1) / 2 with what its BN makes of 0, beta - mean gamma / sqrt(var + eps): running
statistics, detached, in training too, as the authors do. So the 1x1 convolution commutes with the
padding and both branches fold exactly, the border included. With `internal` other than i the
third branch begins with an ordinary 1x1 convolution of that width.
Depthwise (g = o): no second branch, internal = 2i, and the last is BN(average_k(x)), zeros counted.
Differs from the authors' code: with dilation (theirs fails) the average is a dilated convolution
with kernel 1 / k^2 [ours].
"""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qr_cli.attention.srp.block import Block, Shape, identity_kernel, part
from qr_cli.errors import UsageError


class DBB(Block):
    """Four branches: kxk, 1x1, 1x1 then kxk, average."""

    kind = "dbb"
    deploy_name = "dbb_reparam"
    limits: ClassVar = {"internal": (1, 65536)}
    provenance: ClassVar = {"internal": "official", "dilation": "ours"}

    def __init__(self, shape: Shape, *, internal: int | None = None) -> None:
        super().__init__(shape)
        if shape.padding_mode != "zeros":
            raise UsageError(f"dbb: the padding must be zeros, got {shape.padding_mode}")
        k, p, dense = shape.kernel, shape.padding, shape.groups < shape.out_channels
        width = internal or (shape.in_channels if dense else 2 * shape.in_channels)
        if width % shape.groups:
            raise UsageError(f"dbb: internal={width} is no multiple of {shape.groups} groups")
        self.dbb_origin = self.new_branch(k, padding=p)
        first: tuple[str, nn.Module] = ("conv1", self.new_conv(1, out_channels=width, stride=1))
        if width == shape.in_channels:
            first = ("idconv1", IdentityConv(width, groups=shape.groups))
        self.dbb_1x1_kxk = nn.Sequential(
            OrderedDict(
                [
                    first,
                    ("bn1", PaddedNorm(self.new_norm(width), p)),
                    ("conv2", self.new_conv(k, in_channels=width)),
                    ("bn2", self.new_norm(self.out_channels)),
                ]
            )
        )
        average = Average(k, shape.stride, 0 if dense else p, shape.dilation)
        last = {"avg": average, "avgbn": self.new_norm(self.out_channels)}
        if dense:
            self.dbb_1x1 = self.new_branch(1)
            pointwise = self.new_conv(1, stride=1)
            padded = PaddedNorm(self.new_norm(self.out_channels), p)
            last = {"conv": pointwise, "bn": padded, **last}
        self.dbb_avg = nn.Sequential(OrderedDict(last))

    def forward(self, x: Tensor) -> Tensor:
        """(B, i, H, W) -> (B, o, H', W')."""
        y: Tensor = self.dbb_origin(x) + self.dbb_1x1_kxk(x) + self.dbb_avg(x)
        return y + self.dbb_1x1(x) if "dbb_1x1" in self._modules else y

    def main(self) -> tuple[Tensor, nn.BatchNorm2d]:
        """Return the kxk branch."""
        return self.dbb_origin.get_parameter("conv.weight"), part(self.dbb_origin, "bn")

    def sides(self) -> list[nn.BatchNorm2d]:
        """Return the last BNs of the other branches."""
        norms = [part(self.dbb_1x1_kxk, "bn2"), part(self.dbb_avg, "avgbn")]
        return [*norms, part(self.dbb_1x1, "bn")] if "dbb_1x1" in self._modules else norms


class IdentityConv(nn.Conv2d):
    """The 1x1 convolution I + D; D is the parameter, 0 at the start."""

    id_tensor: Tensor

    def __init__(self, channels: int, *, groups: int) -> None:
        super().__init__(channels, channels, 1, groups=groups, bias=False)
        nn.init.zeros_(self.weight)
        eye = identity_kernel(channels, channels // groups, self.weight.detach())
        self.register_buffer("id_tensor", eye, persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return F.conv2d(input, self.weight + self.id_tensor, groups=self.groups)


class PaddedNorm(nn.Module):
    """A batch norm, then padding with what it makes of 0."""

    def __init__(self, norm: nn.BatchNorm2d, padding: int) -> None:
        super().__init__()
        self.bn = norm
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H + 2p, W + 2p)."""
        y: Tensor = self.bn(x)
        p = self.padding
        if not p:
            return y
        (b, c, h, w), value = y.shape, padding_value(self.bn).to(y.dtype)
        out = value[None, :, None, None].expand(b, c, h + 2 * p, w + 2 * p).clone()
        out[:, :, p : p + h, p : p + w] = y
        return out


def padding_value(norm: nn.BatchNorm2d) -> Tensor:
    """Return beta - mean gamma / sqrt(var + eps), (C,), detached."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return (norm.bias - norm.running_mean * scale).detach()


class Average(nn.Module):
    """The mean over a k x k window, zeros of the padding counted; also dilated."""

    def __init__(self, kernel: int, stride: int, padding: int, dilation: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.padding, self.dilation = padding, dilation

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H', W')."""
        if self.dilation == 1:
            return F.avg_pool2d(x, self.kernel, self.stride, self.padding)
        c, k = x.shape[1], self.kernel
        weight = x.new_full((c, 1, k, k), 1.0 / (k * k))
        return F.conv2d(x, weight, None, self.stride, self.padding, self.dilation, groups=c)
