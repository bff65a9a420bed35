"""RepVGG block (Ding et al. 2021, arXiv 2101.03697).

    y = BN(conv3(x)) + BN(conv1(x)) + BN(x)      the last if i = o and the stride is 1

Differs from the authors' code: dilation and padding mode reach every branch.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from qr_cli.attention.srp.block import Block, Shape, part


class RepVGG(Block):
    """A 3x3, a 1x1 and an identity branch, each with a BN."""

    kind = "repvgg"
    deploy_name = "rbr_reparam"
    kernels = (3,)
    provenance: ClassVar = {"branches": "official"}

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.rbr_identity = self.new_norm(self.in_channels) if shape.has_identity else None
        self.rbr_dense = self.new_branch(3, padding=shape.padding)
        self.rbr_1x1 = self.new_branch(1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, i, H, W) -> (B, o, H', W')."""
        y: Tensor = self.rbr_dense(x) + self.rbr_1x1(x)
        return y if self.rbr_identity is None else y + self.rbr_identity(x)

    def main(self) -> tuple[Tensor, nn.BatchNorm2d]:
        """Return the 3x3 branch."""
        return self.rbr_dense.get_parameter("conv.weight"), part(self.rbr_dense, "bn")

    def sides(self) -> list[nn.BatchNorm2d]:
        """Return the BNs of 1x1 and identity."""
        norms = [part(self.rbr_1x1, "bn")]
        return norms if self.rbr_identity is None else [*norms, self.rbr_identity]
