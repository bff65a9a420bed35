"""What is minimised beside the words: the figure's class, and what stands in each patch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def marks_loss(scores: Tensor, marks: Tensor) -> Tensor:
    """Return the summed binary cross-entropies of what stands in patches ``(B, 49, M)``."""
    return F.binary_cross_entropy_with_logits(scores, marks, reduction="sum")


def figure_loss(scores: Tensor, relations: Tensor) -> tuple[Tensor, Tensor]:
    """Return summed cross-entropy of the figures' classes and how many are right.

    Args:
        scores: of all families' classes ``(B, R)``.
        relations: first score, number of classes, class ``(B, 3)``; -1 for none.
    """
    known = relations[:, 0] >= 0
    scores, (first, count, right) = scores[known], relations[known].unbind(1)
    at = torch.arange(scores.shape[1])
    own = (at >= first[:, None]) & (at < (first + count)[:, None])
    scores = scores.masked_fill(~own, -1e9)
    hits = (scores.argmax(1) == first + right).sum().to(scores.dtype)
    return F.cross_entropy(scores, first + right, reduction="sum"), hits
