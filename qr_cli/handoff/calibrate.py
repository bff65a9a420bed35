"""From log-odds to a probability, and from a probability to a decision (NumPy alone).

`platt`: sigmoid(a d + b). `temperature`: sigmoid(d / t). `isotonic`: a step function through knots.
Thresholds: `best_threshold` sweeps Macro-F1 over the midpoints of sorted scores; `cost_threshold`
is C_false / (C_false + C_miss), the point above which a transfer is the cheaper decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from qr_cli.errors import MissingExtra, UsageError, WeightsError
from qr_cli.handoff.metrics import calibration_error

Kind = Literal["platt", "temperature", "isotonic", "none"]
STEPS = 100  # of Newton's method, which needs fewer than ten


@dataclass
class Calibration:
    """A fitted map from log-odds to probability, and thresholds found on the same data.

    Attributes:
        kind: which map.
        a: slope of platt, or 1 / temperature.
        b: offset of platt.
        x: knots of isotonic, in log-odds.
        y: their probabilities.
        n: labelled utterances it was fitted on.
        ece_before: calibration error of sigmoid(d) on them.
        ece_after: that of the fitted map on them.
        validated: threshold on the raw probability with the best Macro-F1.
        sessions: highest calibrated p of each session, sorted, for a budget of alarms.
        quantiles: of signals, for reasons.
        data: fingerprint of the data.
    """

    kind: Kind = "none"
    a: float = 1.0
    b: float = 0.0
    x: list[float] = field(default_factory=list)
    y: list[float] = field(default_factory=list)
    n: int = 0
    ece_before: float | None = None
    ece_after: float | None = None
    validated: float | None = None
    sessions: list[float] = field(default_factory=list)
    quantiles: dict[str, float] = field(default_factory=dict)
    data: str = ""

    def __call__(self, odds: Any) -> np.ndarray:
        """Return probabilities."""
        odds = np.asarray(odds, dtype=float)
        if self.kind == "isotonic":
            return np.where(np.isnan(odds), np.nan, np.interp(odds, self.x, self.y))
        return sigmoid(self.a * odds + self.b)

    def to_json(self) -> dict[str, Any]:
        """Return calibration.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any, where: str) -> Calibration:
        """Read calibration.json.

        Raises:
            WeightsError: it is damaged.
        """
        try:
            found = cls(**value)
            for name in ("a", "b", "n"):
                float(getattr(found, name))
            if found.kind not in ("platt", "temperature", "isotonic", "none"):
                raise ValueError(f"unknown kind {found.kind!r}")
            return found
        except (TypeError, ValueError) as error:
            raise WeightsError(f"{where} is damaged: {error}") from error


def sigmoid(odds: Any) -> np.ndarray:
    """Return 1 / (1 + exp(-odds)), without overflow."""
    odds = np.asarray(odds, dtype=float)
    small = np.exp(-np.abs(odds))
    return np.where(odds >= 0, 1 / (1 + small), small / (1 + small))


def fit(kind: Kind, odds: np.ndarray, label: np.ndarray) -> Calibration:
    """Fit a map on labelled utterances.

    Args:
        kind: which map; "none" is sigmoid itself.
        odds: log-odds.
        label: 0, 1 or a share; hard labels count as 1 from 0.5 on.

    Raises:
        MissingExtra: isotonic needs scikit-learn.
        UsageError: the labels have one class only.
    """
    odds, label = np.asarray(odds, float), (np.asarray(label, float) >= 0.5).astype(float)
    if kind != "none" and (not len(label) or label.min() == label.max()):
        raise UsageError(
            f"a calibration needs both classes, got {int(label.sum())} positives of {len(label)}",
            hint="--calibration none",
        )
    found = Calibration(kind, n=len(label))
    if kind == "platt":
        found.a, found.b = _logistic(odds, label)
    elif kind == "temperature":
        found.a = _scale(odds, label)
    elif kind == "isotonic":
        found.x, found.y = _isotonic(odds, label)
    if len(label):
        found.ece_before = calibration_error(sigmoid(odds), label)
        found.ece_after = calibration_error(found(odds), label)
    return found


