"""Figures of `qr train sur-adapter`: losses by phase, and what happens to rows held out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from qr_cli.engine.figures import End, Theme, label_ends, new_figure
from qr_cli.engine.report import Plot

Record = dict[str, Any]
Line = tuple[str, np.ndarray, np.ndarray]  # label, updates, values
LOSSES = (("mse", "squared error"), ("nce", "keyword nce"), ("llm", "teacher"),
          ("diffusion", "diffusion"), ("prompt_kl", "keyword divergence"))  # fmt: skip
FOUND = (
    ("val_retrieval", "own keywords found"),
    ("val_label_digit", "digit"),
    ("val_label_tint", "tint"),
)
KEPT = (("val_cosine", "cosine to keywords"), ("val_norm_ratio", "norm ratio"),
        ("val_keyword_drift", "drift of keywords"))  # fmt: skip


def training_plots(records: Sequence[Record]) -> list[Plot]:
    """Return curves over updates; the diffusion phase follows the align phase."""
    epochs = [r for r in records if r.get("event") == "epoch"]
    aligned = max((r["step"] for r in epochs if "phase" in r), default=0)
    plots = []
    for name, keys, title, caption in (
        ("losses", LOSSES, "What is minimised", "Means between validations, without weights."),
        ("retrieval", FOUND, "Which keywords a narrative is nearest to",
         "Rows held out from training; digit and tint: the nearest of 60 canonical prompts."),
        ("embeddings", KEPT, "What the adapter does to embeddings",
         "Rows held out. Cosine is no measure of success: the template raises it alone."),
    ):  # fmt: skip
        lines = [_line(epochs, aligned, key, label) for key, label in keys]
        lines = [line for line in lines if len(line[1])]
        if lines and len(epochs) > 1:
            plots.append(Plot(name, title, caption, partial(_draw, lines, aligned)))
    return plots


def _line(epochs: Sequence[Record], aligned: int, key: str, label: str) -> Line:
    points = [
        (r["step"] + (0 if "phase" in r else aligned), r[key])
        for r in epochs
        if r.get(key) is not None
    ]
    x, y = zip(*points, strict=True) if points else ((), ())
    return label, np.array(x, dtype=float), np.array(y, dtype=float)


def _draw(lines: Sequence[Line], aligned: int, theme: Theme) -> Figure:
    figure, (axes,) = new_figure(theme)
    ends = []
    for (label, x, y), color in zip(lines, theme.colors, strict=False):
        axes.plot(x, y, color=color, linewidth=2, marker="o" if len(x) < 8 else None)
        ends.append(End(x[-1], y[-1], label, color))
    if aligned and max(x[-1] for _, x, _ in lines) > aligned:
        axes.axvline(aligned, color=theme.muted, linewidth=1, linestyle=":")
        axes.annotate("diffusion", (aligned, 0.03), xycoords=("data", "axes fraction"), fontsize=7,
                      color=theme.muted, ha="right", va="bottom", rotation=90)  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_xlabel("updates")
    label_ends(axes, ends)
    return figure
