"""Operating points: what is fitted on labelled dialogues, and the decisions that follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from qr_cli.handoff.build import odds_of
from qr_cli.handoff.calibrate import Calibration, Kind, best_threshold, fit, sigmoid
from qr_cli.handoff.cem import Scores
from qr_cli.handoff.corpus import Corpus
from qr_cli.handoff.metrics import evaluate
from qr_cli.handoff.mhch import digest, fold_of

QUANTILE = 0.9  # of signals, above which they are a reason


def labels_of(corpus: Corpus) -> list[np.ndarray]:
    """Return the labels of each dialogue."""
    return [corpus.handoff[corpus.turns(i)] for i in range(len(corpus))]


def known_of(
    odds: Sequence[np.ndarray], labels: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores and labels of labelled utterances, flattened."""
    flat, label = np.concatenate(list(odds)), np.concatenate(list(labels))
    keep = ~np.isnan(label)
    return flat[keep].astype(float), label[keep].astype(float)


def figures_of(odds: Sequence[np.ndarray], corpus: Corpus) -> dict[str, float]:
    """Return validation figures at the best threshold of these very dialogues."""
    labels = labels_of(corpus)
    flat, label = known_of(odds, labels)
    threshold = best_threshold(sigmoid(flat), label)
    p = [sigmoid(d) for d in odds]
    found = evaluate(labels, [x >= threshold for x in p], p)
    return {
        "val_loss": found["nll"],
        **{f"val_{k}": found[k] for k in ("f1", "macro_f1", "auc", "gt1")},
        "val_threshold": threshold,
    }


def fit_on(kind: Kind, scores: Sequence[Scores], corpus: Corpus) -> Calibration:
    """Fit calibration, threshold and the quantiles of reasons on labelled dialogues."""
    odds, labels = odds_of(scores), labels_of(corpus)
    flat, label = known_of(odds, labels)
    found = fit(kind, flat, label)
    found.validated = best_threshold(sigmoid(flat), label)
    highest = [
        float(np.max(found(d)[~np.isnan(y)])) if not np.isnan(y).all() else 0.0
        for d, y in zip(odds, labels, strict=True)
    ]
    found.sessions = [round(p, 6) for p in sorted(highest)]
    found.quantiles = signal_quantiles(scores, corpus)
    found.data = digest(corpus.dialogues)
    return found


def signal_quantiles(scores: Sequence[Scores], corpus: Corpus) -> dict[str, float]:
    """Return the 90 % quantiles of the running negative state and of its slope."""
    if scores[0].state is None or scores[0].local is None:
        return {}
    negative, slopes = [], []
    for index, score in enumerate(scores):
        role = corpus.role[corpus.turns(index)]
        local = np.asarray(score.local)[role == 1, 0]
        negative.append(np.asarray(score.state)[:, 0])
        slopes += [slope(local[k - 2 : k + 1]) for k in range(2, len(local))]
    return {
        "negative_state": float(np.quantile(np.concatenate(negative), QUANTILE)),
        "worsening_state": float(np.quantile(slopes, QUANTILE)) if slopes else 0.1,
    }


def slope(values: Any) -> float:
    """Return the least-squares slope of values at 0, 1, 2, ..; 0 for fewer than three."""
    values = np.asarray(values, float)
    if len(values) < 3:
        return 0.0
    x = np.arange(len(values)) - (len(values) - 1) / 2
    return float((x * values).sum() / (x * x).sum())


def crossfit(
    odds: Sequence[np.ndarray], labels: Sequence[np.ndarray], *, folds: int, kind: Kind = "platt"
) -> tuple[list[float], list[np.ndarray]]:
    """Return, for each dialogue, threshold and calibrated p found on the other folds.

    Returns:
        The validated threshold on sigmoid(d~) per dialogue, and its calibrated probabilities.
    """
    fold = np.array(fold_of(len(odds), folds))
    thresholds = [0.0] * len(odds)
    calibrated: list[Any] = [None] * len(odds)
    for number in range(folds):
        others = np.flatnonzero(fold != number).tolist()
        flat, label = known_of([odds[i] for i in others], [labels[i] for i in others])
        threshold, fitted = best_threshold(sigmoid(flat), label), fit(kind, flat, label)
        for index in map(int, np.flatnonzero(fold == number)):
            thresholds[index], calibrated[index] = threshold, fitted(odds[index])
    return thresholds, calibrated
