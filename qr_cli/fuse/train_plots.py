"""Curves of the phases of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from qr_cli.engine.figures import Theme, new_figure
from qr_cli.engine.report import Plot

Record = dict[str, Any]


def training_plots(curves: Mapping[str, Sequence[Record]]) -> list[Plot]:
    """Return a figure per phase: the figure by which its state is kept, over its steps."""
    plots = []
    for name, records in curves.items():
        epochs = [r for r in records if r["event"] == "epoch"]
        plots.append(
            Plot(f"train-{name}", f"Training: {name}",
                 "The figure by which a state is kept or watched (mean absolute difference, scaled "
                 "units); ring: the smallest.",
                 lambda theme, epochs=epochs: _curve(theme, epochs))  # type: ignore[misc]
        )  # fmt: skip
    return plots


def _curve(theme: Theme, epochs: Sequence[Record]) -> Figure:
    figure, (axes,) = new_figure(theme)
    x = np.array([r["step"] for r in epochs])
    y = np.array([r["held_out"] for r in epochs])
    axes.plot(x, y, color=theme.colors[0], marker="o", markersize=3)
    best = int(y.argmin())
    axes.plot(x[best], y[best], "o", markersize=10, markerfacecolor="none",
              markeredgecolor=theme.ink)  # fmt: skip
    axes.set_xlabel("step")
    axes.set_ylabel("difference")
    axes.set_yscale("log")
    return figure
