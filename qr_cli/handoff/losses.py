"""What is minimised (section "Loss" of the docs).

    L = L_main + a L_score + b L_senti + c L_cost

Each term is a mean over dialogues or labelled turns; a term without labels is 0.
Shapes: B dialogues, T utterances.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from qr_cli.handoff.cem import Scores
from qr_cli.handoff.corpus import Batch, spread_roles

TINY = 1e-9


def main_loss(odds: Tensor, handoff: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the mean over dialogues of the mean cross-entropy of their labelled turns."""
    known = ~handoff.isnan()
    each = F.binary_cross_entropy_with_logits(
        odds, torch.where(known, handoff, 0.0), reduction="none"
    )
    if weight is not None:
        known = known * weight
    per = (each * known).sum(1) / known.sum(1).clamp(min=TINY)
    some = known.sum(1) > 0
    return (per * some).sum() / some.sum().clamp(min=1)


def score_loss(scores: Scores, batch: Batch) -> Tensor:
    """Return -log of the share of the gold satisfaction, over dialogues that have one."""
    if scores.overall is None:
        return scores.odds.new_zeros(())
    gold = batch["satisfaction"]
    spoke = (spread_roles(batch) * batch["mask"]).any(1)
    some = (gold >= 0) & spoke
    share = scores.overall.gather(1, gold.clamp(min=0)[:, None]).squeeze(1)
    return -((share + TINY).log() * some).sum() / some.sum().clamp(min=1)


def sentiment_loss(scores: Scores, batch: Batch) -> Tensor:
    """Return -log of the share of the gold state, over labelled customer turns."""
    if scores.local is None:
        return scores.odds.new_zeros(())
    gold = batch["sentiment"]
    some = (gold >= 0) & spread_roles(batch).bool() & batch["mask"]
    share = scores.local.gather(2, gold.clamp(min=0)[..., None]).squeeze(2)
    return -((share + TINY).log() * some).sum() / some.sum().clamp(min=1)


def cost_loss(odds: Tensor, needed: Tensor) -> Tensor:
    """Return the counterfactual labour cost: the mean of p~ (1 - S).

    S says how much a human would have been needed; only transfers that it calls unneeded cost.
    The minimiser of cross-entropy plus c p (1 - S) is q - c (1 - S) q (1 - q) to first order: at
    most c / 4 lower.
    """
    known = ~needed.isnan()
    each = torch.sigmoid(odds) * (1 - torch.where(known, needed, 1.0))
    return (each * known).sum() / known.sum().clamp(min=1)
