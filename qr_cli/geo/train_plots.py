"""Plots of a training run: what is minimised, and what the network gets right."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from qr_cli.engine.figures import End, Theme, label_ends, new_figure
from qr_cli.engine.report import Plot

Record = dict[str, Any]
LOSSES = (("loss_words", "words"), ("loss_figure", "figures"), ("loss_marks", "patches"))
SHARES = (("acc_seen", "seen\nphrasings"), ("acc_unseen", "unseen\nphrasings"),
          ("acc_diagram", "diagrams"), ("valid_proof", "proofs\nthat hold"),
          ("acc_val", "calculations"), ("valid_val_proof", "proofs\nthat hold"),
          ("figure_right", "figures\nnamed"))  # fmt: skip


def training_plots(records: Sequence[Record]) -> list[Plot]:
    """Return the figures of the report."""
    epochs = [r for r in records if r.get("event") == "epoch" and "phase" not in r]
    found = []
    for name, keys, title, caption in (
        ("losses", LOSSES, "What is minimised", "Means over the epoch, without their weights."),
        ("held-out", SHARES, "On held-out problems",
         "Greedy, averaged weights; figures named: of the epoch's own training problems."),
    ):  # fmt: skip
        lines = [(label, _column(epochs, key)) for key, label in keys]
        lines = [(label, y) for label, y in lines if np.isfinite(y).any()]
        if lines and len(epochs) > 1:
            found.append(Plot(name, title, caption, partial(_lines, lines)))
    return found


def _column(epochs: Sequence[Record], key: str) -> np.ndarray:
    return np.array([float(e.get(key, np.nan)) for e in epochs])


def _lines(lines: Sequence[tuple[str, np.ndarray]], theme: Theme) -> Figure:
    figure, (axes,) = new_figure(theme)
    ends = []
    x = np.arange(1, len(lines[0][1]) + 1)
    for (label, y), color in zip(lines, theme.colors, strict=False):
        axes.plot(x, y, color=color, linewidth=2, marker="o" if len(x) < 8 else None)
        ends.append(End(x[-1], y[-1], label, color))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("epoch")
    axes.set_xticks(x if len(x) < 12 else x[:: len(x) // 6])
    label_ends(axes, ends)
    return figure
