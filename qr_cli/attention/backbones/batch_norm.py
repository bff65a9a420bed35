"""A batch norm with attention behind it: how attention enters torchvision's residual blocks.

The last BN of a block becomes a `BatchNormAttn` in place: same weights, same keys, one child more.
``nn.SyncBatchNorm.convert_sync_batchnorm`` replaces batch norms by new objects: convert first,
attach second. (The engine's own way to share statistics, `engine.sync_bn`, keeps the child.)
Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn


class BatchNormAttn(nn.BatchNorm2d):
    """Batch normalisation followed by its child `attn`."""

    if TYPE_CHECKING:  # TorchScript would read the annotation, and does not know nn.Module
        attn: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        out: Tensor = self.attn(self.normalize(input))
        return out

    def normalize(self, input: Tensor) -> Tensor:
        """Return the normalised map, (B, C, H, W) -> (B, C, H, W)."""
        self._check_input_dim(input)
        factor = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # cumulative average
                factor = 1.0 / float(self.num_batches_tracked)
        tracked = not self.training or self.track_running_stats
        mean = self.running_mean if tracked else None
        var = self.running_var if tracked else None
        by_batch = self.training or mean is None
        return F.batch_norm(input, mean, var, self.weight, self.bias, by_batch, factor, self.eps)


class PassThrough(nn.Module):
    """What is left of a batch norm whose work another module does; it may hold `attn` too.

    A re-parameterization block in the place of the convolution has done the normalising.
    """

    attn: nn.Module | None

    def __init__(self, attn: nn.Module | None = None) -> None:
        super().__init__()
        self.attn = attn

    @classmethod
    def of(cls, norm: nn.Module) -> PassThrough:
        """Return one that holds the attention of `norm`, if it has any."""
        return cls(getattr(norm, "attn", None))

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        if self.attn is None:
            return input
        out: Tensor = self.attn(input)
        return out


def is_plain_batch_norm(module: nn.Module) -> bool:
    """Whether `module` can become a `BatchNormAttn`: exactly nn.BatchNorm2d, or one already."""
    return type(module) in (nn.BatchNorm2d, BatchNormAttn)


def holds_attention(module: object) -> bool:
    """Whether attention was put into what is, or was, a batch norm."""
    return isinstance(module, BatchNormAttn | PassThrough) and module.attn is not None


def hold(norm: nn.Module, attn: nn.Module) -> None:
    """Put attention into a batch norm, in place."""
    if not isinstance(norm, PassThrough):
        norm.__class__ = BatchNormAttn
    norm.attn = attn


def release(norm: nn.Module) -> None:
    """Take attention out again, in place."""
    del norm.attn
    if isinstance(norm, PassThrough):
        norm.attn = None
    else:
        norm.__class__ = nn.BatchNorm2d
