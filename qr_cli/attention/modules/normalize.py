"""Batch normalisation of pooled vectors, always in float32 (float64 for float64 maps).

y = (u - mean over the batch) / sqrt(variance + eps) * weight + bias
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qr_cli.errors import UsageError


def normalize(bn: nn.BatchNorm1d, u: Tensor) -> Tensor:
    """Apply `bn` in the dtype of `u`, (B, C) -> (B, C), and update its statistics in training.

    Raises:
        UsageError: a training batch of one, which has no variance.
    """
    if bn.training and u.shape[0] == 1:
        raise UsageError(
            "a training batch of 1 cannot be normalised",
            hint="--drop-last, or another --batch-size",
        )
    if bn.weight.dtype == u.dtype:
        normal: Tensor = bn(u)
        return normal
    mean, var = bn.running_mean, bn.running_var
    assert mean is not None and var is not None  # built with statistics
    if bn.training and bn.num_batches_tracked is not None:
        bn.num_batches_tracked.add_(1)
    wide_mean, wide_var = mean.to(u.dtype), var.to(u.dtype)
    weight, bias = bn.weight.to(u.dtype), bn.bias.to(u.dtype)
    momentum = 0.1 if bn.momentum is None else bn.momentum
    y = F.batch_norm(u, wide_mean, wide_var, weight, bias, bn.training, momentum, bn.eps)
    if bn.training:
        with torch.no_grad():
            mean.copy_(wide_mean)
            var.copy_(wide_var)
    return y
