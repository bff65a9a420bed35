"""Intervals and tests for shares of right answers: over seeds, and over images.

Every interval is two-sided at 95 %. Over seeds the runs are the sample: the interval speaks of
other seeds and not of other images. Over images it is the other way round.

The t quantile needs no library: for whole degrees of freedom its distribution is a finite sum
(Abramowitz and Stegun 1964, 26.7.3 and 26.7.4).
Shapes: N images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, variance
from typing import NamedTuple

from torch import Tensor

LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)  # 1.96


class Interval(NamedTuple):
    """Ends of an interval, both included."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Tell whether `value` lies inside."""
        return self.low <= value <= self.high


def t_interval(values: Sequence[float]) -> Interval:
    """Return mean -+ t s / sqrt(n), t the .975 quantile for n - 1 degrees of freedom (Student).

    Not clipped: with two or three seeds it may leave [0, 1]. For paired differences it is the
    paired t-interval.

    Args:
        values: one per seed; n >= 2. s is the unbiased standard deviation.

    Raises:
        ValueError: fewer than two values.
    """
    n = len(values)
    if n < 2:
        raise ValueError(f"a t-interval needs two values, got {n}")
    half = t_quantile((1 + LEVEL) / 2, n - 1) * math.sqrt(variance(values) / n)
    return Interval(fmean(values) - half, fmean(values) + half)


def paired_t(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Return the t-interval of the differences ours - theirs, paired in the given order.

    Raises:
        ValueError: the lengths differ, or there are fewer than two pairs.
    """
    return t_interval([a - b for a, b in zip(ours, theirs, strict=True)])


def welch_t(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Return an interval of mean(ours) - mean(theirs) for samples that are not paired (Welch 1947).

        d -+ t sqrt(a + b),   a = s_1^2 / n_1,  b = s_2^2 / n_2
        degrees of freedom (a + b)^2 / (a^2 / (n_1 - 1) + b^2 / (n_2 - 1)), rounded down

    Rounding down makes the interval wider, never narrower.

    Raises:
        ValueError: fewer than two values on a side.
    """
    n, m = len(ours), len(theirs)
    if min(n, m) < 2:
        raise ValueError(f"Welch's interval needs two values on each side, got {n} and {m}")
    a, b = variance(ours) / n, variance(theirs) / m
    d = fmean(ours) - fmean(theirs)
    if a + b == 0:
        return Interval(d, d)
    freedom = (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (m - 1))
    half = t_quantile((1 + LEVEL) / 2, max(1, math.floor(freedom))) * math.sqrt(a + b)
    return Interval(d - half, d + half)


def wilson(successes: int, trials: int) -> Interval:
    """Return Wilson's score interval of a share, in [0, 1] (Wilson 1927).

        (p + z^2 / 2N -+ z sqrt(p (1 - p) / N + z^2 / 4N^2)) / (1 + z^2 / N),   p = successes / N

    Raises:
        ValueError: not 0 <= successes <= trials, or no trial.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"{successes} of {trials} is no share")
    p, w = successes / trials, Z**2 / trials
    half = Z * math.sqrt(p * (1 - p) / trials + w / (4 * trials))
    low, high = (p + w / 2 - half) / (1 + w), (p + w / 2 + half) / (1 + w)
    return Interval(low if successes else 0.0, high if successes < trials else 1.0)


def discordant(ours: Tensor, theirs: Tensor) -> tuple[int, int]:
    """Return (wins, losses): images only we have right, and images only they have right.

    Args:
        ours: bool (N,), whether each image is classified right.
        theirs: the same of the other run, on the same images.

    Raises:
        ValueError: the shapes differ.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"{tuple(ours.shape)} and {tuple(theirs.shape)} are not the same images")
    return int((ours & ~theirs).sum()), int((theirs & ~ours).sum())


def paired_shares(wins: int, losses: int, images: int) -> Interval:
    """Return Wald's interval of a difference of two shares on the same images, in [-1, 1].

        d -+ 1.96 sqrt(w + l - (w - l)^2 / N) / N,   d = (w - l) / N

    Without discordant images it is [0, 0].

    Args:
        wins: images only the first run has right.
        losses: images only the other has right.
        images: N.
    """
    difference = wins - losses
    half = Z * math.sqrt(wins + losses - difference**2 / images) / images
    return Interval(difference / images - half, difference / images + half)


def mcnemar(wins: int, losses: int) -> float:
    """Return the exact two-sided p of McNemar's test (1947), in [0, 1].

        p = min(1, 2 P(X <= min(w, l))),   X ~ Binomial(w + l, 1/2)

    It is 1 without discordant images. Whole numbers up to the one division.
    """
    n, term, total = wins + losses, 1, 0
    for k in range(min(wins, losses) + 1):
        total += term
        term = term * (n - k) // (k + 1)
    return min(1.0, 2 * total / 2**n)


def t_quantile(p: float, freedom: int) -> float:
    """Return the value that Student's t stays below with probability `p`, to 1e-12 (bisection).

    Args:
        p: 0.5 <= p < 1.
        freedom: degrees of freedom, a whole number from 1.

    Raises:
        ValueError: an argument outside its range.
    """
    if not 0.5 <= p < 1 or freedom < 1:
        raise ValueError(f"no t quantile for p = {p} and {freedom} degrees of freedom")
    low, high = 0.0, math.pi / 2  # of the angle atan(t / sqrt(freedom))
    while high - low > 1e-16 and (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if _within(middle, freedom) < 2 * p - 1 else (low, middle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)


def _within(angle: float, freedom: int) -> float:
    """Return P(|T| <= sqrt(freedom) tan(angle)).

    Even degrees: sin (1 + 1/2 cos^2 + 1.3/2.4 cos^4 + ...); odd ones: 2/pi (angle + sin (cos +
    2/3 cos^3 + 2.4/3.5 cos^5 + ...)); both up to the power freedom - 2.
    """
    cosine, odd = math.cos(angle), freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= (power + 1) / (power + 2) * cosine**2
    share = math.sin(angle) * total
    return 2 / math.pi * (angle + share) if odd else share
