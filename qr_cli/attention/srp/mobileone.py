"""MobileOne block (Vasu et al. 2022, arXiv 2206.04040).

    y = sum_j BN_j(conv_j(x)) + BN(conv1(x)) + BN(x)

The 1x1 branch exists for k > 1, the last one if i = o and the stride is 1. `branches` = 4 [ours;
the authors: 4 in their smallest net, else 1].
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from qr_cli.attention.srp.block import Block, Shape, part


class MobileOne(Block):
    """Several equal branches, a 1x1 one and an identity, each with a BN."""

    kind = "mobileone"
    deploy_name = "reparam_conv"
    limits: ClassVar = {"branches": (1, 64)}
    provenance: ClassVar = {"branches": "ours"}

    def __init__(self, shape: Shape, *, branches: int = 4) -> None:
        super().__init__(shape)
        self.rbr_skip = self.new_norm(self.in_channels) if shape.has_identity else None
        self.rbr_conv = nn.ModuleList(
            self.new_branch(shape.kernel, padding=shape.padding) for _ in range(branches)
        )
        self.rbr_scale = self.new_branch(1) if shape.kernel > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, i, H, W) -> (B, o, H', W')."""
        terms = [branch(x) for branch in self.rbr_conv]
        terms += [branch(x) for branch in (self.rbr_scale, self.rbr_skip) if branch is not None]
        y: Tensor = terms[0]
        for term in terms[1:]:
            y = y + term
        return y

    def main(self) -> tuple[Tensor, nn.BatchNorm2d]:
        """Return the first of the equal branches."""
        return self.rbr_conv[0].get_parameter("conv.weight"), part(self.rbr_conv[0], "bn")

    def sides(self) -> list[nn.BatchNorm2d]:
        """Return the BNs of all other branches."""
        norms = [part(branch, "bn") for branch in self.rbr_conv[1:]]
        if self.rbr_scale is not None:
            norms.append(part(self.rbr_scale, "bn"))
        return norms if self.rbr_skip is None else [*norms, self.rbr_skip]
