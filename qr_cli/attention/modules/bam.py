"""Bottleneck attention (Park et al. 2018, arXiv 1807.06514), at the end of a stage.

    ch = L2 relu(BN(L1 mean over H, W of f))                                    (B, C)
    sp = out(relu(BN(conv(relu(BN(conv(relu(BN(reduce(f)))))))))                (B, 1, H, W)
    gate = 1 + sigmoid(ch sp)                                                   (B, C, H, W)

reduce: 1x1 to m = max(1, C // 16); conv: 3x3 with dilation 4; out: 1x1 to 1; all biased. The
convolutions have a Kaiming-normal start (fan out) and biases 0. It stands at the end of every stage
but the last. The authors' class cannot be constructed (an undefined name); this one can.
Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from qr_cli.attention.modules import gate as gates
from qr_cli.attention.modules.contract import ChannelAttention, Ctx, linear, precise
from qr_cli.attention.modules.normalize import normalize


class BAM(ChannelAttention):
    """Gate 1 + sigmoid(channel part times spatial part)."""

    squeeze_kind = "none"
    constant_input = "no"
    constant_reason = "spatial attention is not a constant per channel"
    place = "stage-end"
    provenance: ClassVar = {"layers": "official", "stages": "official", "at least 1": "ours"}

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        width = max(1, channels // 16)
        self.channel = ChannelPart(channels, width)
        self.spatial = SpatialPart(channels, width)

    @classmethod
    def default_stages(cls, stages: int) -> tuple[int, ...]:
        """Return all stages but the last."""
        return tuple(range(1, stages))

    def gate(self, f: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return 1 + sigmoid(ch sp), (B, C, H, W)."""
        with precise(f):
            return (1 + self.excess(f)).to(f.dtype)

    def forward(self, f: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return f + sigmoid(ch sp) f, without forming the gate itself."""
        with precise(f):
            return torch.addcmul(f, f, self.excess(f).to(f.dtype))

    def excess(self, f: Tensor) -> Tensor:
        """Return sigmoid(ch sp), (B, C, H, W); the product as a matrix product, whose backward
        pass needs no map-sized temporary, where the layout allows it.
        """
        channel, spatial = self.channel(f), self.spatial(f)
        if not f.is_contiguous():
            return torch.sigmoid(channel * spatial)
        product = torch.bmm(channel.flatten(2), spatial.flatten(2))  # (B, C, HW)
        return product.sigmoid_().view(f.shape)


class ChannelPart(nn.Module):
    """L2 relu(BN(L1 mean(f)))."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, width)
        self.bn = nn.BatchNorm1d(width)
        self.fc2 = nn.Linear(width, channels)

    def forward(self, f: Tensor) -> Tensor:
        """Map (B, C, H, W) -> (B, C, 1, 1)."""
        hidden = torch.relu(normalize(self.bn, linear(self.fc1, gates.spatial_mean(f))))
        return linear(self.fc2, hidden)[:, :, None, None]


class SpatialPart(nn.Module):
    """Three convolutions of a narrowed map, each normalised, and one to a single channel."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, width, 1)
        self.bn0 = nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=4, dilation=4)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=4, dilation=4)
        self.bn2 = nn.BatchNorm2d(width)
        self.out = nn.Conv2d(width, 1, 1)
        self._start()

    def forward(self, f: Tensor) -> Tensor:
        """Map (B, C, H, W) -> (B, 1, H, W)."""
        y = f.to(gates.accumulator(f))
        for conv, bn in ((self.reduce, self.bn0), (self.conv1, self.bn1), (self.conv2, self.bn2)):
            y = torch.relu(bn(conv(y)))
        spatial: Tensor = self.out(y)
        return spatial

    def reset_parameters(self) -> None:
        """Reset the layers, then the official start of the convolutions."""
        for layer in self.children():
            if isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
                layer.reset_parameters()
        self._start()

    def _start(self) -> None:
        for layer in (self.reduce, self.conv1, self.conv2, self.out):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
