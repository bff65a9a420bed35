"""Batch normalisation whose statistics are those of the whole batch, on any device.

With it, N processes train like one (torch's own `SyncBatchNorm` refuses CPUs, and its converter
replaces subclasses that carry more than the normalisation). Mean and variance are reduced by two
differentiable all-reduces; the running buffers follow as in `torch.nn.BatchNorm2d`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F


def synchronize(model: nn.Module) -> nn.Module:
    """Let the batch-norm layers of `model` use the statistics of all processes, in place.

    Meant are torch's own layers, and subclasses that normalise in a method `normalize` and do more
    in their forward.
    """
    for module in model.modules():
        kind = type(module)
        if kind in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
            module.__class__ = type(f"Synced{kind.__name__}", (kind,), {"forward": _normalize})
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and hasattr(kind, "normalize"):
            module.__class__ = type(f"Synced{kind.__name__}", (kind,), {"normalize": _normalize})
    return model


class _Sum(torch.autograd.Function):
    """Sum over all processes, whose gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.contiguous().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient)


def _normalize(self: Any, x: Tensor) -> Tensor:
    if not self.training:
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )
    axes = [axis for axis in range(x.dim()) if axis != 1]
    shape = [1, -1] + [1] * (x.dim() - 2)
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    local = wide.new_tensor(wide.numel() / wide.shape[1])
    moments = _Sum.apply(torch.cat([wide.sum(axes), local[None]]))
    count = moments[-1].detach()
    mean = moments[:-1] / count
    centred = wide - mean.view(shape)
    var = _Sum.apply(centred.square().sum(axes)) / count
    if self.track_running_stats:
        _follow(self, mean.detach(), var.detach() * count / (count - 1))
    out = centred * torch.rsqrt(var + self.eps).view(shape)
    if self.affine:
        out = out * self.weight.view(shape) + self.bias.view(shape)
    return out.to(x.dtype)


@torch.no_grad()
def _follow(layer: Any, mean: Tensor, var: Tensor) -> None:
    """Move the running statistics as `torch.nn.BatchNorm2d` does."""
    layer.num_batches_tracked.add_(1)
    rate = 1 / int(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
    layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), rate)
    layer.running_var.lerp_(var.to(layer.running_var.dtype), rate)
