"""What a re-parameterization block is: several branches in place of one convolution and its BN.

A block trains with more parameters than it deploys: without a nonlinearity inside, its branches
fold into a single convolution with bias (`qr_cli.reparam.blocks`). Parameter names inside a block
are those of its authors' code, so that their checkpoints load without a map.
Shapes: B batch, C channels, H height, W width, i input and o output channels, g groups.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from qr_cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Shape:
    """What a block has in common with the convolution and batch norm it stands for."""

    in_channels: int
    out_channels: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1
    dilation: int = 1
    padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros"
    eps: float = 1e-5
    momentum: float | None = 0.1

    @classmethod
    def of(cls, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Shape:
        """Return the shape of a square convolution and the batch norm behind it."""
        return cls(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size[0],
            conv.stride[0],
            conv.groups,
            conv.dilation[0],
            conv.padding_mode,
            norm.eps,
            norm.momentum,
        )

    @property
    def padding(self) -> int:
        """Pixels on each side that keep the size: d (k - 1) / 2."""
        return self.dilation * (self.kernel - 1) // 2

    @property
    def has_identity(self) -> bool:
        """Whether x itself can be a branch."""
        return self.in_channels == self.out_channels and self.stride == 1


class Block(nn.Module):
    """Base of the blocks: a map (B, i, H, W) -> (B, o, H', W') with a fold.

    A subclass takes the shape first, then keyword-only options.

    Class attributes:
        kind: its name, as in ``--srp``.
        deploy_name: what the authors call the folded convolution.
        kernels: the kernel sizes it can have; None for any odd one.
        limits: inclusive bounds of options.
        provenance: where each default comes from.
    """

    kind: ClassVar[str]
    deploy_name: ClassVar[str]
    kernels: ClassVar[tuple[int, ...] | None] = None
    limits: ClassVar[Mapping[str, tuple[float, float]]] = {}
    provenance: ClassVar[Mapping[str, str]] = {}

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        if shape.kernel % 2 == 0 or (self.kernels and shape.kernel not in self.kernels):
            sizes = " or ".join(map(str, self.kernels or ("an odd number",)))
            raise UsageError(f"{self.kind}: the kernel size must be {sizes}, got {shape.kernel}")
        self.shape = shape
        self.in_channels, self.out_channels = shape.in_channels, shape.out_channels

    def main(self) -> tuple[Tensor, nn.BatchNorm2d]:
        """Return kernel and batch norm of the branch that a plain convolution is."""
        raise NotImplementedError

    def sides(self) -> list[nn.BatchNorm2d]:
        """Return the last batch norm of every other branch."""
        raise NotImplementedError

    @torch.no_grad()
    def preserve(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        """Become the function of `conv` and `norm`: they are the main branch, gammas elsewhere 0.

        Those gammas have a gradient, so that the other branches join in training [ours].
        """
        weight, own = self.main()
        weight.copy_(conv.weight)
        own.load_state_dict(norm.state_dict(), strict=False)
        if conv.bias is not None and own.running_mean is not None:
            own.running_mean.sub_(conv.bias)
        for side in self.sides():
            side.weight.zero_()

    def deployed(self, conv: nn.Conv2d) -> nn.Module:
        """Return what takes the block's place when `conv` is what it folds into."""
        return conv

    def extra_repr(self) -> str:
        """Show the shape."""
        s = self.shape
        return f"{s.in_channels}, {s.out_channels}, kernel={s.kernel}, stride={s.stride}"

    def new_norm(self, channels: int) -> nn.BatchNorm2d:
        """Return a batch norm with the eps and momentum of the one replaced."""
        return nn.BatchNorm2d(channels, eps=self.shape.eps, momentum=self.shape.momentum)

    def new_conv(
        self,
        kernel: int | tuple[int, int],
        *,
        padding: int | tuple[int, int] = 0,
        in_channels: int | None = None,
        out_channels: int | None = None,
        stride: int | None = None,
    ) -> nn.Conv2d:
        """Return a convolution without bias; what is not said is the block's own."""
        s = self.shape
        return nn.Conv2d(
            in_channels or s.in_channels,
            out_channels or s.out_channels,
            kernel,
            stride=stride or s.stride,
            padding=padding,
            dilation=s.dilation,
            groups=s.groups,
            bias=False,
            padding_mode=s.padding_mode,
        )

    def new_branch(
        self, kernel: int | tuple[int, int], *, padding: int | tuple[int, int] = 0
    ) -> nn.Sequential:
        """Return ``conv`` and ``bn``."""
        return nn.Sequential(
            OrderedDict(
                conv=self.new_conv(kernel, padding=padding), bn=self.new_norm(self.out_channels)
            )
        )


def part(branch: nn.Module, name: str) -> nn.BatchNorm2d:
    """Return a batch norm of a branch by name, typed."""
    norm = branch.get_submodule(name)
    assert isinstance(norm, nn.BatchNorm2d)
    return norm


def identity_kernel(rows: int, columns: int, like: Tensor) -> Tensor:
    """Return the 1x1 kernel with 1 at [r, r mod columns], (rows, columns, 1, 1)."""
    eye = like.new_zeros(rows, columns, 1, 1)
    eye[torch.arange(rows), torch.arange(rows) % columns] = 1.0
    return eye
