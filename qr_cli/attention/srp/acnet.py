"""Asymmetric convolution block (Ding et al. 2019, ACNet, arXiv 1908.03930).

    y = BN(conv_kxk(x)) + BN(conv_kx1(x)) + BN(conv_1xk(x))

`gamma` is the start of every BN's gamma; 1 as in the authors' code, who advise 1/3 for CIFAR.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from qr_cli.attention.srp.block import Block, Shape


class ACNet(Block):
    """A square, a vertical and a horizontal convolution, each with a BN."""

    kind = "acnet"
    deploy_name = "fused_conv"
    limits: ClassVar = {"gamma": (0.0, 10.0)}
    provenance: ClassVar = {"gamma": "official"}

    def __init__(self, shape: Shape, *, gamma: float = 1.0) -> None:
        super().__init__(shape)
        k, p = shape.kernel, shape.padding
        self.square_conv = self.new_conv(k, padding=p)
        self.square_bn = self.new_norm(self.out_channels)
        self.ver_conv = self.new_conv((k, 1), padding=(p, 0))
        self.ver_bn = self.new_norm(self.out_channels)
        self.hor_conv = self.new_conv((1, k), padding=(0, p))
        self.hor_bn = self.new_norm(self.out_channels)
        for norm in (self.square_bn, self.ver_bn, self.hor_bn):
            nn.init.constant_(norm.weight, gamma)

    def forward(self, x: Tensor) -> Tensor:
        """(B, i, H, W) -> (B, o, H', W')."""
        y: Tensor = self.square_bn(self.square_conv(x)) + self.ver_bn(self.ver_conv(x))
        return y + self.hor_bn(self.hor_conv(x))

    def main(self) -> tuple[Tensor, nn.BatchNorm2d]:
        """Return the square branch."""
        return self.square_conv.weight, self.square_bn

    def sides(self) -> list[nn.BatchNorm2d]:
        """Return the BNs of the two asymmetric branches."""
        return [self.ver_bn, self.hor_bn]
