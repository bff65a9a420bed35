"""Figures of `qr eval generate`: what helps, how much, at which eta, and what the adapter reads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from qr_cli.engine.figures import SMALL, TEXT, WIDTH, End, Theme, label_ends, new_figure
from qr_cli.engine.report import Plot
from qr_cli.generate import world
from qr_cli.generate.diagnose import Texts
from qr_cli.generate.measure import Cell, Found

Record = dict[str, Any]
Array = np.ndarray
ORDER = ("base", "adapter", "keyword", "keyword+adapter")
SHADES = {"base": 4, "adapter": 0, "keyword": 2, "keyword+adapter": 3}  # colours of a theme
_QUERIES = 5  # positions of the output that canonical keywords fill
_INTERVALS = "Bars across: 95 % bootstrap interval over prompts."


def accuracy_plot(records: Sequence[Record], eta: float) -> Plot | None:
    """Return the accuracy of every condition under every judge."""
    own = [
        r
        for r in records
        if r["event"] == "eval"
        and r["category"] is None
        and r["eta"] == (eta if "adapter" in r["condition"] else 0.0)
    ]
    judges = list(dict.fromkeys(record["judge"] for record in own))
    if not judges:
        return None
    return Plot(
        "accuracy",
        "What a sentence gives, without and with the adapter, and what its keywords give",
        f"Share of pictures a judge calls right, at eta {eta:g}. {_INTERVALS}",
        partial(_accuracies, own, judges),
    )


def sweep_plot(records: Sequence[Record], eta: float) -> Plot | None:
    """Return accuracy against eta, of narratives and of keywords."""
    own = [r for r in records if r["event"] == "eval" and r["category"] is None]
    judge = next((j for j in ("both", *(r["judge"] for r in own)) if _has(own, j)), None)
    lines = []
    for name, plain, adapted in (
        ("narrative", "base", "adapter"),
        ("keywords", "keyword", "keyword+adapter"),
    ):
        points = {
            r["eta"]: r["accuracy"]
            for r in own
            if r["judge"] == judge and r["condition"] in (plain, adapted)
        }
        if len(points) > 2:
            lines.append((name, sorted(points.items())))
    if not lines:
        return None
    return Plot(
        "eta",
        "Sentences and keywords, from the bare base to the full adapter",
        f"Share of pictures right by {judge}. Eta 0 is the bare base; dashed: eta {eta:g}.",
        partial(_sweep, lines, eta),
    )


def labels_plot(found: Found, rows: Sequence[Record], eta: float) -> Plot | None:
    """Return the accuracy per digit and per tint, without and with the adapter."""
    cells = (Cell("base", 0.0), Cell("adapter", eta))
    panels = []
    for key, judge, names in (
        ("digit", "digit-cnn", list(range(len(world.DIGITS)))),
        ("tint", "tint", list(world.TINTS)),
    ):
        if not found.scores or judge not in found.measures():
            return None
        members = [[i for i, row in enumerate(rows) if row["label"][key] == n] for n in names]
        bars = [[_mean(found.per_prompt(cell, judge)[m]) for m in members] for cell in cells]
        panels.append((key, [str(name) for name in names], bars))
    return Plot(
        "labels",
        "Digit by digit and tint by tint",
        f"Share right by digit-cnn and by tint, at eta {eta:g}.",
        partial(_labels, panels),
    )


def outcome_plot(records: Sequence[Record], eta: float) -> Plot | None:
    """Return how many prompts became better, stayed, became worse."""
    judges = {r["judge"] for r in records if r["event"] == "eval"}
    own = [
        r
        for r in records
        if r["event"] == "compare"
        and (r["treated"], r["eta"]) == ("adapter", eta)
        and r["measure"] in judges
    ]
    if not own:
        return None
    return Plot(
        "outcomes",
        "Prompts that win, tie and lose with the adapter",
        f"Adapter against base at eta {eta:g}; seeds averaged per prompt.",
        partial(_outcomes, own),
    )


def attention_plot(weights: Array, labels: Sequence[Sequence[str]]) -> Plot:
    """Return step 3 of the adapter for some prompts: (P, T, T), rows are queries."""
    return Plot(
        "attention",
        "Where the adapter looks: queries down, tokens across",
        "Attention of step 3 for the first positions of the output; each row sums to 1.",
        partial(_attention, weights, labels),
    )


def map_plot(texts: Texts, adapted: Array) -> Plot | None:
    """Return narratives, adapted narratives and keywords in the plane of most spread."""
    if texts.labels is None or len(texts.keywords) < 3:  # fewer span no plane
        return None
    mean = texts.keywords.mean(0)
    keywords, narratives, moved = (
        (x - mean).flatten(1) for x in (texts.keywords, texts.narratives, torch.from_numpy(adapted))
    )
    _, _, directions = torch.pca_lowrank(keywords, q=2, center=True, niter=4)
    points = [(x @ directions).numpy() for x in (narratives, moved, keywords)]
    return Plot(
        "embeddings",
        "Sentences before and after the adapter, and their keywords",
        "First two principal components of the keyword embeddings; numbers are digits.",
        partial(_map, points, texts.labels[:, 0].numpy()),
    )


# drawing -----------------------------------------------------------------------------------------


def _accuracies(records: Sequence[Record], judges: Sequence[str], theme: Theme) -> Figure:
    names = [name for name in ORDER if any(r["condition"] == name for r in records)]
    figure, (axes,) = new_figure(theme, height=0.9 + 0.27 * len(names) * len(judges))
    axes.set_position((0.27, axes.get_position().y0, 0.6, axes.get_position().height))
    places, y = [], 0.0
    for judge in judges:
        for name in names:
            record = next(r for r in records if (r["condition"], r["judge"]) == (name, judge))
            share, color = record["accuracy"], theme.colors[SHADES[name]]
            axes.barh(y, share, height=0.78, color=color, alpha=0.85)
            if record["low"] is not None:
                axes.plot([record["low"], record["high"]], [y, y], color=theme.ink, linewidth=1.2)
            end = max(share, record["high"] or 0)
            axes.text(
                end + 0.015, y, f"{100 * share:.1f} %", color=theme.ink, fontsize=SMALL, va="center"
            )
            places.append((y, name))
            y += 1
        axes.text(
            -0.02, y - len(names) - 0.75, judge, color=theme.ink, fontsize=TEXT, weight="bold",
            ha="right", va="center",
        )  # fmt: skip
        y += 1.1
    axes.set_yticks([place for place, _ in places], [name for _, name in places])
    axes.set(xlim=(0, 1), ylim=(y - 1.2, -1.3), xlabel="share right")
    axes.grid(axis="y", visible=False)
    return figure


def _sweep(
    lines: Sequence[tuple[str, list[tuple[float, float]]]], eta: float, theme: Theme
) -> Figure:
    figure, (axes,) = new_figure(theme)
    ends = []
    for (name, points), color in zip(lines, (theme.colors[0], theme.colors[2]), strict=False):
        x, y = zip(*points, strict=True)
        axes.plot(x, y, color=color, linewidth=1.8, marker="o", markersize=4)
        ends.append(End(x[-1], y[-1], name, color))
    axes.axvline(eta, color=theme.muted, linewidth=1, linestyle=(0, (3, 2)))
    axes.set(ylim=(0, 1.03), xlabel="eta", ylabel="share right")
    label_ends(axes, ends)
    return figure


def _labels(panels: Sequence[tuple[str, list[str], list[list[float]]]], theme: Theme) -> Figure:
    figure = Figure(figsize=(WIDTH, 2.6), facecolor=theme.paper)
    FigureCanvasAgg(figure)
    widths = [len(names) for _, names, _ in panels]
    both = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": widths, "wspace": 0.08})
    figure.subplots_adjust(left=0.12, right=0.98, bottom=0.22, top=0.88)
    for axes, (key, names, (base, adapter)) in zip(both, panels, strict=True):
        _plain(axes, theme)
        for x, (low, high) in enumerate(zip(base, adapter, strict=True)):
            axes.plot([x, x], [low, high], color=theme.rule, linewidth=3, zorder=1)
        axes.plot(range(len(names)), base, "o", color=theme.colors[4], markersize=5)
        axes.plot(range(len(names)), adapter, "o", color=theme.colors[0], markersize=5)
        axes.set_xticks(range(len(names)), names, rotation=0 if key == "digit" else 45)
        axes.set_xlabel(key, color=theme.ink, fontsize=SMALL)
        axes.set(ylim=(0, 1.05), xlim=(-0.7, len(names) - 0.3))
    both[0].set_ylabel("share right", color=theme.ink, fontsize=SMALL)
    figure.text(0.12, 0.93, "base", color=theme.colors[4], fontsize=SMALL, weight="bold")
    figure.text(0.22, 0.93, "adapter", color=theme.colors[0], fontsize=SMALL, weight="bold")
    return figure


def _outcomes(records: Sequence[Record], theme: Theme) -> Figure:
    figure, (axes,) = new_figure(theme, height=0.8 + 0.4 * len(records))
    axes.set_position((0.2, axes.get_position().y0, 0.76, axes.get_position().height))
    parts = (("win", theme.colors[0]), ("tie", theme.rule), ("loss", theme.colors[1]))
    for y, record in enumerate(records):
        left = 0
        for key, color in parts:
            count = record[key]
            axes.barh(y, count, left=left, height=0.7, color=color)
            if count > 0.11 * record["n"]:
                ink = theme.ink if key == "tie" else theme.paper
                axes.text(
                    left + count / 2, y, f"{key} {count}", color=ink, fontsize=SMALL,
                    ha="center", va="center",
                )  # fmt: skip
            left += count
    axes.set_yticks(range(len(records)), [record["measure"] for record in records])
    axes.set(ylim=(len(records) - 0.4, -0.6), xlabel="prompts", xlim=(0, records[0]["n"]))
    axes.grid(axis="y", visible=False)
    return figure


def _attention(weights: Array, labels: Sequence[Sequence[str]], theme: Theme) -> Figure:
    figure = Figure(figsize=(WIDTH, 1.35 * len(weights)), facecolor=theme.paper)
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(weights), 1, squeeze=False)[:, 0]
    figure.subplots_adjust(left=0.05, right=0.99, bottom=0.09, top=0.99, hspace=1.5)
    colours = "Blues" if theme.name == "light" else "viridis"
    for axes, rows, words in zip(grid, weights, labels, strict=True):
        shown = rows[:_QUERIES, : len(words)]
        axes.imshow(shown, cmap=colours, vmin=0, aspect="auto")
        axes.set_xticks(range(len(words)), words, rotation=60, fontsize=7, ha="right", va="top",
                        rotation_mode="anchor")  # fmt: skip
        axes.set_yticks(range(len(shown)), [str(i) for i in range(len(shown))], fontsize=7)
        axes.tick_params(colors=theme.muted, length=0, pad=2)
        axes.spines[:].set_visible(False)
    return figure


def _map(points: Sequence[Array], digits: Array, theme: Theme) -> Figure:
    figure, (axes,) = new_figure(theme, height=3.6)
    axes.set_position((0.05, 0.05, 0.78, 0.9))
    names = ("narrative", "adapted", "keywords")
    shades = (theme.colors[4], theme.colors[0], theme.colors[2])
    for cloud, color in zip(points, shades, strict=True):
        for digit in range(len(world.DIGITS)):
            own = cloud[digits == digit]
            axes.plot(*own.T, "o", color=color, markersize=2.2, alpha=0.25, zorder=1)
            if len(own) and color is not shades[0]:
                x, y = np.median(own, axis=0)
                axes.text(
                    x, y, str(digit), color=color, fontsize=TEXT, weight="bold", ha="center",
                    va="center", zorder=3,
                )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    for place, (name, color) in enumerate(zip(names, shades, strict=True)):
        figure.text(0.85, 0.9 - 0.06 * place, name, color=color, fontsize=SMALL, weight="bold")
    return figure


def _plain(axes: Axes, theme: Theme) -> None:
    axes.set_facecolor("none")
    axes.spines[:].set_visible(False)
    axes.grid(axis="y", color=theme.rule, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=SMALL, colors=theme.muted, length=0)


def _has(records: Sequence[Record], judge: str) -> bool:
    return any(record["judge"] == judge for record in records)


def _mean(values: torch.Tensor) -> float:
    return float(values.mean()) if len(values) else float("nan")
