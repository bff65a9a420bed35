"""Figures of handoff reports: how it was learnt, and what a threshold buys."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from qr_cli.engine import reliability
from qr_cli.engine.figures import End, Theme, label_ends, new_figure
from qr_cli.engine.report import Plot
from qr_cli.handoff.calibrate import fit, sigmoid
from qr_cli.handoff.metrics import evaluate
from qr_cli.handoff.operating import known_of, labels_of

if TYPE_CHECKING:
    from qr_cli.handoff.corpus import Corpus

Record = dict[str, Any]
LOSSES = (("loss_main", "labels"), ("loss_senti", "sentiment"), ("loss_score", "satisfaction"),
          ("loss_cost", "labour cost"))  # fmt: skip
FIGURES = (("val_auc", "AUC"), ("val_macro_f1", "Macro-F1"), ("val_f1", "F1"), ("val_gt1", "GT-I"))
SWEEP = 41


def training_plots(
    records: Sequence[Record], held: tuple[list[np.ndarray], Corpus] | None
) -> list[Plot]:
    """Return curves by epoch, then what the finished model does on unseen dialogues."""
    epochs = [r for r in records if r.get("event") == "epoch" and "phase" not in r]
    plots = []
    for name, keys, title, caption in (
        ("losses", LOSSES, "What is minimised", "Means over the epoch, without their weights."),
        ("validation", FIGURES, "On unseen dialogues",
         "At the threshold that is best on these very dialogues."),
    ):  # fmt: skip
        lines = [(label, _column(epochs, key)) for key, label in keys]
        lines = [(label, y) for label, y in lines if np.isfinite(y).any()]
        if lines and len(epochs) > 1:
            draw = partial(_lines, _column(epochs, "epoch"), lines)
            plots.append(Plot(name, title, caption, draw))
    if held is not None:
        odds, corpus = held
        plots += threshold_plots(odds, labels_of(corpus), "validation dialogues")
    return plots


def threshold_plots(
    odds: Sequence[np.ndarray], labels: Sequence[np.ndarray], where: str
) -> list[Plot]:
    """Return reliability before and after Platt, and the sweep over thresholds."""
    flat, label = known_of(odds, labels)
    if not len(flat) or len(set(label >= 0.5)) < 2:
        return []
    fitted = fit("platt", flat, label)
    shares = [
        reliability.curve(name, values, label >= 0.5)
        for name, values in (("Platt", fitted(flat)), ("raw", sigmoid(flat)))
    ]
    grid = np.linspace(0.02, 0.98, SWEEP)
    p = [sigmoid(d) for d in odds]
    found = [evaluate(list(labels), [x >= t for x in p]) for t in grid]
    sweep = [
        (name, np.array([f[key] for f in found]))
        for key, name in (("macro_f1", "Macro-F1"), ("f1", "F1"), ("gt1", "GT-I"),
                          ("sessions_raised", "sessions\nraised"))
    ]  # fmt: skip
    ratios = np.geomspace(0.25, 16, 25)
    costs = _costs(fitted(flat), label, ratios, len(labels))
    return [
        Plot(
            "reliability", "How often it is right when it says p",
            f"{where.capitalize()}; share of transfers in bins of p, before and after Platt scaling"
            " fitted on these very dialogues.",
            partial(reliability.draw, shares, "share of transfers"),
        ),
        Plot(
            "thresholds", "GT rises where recall falls",
            f"{where.capitalize()}; raw p. GT counts a dialogue without transfers and alarms as 1.",
            partial(_lines, grid, sweep),
        ),
        Plot(
            "costs", "What a decision costs",
            f"{where.capitalize()}; cost per dialogue of transfers at the cost threshold, in units "
            "of a false one, for a missed one that costs so many times more.",
            partial(_lines, ratios, costs, log=True),
        ),
    ]  # fmt: skip


def _costs(
    p: np.ndarray, label: np.ndarray, ratios: np.ndarray, dialogues: int
) -> list[tuple[str, np.ndarray]]:
    gold = label >= 0.5
    found = []
    for name, threshold in (("cost point", 1 / (1 + ratios)), ("p at 0.5", np.full(25, 0.5))):
        cost = [
            ((p >= t) & ~gold).sum() + r * ((p < t) & gold).sum()
            for t, r in zip(threshold, ratios, strict=True)
        ]
        found.append((name, np.array(cost) / dialogues))
    return [*found, ("never", ratios * gold.sum() / dialogues)]


def _lines(
    x: np.ndarray, lines: Sequence[tuple[str, np.ndarray]], theme: Theme, *, log: bool = False
) -> Figure:
    figure, (axes,) = new_figure(theme)
    ends = []
    for (label, y), color in zip(lines, theme.colors, strict=False):
        axes.plot(x, y, color=color, linewidth=2, marker="o" if len(x) < 8 else None)
        ends.append(End(x[-1], y[-1], label, color))
    axes.set_ylim(bottom=0)
    if log:
        axes.set_xscale("log", base=2)
        axes.set_xlabel("cost of a miss / cost of a false transfer")
        axes.set_xticks([0.25, 1, 4, 16], ["1/4", "1", "4", "16"])
    else:
        axes.set_xlabel("epoch" if x[-1] > 1 else "threshold")
    if not log and x[-1] > 1:
        axes.set_xticks(x if len(x) < 12 else x[:: len(x) // 6])
    label_ends(axes, ends)
    return figure


def _column(records: Sequence[Record], key: str) -> np.ndarray:
    return np.array([np.nan if r.get(key) is None else r[key] for r in records], dtype=float)
