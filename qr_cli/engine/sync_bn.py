"""Batch normalisation whose statistics are those of the whole batch, on any device.

With it, N processes train like one (torch's own `SyncBatchNorm` refuses CPUs, and its converter
replaces subclasses that carry more than the normalisation). Mean and variance are reduced by two
differentiable all-reduces; the running buffers follow as in `torch.nn.BatchNorm2d`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


class _Synced(nn.modules.batchnorm._BatchNorm):
    def _check_input_dim(self, x: Tensor) -> None:
        if x.dim() < 2:
            raise ValueError(f"expected at least 2 dimensions, got {x.dim()}")

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        axes = [axis for axis in range(x.dim()) if axis != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        local = wide.new_tensor(wide.numel() / wide.shape[1])
        moments = all_reduce(torch.cat([wide.sum(axes), local[None]]))
        count = moments[-1].detach()
        mean = moments[:-1] / count
        centred = wide - mean.view(shape)
        var = all_reduce(centred.square().sum(axes)) / count
        if self.track_running_stats:
            self._follow(mean.detach(), var.detach() * count / (count - 1))
        out = centred * torch.rsqrt(var + self.eps).view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, var: Tensor) -> None:
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        rate = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        for buffer, value in ((self.running_mean, mean), (self.running_var, var)):
            if buffer is not None:
                buffer.lerp_(value.to(buffer.dtype), rate)


def synchronize(model: nn.Module) -> nn.Module:
    """Let every plain batch-norm layer of `model` use the statistics of all processes, in place."""
    for module in model.modules():
        if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
            module.__class__ = _Synced
    return model