def best_threshold(p: np.ndarray, label: np.ndarray) -> float:
    """Return the threshold with the best Macro-F1; of ties the larger.

    The candidates are the midpoints between neighbouring scores, and one above and one below all.
    """
    p, label = np.asarray(p, float), np.asarray(label, float) >= 0.5
    order = np.argsort(-p, kind="stable")
    score, hits = p[order], np.append(0, np.cumsum(label[order]))
    count = np.arange(len(p) + 1)
    edge = np.append(True, np.append(score[1:] != score[:-1], True)) if len(p) else np.array([True])
    positives = hits[-1]
    one = _f1(hits, count, positives)
    rest = len(p) - count - (positives - hits)
    zero = _f1(rest, len(p) - count, len(p) - positives)
    there = [(count > 0) | (positives > 0), (count < len(p)) | (positives < len(p))]
    macro = (one * there[0] + zero * there[1]) / np.maximum(1, there[0].astype(int) + there[1])
    macro = np.where(edge, macro, -1.0)
    k = int(np.argmax(macro))  # the first, so the fewest alarms and the larger threshold
    above = 1.0 if k == 0 else score[k - 1]
    below = 0.0 if k == len(p) else score[k]
    if k == 0 and below >= above:  # nothing is raised, not even a score of 1
        return float(np.nextafter(below, 2.0))
    return float((above + below) / 2)


def cost_threshold(cost_false: float, cost_miss: float) -> float:
    """Return the probability from which on a transfer is the cheaper decision.

    Raises:
        UsageError: a cost is negative, or both are 0.
    """
    if cost_false < 0 or cost_miss < 0 or cost_false + cost_miss <= 0:
        raise UsageError(
            f"--cost-false, --cost-miss: must not be negative and not both 0, got {cost_false:g}, "
            f"{cost_miss:g}"
        )
    return cost_false / (cost_false + cost_miss)


def budget_threshold(highest: Sequence[float], share: float) -> float:
    """Return the threshold at which at most `share` of sessions would be raised."""
    ordered = np.sort(np.asarray(highest, float))[::-1]
    k = int(np.floor(share * len(ordered)))
    if k >= len(ordered):
        return 0.0
    return float(np.nextafter(ordered[k], 2.0))


def matched(score: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return which utterances to raise so that there are as many as gold positives.

    A diagnostic that uses the labels' number; of tied scores the earlier come first.
    """
    raised = np.zeros(len(score), dtype=bool)
    count = int((np.asarray(label, float) >= 0.5).sum())
    raised[np.argsort(-np.asarray(score, float), kind="stable")[:count]] = True
    return raised


def _f1(hits: np.ndarray, predicted: np.ndarray, gold: Any) -> np.ndarray:
    total = predicted + gold
    return np.divide(2.0 * hits, total, out=np.zeros(len(hits)), where=total > 0)


def _logistic(odds: np.ndarray, label: np.ndarray) -> tuple[float, float]:
    """Return slope and offset of the likeliest logistic curve, by Newton's method.

    Platt's targets (n+ + 1) / (n+ + 2) and 1 / (n- + 2) keep it finite on separable data.
    """
    positives, negatives = label.sum(), (1 - label).sum()
    target = np.where(label > 0, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    spread = odds.std() or 1.0
    x = np.stack([odds / spread, np.ones_like(odds)], axis=1)
    w = np.array([1.0, 0.0])

    def loss(w: np.ndarray) -> float:
        z = x @ w
        return float((np.logaddexp(0, z) - target * z).sum())

    for _ in range(STEPS):
        p = sigmoid(x @ w)
        gradient = x.T @ (p - target)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-9 * np.eye(2)
        move = np.linalg.solve(hessian, gradient)
        before, rate = loss(w), 1.0
        while loss(w - rate * move) > before and rate > 1e-8:
            rate /= 2
        w = w - rate * move
        if np.abs(rate * move).max() < 1e-10:
            break
    return float(w[0] / spread), float(w[1])


def _scale(odds: np.ndarray, label: np.ndarray) -> float:
    """Return 1 / temperature, by a search over its logarithm."""
    low, high = -6.0, 6.0

    def loss(log_scale: float) -> float:
        z = np.exp(log_scale) * odds
        return float(np.mean(np.logaddexp(0, z) - label * z))

    golden = (np.sqrt(5) - 1) / 2
    for _ in range(80):  # convex in the scale, so unimodal in its logarithm
        a, b = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, b) if loss(a) < loss(b) else (a, high)
    return float(np.exp((low + high) / 2))


def _isotonic(odds: np.ndarray, label: np.ndarray) -> tuple[list[float], list[float]]:
    try:
        from sklearn.isotonic import IsotonicRegression
    except ModuleNotFoundError as error:
        raise MissingExtra("scikit-learn", "handoff") from error
    found = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(odds, label)
    return found.X_thresholds_.tolist(), found.y_thresholds_.tolist()
