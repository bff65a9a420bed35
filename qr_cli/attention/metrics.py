"""Classification figures: shares of all images, losses as means, sums in float64.

Shapes: B batch, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F

TOP = 5


def hits(logits: Tensor, labels: Tensor, k: int) -> Tensor:
    """Return the number of images whose label is among the `k` largest logits, int64 scalar.

    Args:
        logits: (B, K).
        labels: (B,), int64.
        k: 1 <= k <= K.
    """
    return (logits.topk(k, dim=1).indices == labels[:, None]).any(1).sum()


def classification(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], accelerator: Accelerator
) -> tuple[dict[str, float], Tensor]:
    """Return figures over all ranks, and whether this rank's images are right, bool (N,).

    The figures are top1, top5 (more than five classes only) and loss (cross-entropy).

    Args:
        model: in evaluation mode; gives logits (B, K).
        batches: this rank's (images, labels).
        accelerator: device and processes.
    """
    sums = torch.zeros(4, dtype=torch.float64)
    classes, right = 0, [torch.empty(0, dtype=torch.bool)]
    for images, labels in batches:
        images, labels = images.to(accelerator.device), labels.to(accelerator.device)
        logits = model(images).float()
        classes = logits.shape[1]
        right.append((logits.argmax(1) == labels).cpu())
        sums += torch.stack(
            [
                hits(logits, labels, 1),
                hits(logits, labels, min(TOP, classes)),
                F.cross_entropy(logits, labels, reduction="sum"),
                labels.new_tensor(len(labels)),
            ]
        ).to("cpu", torch.float64)
    total = accelerator.reduce(sums.to(accelerator.device), "sum")
    top1, top5, loss = (total[:3] / total[3]).tolist()
    figures = {"top1": top1, "top5": top5, "loss": loss}
    if classes <= TOP:
        del figures["top5"]
    return figures, torch.cat(right)
