"""Figures of handoff decisions, from labels, scores and predictions (NumPy alone).

Utterances with a label count, flattened over dialogues; GT is per dialogue. All figures are in
[0, 1] but costs and counts. Conventions:

- F1 is of class 1 (0 where undefined). Macro-F1 is the mean of the classes that occur in labels or
  predictions (CEM, RSSN). The DAMI form averages precision and recall first.
- GT-T (Liu et al., DAMI, AAAI 2021) forgives a transfer that is T turns early or late. A dialogue
  without transfers and without alarms counts 1, a miss costs nothing once one alarm exists: GT
  grows while recall collapses, so it is shown beside trivial policies only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from qr_cli.errors import UsageError

Array = np.ndarray
TINY = 1e-10  # of the DAMI form
EPSILON = 1e-7  # of GT
BINS = 15  # of the calibration error


def confusion(label: Array, predicted: Array) -> tuple[int, int, int, int]:
    """Return true positives, false transfers, missed transfers, true negatives."""
    label, predicted = np.asarray(label, bool), np.asarray(predicted, bool)
    hit = int((label & predicted).sum())
    false, missed = int(predicted.sum()) - hit, int(label.sum()) - hit
    return hit, false, missed, len(label) - hit - false - missed


def f1_scores(label: Array, predicted: Array) -> dict[str, float]:
    """Return F1, Macro-F1, the DAMI forms, accuracy, macro precision and recall."""
    hit, false, missed, rest = confusion(label, predicted)
    both = [(hit, false, missed), (rest, missed, false)]  # class 1, class 0
    each = [_ratio(2 * h, 2 * h + f + m) for h, f, m in both]
    present = [sum(counts) > 0 for counts in both]
    macro = np.mean([f for f, there in zip(each, present, strict=True) if there] or [0.0])
    precision = [h / (h + f + TINY) for h, f, _ in both]
    recall = [h / (h + m + TINY) for h, _, m in both]
    a, b = sum(precision) / 2, sum(recall) / 2
    found = {
        "f1": each[0],
        "macro_f1": float(macro),
        "macro_f1_dami": 2 * a * b / (a + b + TINY),
        "accuracy": _ratio(hit + rest, hit + false + missed + rest),
        "macro_precision": float(np.mean([_ratio(h, h + f) for h, f, _ in both])),
        "macro_recall": float(np.mean([_ratio(h, h + m) for h, _, m in both])),
        "precision": _ratio(hit, hit + false),
        "recall": _ratio(hit, hit + missed),
    }
    for name, beta in (("f1_dami", 1.0), ("f05_dami", 0.5), ("f2_dami", 2.0)):
        p, r = precision[0], recall[0]
        found[name] = (1 + beta**2) * p * r / (beta**2 * p + r + TINY)
    return found


def area_under_curve(score: Array, label: Array) -> float:
    """Return the area under the ROC curve, ties counted half; not-a-number for one class."""
    score, label = np.asarray(score, float), np.asarray(label, bool)
    positives = int(label.sum())
    negatives = len(label) - positives
    if not positives or not negatives:
        return math.nan
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2  # mean rank of ties
    total = rank[inverse][label].sum()
    return float((total - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(score: Array, label: Array) -> float:
    """Return the sum of precision times gained recall over thresholds; not-a-number without 1s."""
    score, label = np.asarray(score, float), np.asarray(label, bool)
    if not label.any():
        return math.nan
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(label[order])
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    precision = hits[last] / (last + 1)
    gained = np.diff(np.append(0, hits[last])) / hits[-1]
    return float((precision * gained).sum())


def brier(p: Array, label: Array) -> float:
    """Return the mean squared difference of probability and label."""
    return float(np.mean((np.asarray(p, float) - np.asarray(label, float)) ** 2))


def log_loss(p: Array, label: Array) -> float:
    """Return the mean negative log-likelihood, with p clipped to [1e-12, 1 - 1e-12]."""
    p, label = np.clip(np.asarray(p, float), 1e-12, 1 - 1e-12), np.asarray(label, float)
    return float(-np.mean(label * np.log(p) + (1 - label) * np.log1p(-p)))


def calibration_error(
    p: Array, label: Array, *, equal_mass: bool = False, bins: int = BINS
) -> float:
    """Return the expected calibration error over bins of p of equal width, or of equal mass."""
    p, label = np.asarray(p, float), np.asarray(label, float)
    if not len(p):
        return math.nan
    if equal_mass:
        rank = np.argsort(np.argsort(p, kind="stable"), kind="stable")
        place = rank * bins // len(p)
    else:
        place = np.minimum((p * bins).astype(int), bins - 1)
    gap = np.bincount(place, p - label, minlength=bins)
    return float(np.abs(gap).sum() / len(p))


def gt_score(gold: Array, predicted: Array, t: int, lam: float = 0.0) -> float:
    """Return GT-t of one dialogue.

    Both without transfers: 1. Exactly one without: 0. Else the mean over predicted positions p of
    max over gold positions q of exp(-(p - q)^2 / [(1 - lam sign(p - q)) 2 (t + 1e-7)^2]).

    Args:
        gold: 0 or 1 per utterance.
        predicted: 0 or 1 per utterance.
        t: tolerance in utterances, a positive whole number.
        lam: in (-1, 1); above 0 punishes late transfers more.

    Raises:
        UsageError: t or lam is out of range.
    """
    check_gt(t, lam)
    q, p = np.flatnonzero(gold), np.flatnonzero(predicted)
    if not len(q) or not len(p):
        return float(len(q) == len(p))
    gap = (p[:, None] - q[None]).astype(float)
    width = (1 - lam * np.sign(gap)) * 2 * (t + EPSILON) ** 2
    return float(np.exp(-(gap**2) / width).max(1).mean())


def check_gt(t: int, lam: float) -> None:
    """Raise `UsageError` where GT is not defined."""
    if isinstance(t, bool) or int(t) != t or t < 1:
        raise UsageError(f"GT needs a positive whole tolerance, got {t}")
    if not -1 < lam < 1:
        raise UsageError(f"--lambda: must lie between -1 and 1, got {lam}")


def gt_scores(
    gold: Sequence[Array], predicted: Sequence[Array], lam: float = 0.0
) -> tuple[Array, Array, Array]:
    """Return GT-1, GT-2 and GT-3 of each dialogue."""
    return tuple(
        np.array([gt_score(g, p, t, lam) for g, p in zip(gold, predicted, strict=True)])
        for t in (1, 2, 3)
    )  # type: ignore[return-value]


def session_figures(
    gold: Sequence[Array], predicted: Sequence[Array], cost_false: float, cost_miss: float
) -> dict[str, float]:
    """Return figures of the first alarm of each dialogue."""
    raised = np.array([bool(np.any(p)) for p in predicted])
    needed = np.array([bool(np.any(g)) for g in gold])
    hits = raised & needed
    delays = [
        int(np.argmax(p)) - int(np.argmax(g))
        for g, p, hit in zip(gold, predicted, hits, strict=True)
        if hit
    ]
    delay = np.array(delays)
    false, missed = int((raised & ~needed).sum()), int((needed & ~raised).sum())
    return {
        "sessions_raised": float(raised.mean()),
        "sessions_needed": float(needed.mean()),
        "session_recall": _ratio(int(hits.sum()), int(needed.sum())),
        "session_precision": _ratio(int(hits.sum()), int(raised.sum())),
        "first_within_2": float((np.abs(delay) <= 2).mean()) if len(delay) else math.nan,
        "first_later": float((delay > 2).mean()) if len(delay) else math.nan,
        "first_earlier": float((delay < -2).mean()) if len(delay) else math.nan,
        "session_cost": (cost_false * false + cost_miss * missed) / max(1, len(raised)),
    }


def evaluate(
    label: Sequence[Array],
    predicted: Sequence[Array],
    p: Sequence[Array] | None = None,
    *,
    lam: float = 0.0,
    cost_false: float = 1.0,
    cost_miss: float = 3.0,
) -> dict[str, Any]:
    """Return all figures of dialogues.

    Args:
        label: per dialogue, 0, 1, a share (1 from 0.5 on) or not-a-number per utterance.
        predicted: per dialogue, whether each utterance is transferred.
        p: per dialogue, scores in [0, 1]; without them there are no areas.
        lam: of GT.
        cost_false: of a false transfer.
        cost_miss: of a missed one.
    """
    known = [~np.isnan(np.asarray(y, float)) for y in label]
    hard = [np.asarray(y, float) >= 0.5 for y in label]
    flat = np.concatenate([y[k] for y, k in zip(hard, known, strict=True)])
    alarms = [np.asarray(x, bool) & k for x, k in zip(predicted, known, strict=True)]
    raised = np.concatenate([x[k] for x, k in zip(alarms, known, strict=True)])
    gold = [y & k for y, k in zip(hard, known, strict=True)]
    figures: dict[str, Any] = dict(f1_scores(flat, raised))
    _, false, missed, _ = confusion(flat, raised)
    if p is not None:
        score = np.concatenate([np.asarray(x, float)[k] for x, k in zip(p, known, strict=True)])
        figures |= {
            "auc": area_under_curve(score, flat),
            "ap": average_precision(score, flat),
            "brier": brier(score, flat),
            "nll": log_loss(score, flat),
            "ece": calibration_error(score, flat),
            "ece_equal_mass": calibration_error(score, flat, equal_mass=True),
        }
    for t, scores in enumerate(gt_scores(gold, alarms, lam), start=1):
        figures[f"gt{t}"] = float(scores.mean())
    return figures | {
        "lambda": lam,
        "false_transfers": false,
        "missed_transfers": missed,
        "cost_per_dialogue": (cost_false * false + cost_miss * missed) / max(1, len(label)),
        **session_figures(gold, alarms, cost_false, cost_miss),
        "positives": int(flat.sum()),
        "utterances": len(flat),
        "dialogues": len(label),
    }


def bootstrap(
    figure: Callable[[Array], float], dialogues: int, *, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % interval of a figure over draws of dialogues with replacement.

    Args:
        figure: from the indices of drawn dialogues; a difference of two systems makes it paired.
        dialogues: how many there are.
        draws: how often to draw.
        seed: of the draws.
    """
    rng = np.random.RandomState(seed)
    found = [figure(rng.randint(0, dialogues, dialogues)) for _ in range(draws)]
    low, high = np.nanpercentile(found, [2.5, 97.5])
    return float(low), float(high)


def _ratio(a: float, b: float) -> float:
    return float(a / b) if b else 0.0
