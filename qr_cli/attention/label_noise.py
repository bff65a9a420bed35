"""Training labels of which a share is wrong, to see what a method makes of it [ours].

Exactly round(p n) of the n labels are replaced, each by one of the other classes drawn uniformly;
which ones, and by what, depends on the seed, n and the number of classes K only: runs that differ
in the network have the same wrong labels. Test labels stay as they are.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from qr_cli.errors import UsageError

_STREAM = 1 << 35  # keeps these draws apart from those of data, augmentation and pixel noise


def relabel(labels: Tensor, classes: int, *, share: float, seed: int) -> Tensor:
    """Return labels of which a share is replaced, int64 (n,) -> (n,).

    Args:
        labels: of the training images.
        classes: K.
        share: p in [0, 1).
        seed: of the draw.

    Raises:
        UsageError: there is no other class.
    """
    if classes < 2:
        raise UsageError(f"--label-noise: there is no other label among {classes} classes")
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, _STREAM], np.uint64)))
    chosen = torch.from_numpy(generator.permutation(len(labels))[: round(share * len(labels))])
    shift = torch.from_numpy(generator.integers(1, classes, len(chosen)))
    noisy = labels.clone()
    noisy[chosen] = (noisy[chosen] + shift) % classes
    return noisy


def sha256(labels: Tensor) -> str:
    """Return the hash of a label vector, as int64 in the machine's byte order."""
    return hashlib.sha256(labels.to(torch.int64).contiguous().numpy().data).hexdigest()
