"""Correlation of two lists of numbers, by value and by rank. Shapes: N values."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def pearson(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return sum a b / sqrt(sum a^2 sum b^2) of centred values, (N,) x 2 -> [-1, 1].

    None when either is constant.
    """
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 1e-12 * len(a) else None


def spearman(a: Tensor, b: Tensor) -> float | None:
    """Return the Pearson correlation of the ranks (ties share theirs), (N,) x 2 -> [-1, 1].

    None when either is constant: it has no order.
    """
    return pearson(_ranks(a.numpy()), _ranks(b.numpy()))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks, (N,) -> (N,); equal values share the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks
