"""Reliability diagrams: how often what was said with confidence p was right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from qr_cli.engine.figures import End, Theme, label_ends, new_figure

BINS = 15


class Curve(NamedTuple):
    """Mean confidence and share that was right, per bin."""

    name: str
    confidence: np.ndarray
    share: np.ndarray


def curve(name: str, p: Any, right: Any, *, bins: int = BINS, least: int = 5) -> Curve:
    """Return the curve over equal bins of [0, 1]; bins with fewer than `least` are left out.

    Args:
        name: label of the curve.
        p: confidences in [0, 1], shape (n,).
        right: whether each was right, shape (n,).
        bins: number of bins.
        least: entries that a bin needs.
    """
    p, right = np.asarray(p, dtype=float), np.asarray(right, dtype=float)
    place = np.minimum((p * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    keep = count >= least
    mean = np.bincount(place, p, minlength=bins)[keep] / count[keep]
    return Curve(name, mean, np.bincount(place, right, minlength=bins)[keep] / count[keep])


def draw(curves: Sequence[Curve], ylabel: str, theme: Theme) -> Figure:
    """Return the figure: curves beside the diagonal of perfect calibration."""
    figure, (axes,) = new_figure(theme)
    axes.plot([0, 1], [0, 1], color=theme.muted, linewidth=1, linestyle=":")
    ends = []
    for found, color in zip(curves, theme.colors, strict=False):
        axes.plot(found.confidence, found.share, color=color, linewidth=2, marker="o", markersize=4)
        if len(found.share):
            ends.append(End(found.confidence[-1], found.share[-1], found.name, color))
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="p", ylabel=ylabel)
    label_ends(axes, ends)
    return figure
