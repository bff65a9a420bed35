"""Plots of what the blocks of one trained network do: stiffness, tickets, switches.

Every function takes the records of one run (and, for pictures of single images, what `collect`
returned) and gives `Plot`s whose title states what is seen in them. A value that is missing leaves
a gap; a plot without any value is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from qr_cli.attention.stiffness import Passage
from qr_cli.engine.figures import SMALL, End, Theme, label_ends, new_figure
from qr_cli.engine.report import Plot

Record = dict[str, Any]
DASHED = (0, (4, 2))


def stiffness_plots(records: Sequence[Record], passages: Sequence[Passage] = ()) -> list[Plot]:
    """Return the NSI profile with its control and, given `passages`, gate against NSI."""
    rows = [record for record in records if record.get("event") == "stiffness"]
    plots = [_profile(rows)] if rows else []
    coupled = [passage for passage in passages if passage.rho is not None]
    if coupled:
        plots.append(_coupling(max(coupled, key=lambda passage: abs(passage.rho or 0))))
    return plots


def tickets_plot(records: Sequence[Record]) -> Plot | None:
    """Return accuracy against blocks kept, by order, the masks below; None without a sweep."""
    rows = [record for record in records if record.get("event") == "ticket"]
    keeps = sorted({row["keep"] for row in rows})
    if len(keeps) < 2:
        return None
    curves = {
        order: np.array([[r["top1"] for r in rows if (r["order"], r["keep"]) == (order, keep)]
                         for keep in keeps])
        for order in dict.fromkeys(row["order"] for row in rows)
    }  # fmt: skip
    masks = {
        order: np.array([[int(d) for d in r["mask"].replace(" ", "")] for r in rows
                         if r["order"] == order]).T
        for order in curves if order != "random"
    }  # fmt: skip
    intact = float(next(iter(curves.values()))[-1, 0])

    def draw(theme: Theme) -> Figure:
        heights = (3, *(0.9 for _ in masks))
        figure, (top, *below) = new_figure(theme, heights=heights, height=2.9 + 0.9 * len(masks))
        ends = []
        for order, color in zip(curves, (*theme.colors[:2], theme.muted), strict=False):
            color = theme.muted if order == "random" else color
            y = curves[order].mean(1)
            if order == "random":
                low, high = curves[order].min(1), curves[order].max(1)
                top.fill_between(keeps, low, high, color=color, alpha=0.22, linewidth=0)
            top.plot(keeps, y, color=color, linewidth=1.4 if order == "random" else 2.2)
            middle = len(keeps) // 2
            ends.append(End(keeps[-1], float(y[middle]), order, color))
        top.axhline(intact, color=theme.muted, linewidth=0.8, linestyle=DASHED)
        top.set_ylim(*_range(np.concatenate([curve.ravel() for curve in curves.values()])))
        top.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
        top.set_ylabel("top-1 accuracy (%)")
        label_ends(top, ends)
        for axes, (order, mask) in zip(below, masks.items(), strict=True):
            color = theme.colors[list(curves).index(order)]
            shades = ListedColormap([theme.rule, color])
            axes.pcolormesh(keeps, range(len(mask)), mask, cmap=shades, vmin=0, vmax=1,
                            edgecolors=theme.paper, linewidth=0.8)  # fmt: skip
            axes.set_yticks([0, len(mask) - 1], ["first", "last"])
            axes.invert_yaxis()
            axes.grid(visible=False)
            label_ends(axes, [End(0, len(mask) / 2, f"{order}:\nblocks\nkept", color)])
        last = below[-1] if below else top
        last.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        last.set_xlabel("blocks that keep their gate")
        return figure

    means = {order: curve.mean(1) for order, curve in curves.items()}
    enough = {order: keeps[int(np.argmax(y >= intact - 0.005))] for order, y in means.items()}
    best = min(enough, key=lambda order: enough[order])
    title = f"{enough[best]} of {keeps[-1]} gates ({best}) come within 0.5 points of all"
    if not enough[best]:
        title = "Held at their mean, all gates together cost less than 0.5 points"
    caption = (
        "Post-hoc: the other gates are held at their mean over calibration images. Dashed: the "
        "intact network. Random: mean and range of three permutations. Below: a column per number "
        "kept, filled where the block keeps its gate."
    )
    return Plot("tickets", title, caption, draw)


def operators_plot(records: Sequence[Record]) -> Plot | None:
    """Return the mean omega of every operator of ``sem``, by block."""
    rows = [record for record in records if record.get("event") == "switch"]
    if not rows:
        return None
    names = list(dict.fromkeys(row["operator"] for row in rows))
    lines = {name: [row for row in rows if row["operator"] == name] for name in names}
    blocks = {row["block"]: row for row in sorted(rows, key=lambda row: row["omega_mean"])}
    leads = Counter(row["operator"] for row in blocks.values())  # the largest omega of each block

    def draw(theme: Theme) -> Figure:
        figure, (axes,) = new_figure(theme)
        ends = []
        for number, (name, line) in enumerate(lines.items()):
            color = theme.colors[number % len(theme.colors)]
            at, mean, spread = (
                block_places(line),
                column(line, "omega_mean"),
                column(line, "omega_std"),
            )
            draw_stages(axes, line, at, mean, color, spread=spread)
            ends.append(End(at[-1], mean[-1], f"{name} {mean[-1]:.2f}", color))
        axes.set_ylim(0, 1)
        axes.set_ylabel("switch omega")
        block_axis(axes, theme, next(iter(lines.values())))
        label_ends(axes, ends)
        return figure

    first, count = leads.most_common(1)[0]
    title = f"{first} is switched on most in {count} of {len(blocks)} blocks"
    caption = (
        "Mean omega over images; band: one standard deviation. An operator at 0 contributes the "
        "constant 0.5; at the start all are near 0.5."
    )
    return Plot("operators", title, caption, draw)


def _profile(rows: list[Record]) -> Plot:
    at, mean, spread = block_places(rows), column(rows, "nsi_mean"), column(rows, "nsi_std")
    control = column(rows, "control_mean")
    ours, start = float(mean.mean()), float(control.mean())

    def draw(theme: Theme) -> Figure:
        figure, (axes,) = new_figure(theme)
        draw_stages(axes, rows, at, control, theme.muted, linestyle=DASHED)
        draw_stages(axes, rows, at, mean, theme.colors[0], spread=spread)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("normalised step NSI")
        block_axis(axes, theme, rows)
        label_ends(axes, [
            End(at[-1], mean[-1], "trained", theme.colors[0]),
            End(at[-1], control[-1], "untrained", theme.muted),
        ])  # fmt: skip
        return figure

    verb = "raises" if ours > start else "lowers"
    title = f"Training {verb} the mean step from {start:.2f} to {ours:.2f}"
    where = "after" if rows[0]["at"] == "relu" else "before"
    caption = (
        f"NSI = |x' - x| / |x| of the inner blocks, {where} the final ReLU; line and band: mean "
        f"and one standard deviation over {rows[0]['images']:,} images. Dashed: the same network "
        "before training. Gaps: blocks that change the shape."
    )
    return Plot("stiffness", title, caption, draw)


def _coupling(passage: Passage) -> Plot:
    assert passage.gate is not None and passage.rho is not None  # `stiffness_plots` chose it so
    gate, nsi, rho = passage.gate.numpy(), passage.nsi.numpy(), passage.rho

    def draw(theme: Theme) -> Figure:
        figure, (axes,) = new_figure(theme)
        axes.scatter(gate, nsi, s=14, color=theme.colors[0], alpha=0.45, linewidth=0)
        axes.set_xlabel("mean gate of an image")
        axes.set_ylabel("its step NSI")
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.ticklabel_format(axis="x", useOffset=False)  # an offset would cover the label
        return figure

    way = "further" if rho > 0 else "less far"
    title = f"In {passage.block} a larger gate goes with moving {way} (rho {rho:+.2f})"
    caption = (
        f"A dot per image, {len(nsi):,} images; rho: Spearman's rank correlation. The block with "
        "the largest |rho| of all inner blocks; the axes do not start at 0."
    )
    return Plot("gate-nsi", title, caption, draw)


def draw_stages(
    axes: Axes,
    rows: Sequence[Record],
    at: np.ndarray,
    y: np.ndarray,
    color: str,
    *,
    spread: np.ndarray | None = None,
    linestyle: Any = "-",
    width: float = 2.0,
    alpha: float = 1.0,
) -> None:
    """Draw a line per stage: nothing joins the last block of one and the first of the next.

    Dots are hollow on a dashed line, so that a stage of one block can be told from a solid one.
    """
    figure = axes.get_figure(root=True)
    hollow = "none" if figure is None else figure.get_facecolor()
    stages = np.array([row["stage"] for row in rows])
    for stage in dict.fromkeys(stages.tolist()):
        mine = stages == stage
        if spread is not None:
            axes.fill_between(at[mine], (y - spread)[mine], (y + spread)[mine], color=color,
                              alpha=0.18, linewidth=0)  # fmt: skip
        axes.plot(at[mine], y[mine], color=color, linewidth=width, linestyle=linestyle, alpha=alpha,
                  marker="o", markersize=max(3.5, width), clip_on=False,
                  markerfacecolor=hollow if linestyle == DASHED else color)  # fmt: skip


def _range(shares: np.ndarray) -> tuple[float, float]:
    """Return limits around shares, ten points apart at least: noise is not to look like a trend."""
    low, high = float(shares.min()), float(shares.max())
    pad = max(0.03 * (high - low), (0.1 - (high - low)) / 2)
    return low - pad, high + pad


def block_places(rows: Sequence[Record]) -> np.ndarray:
    """Return where blocks stand on the axis: one apart, and one more between stages."""
    stages = np.array([row["stage"] for row in rows])
    return np.arange(len(rows)) + (np.diff(stages, prepend=stages[:1]) > 0).cumsum()


def block_axis(axes: Axes, theme: Theme, rows: Sequence[Record]) -> None:
    """Name blocks by their number in the stage, and the stages below."""
    at = block_places(rows)
    names = [row["block"].rpartition(".")[2] if "." in row["block"] else "" for row in rows]
    step = max(1, -(-len(rows) // 14))
    axes.set_xticks(at[::step], names[::step])
    axes.set_xlim(at[0] - 0.5, at[-1] + 0.5)
    stages = np.array([row["stage"] for row in rows])
    middles = {stage: float(at[stages == stage].mean()) for stage in sorted(set(stages.tolist()))}
    few = len(middles) < 6
    labels = [
        (x, f"stage {stage}" if few else f"{stage}", "center") for stage, x in middles.items()
    ]
    for x, text, side in labels if few else [*labels, (at[0] - 0.8, "stage", "right")]:
        axes.annotate(
            text, (x, 0), xytext=(0, -22), textcoords="offset points",
            xycoords=("data", "axes fraction"), ha=side, va="top", color=theme.ink,
            fontsize=SMALL, annotation_clip=False,
        )  # fmt: skip


def column(rows: Sequence[Record], key: str) -> np.ndarray:
    """Return the values of a key, not-a-number where there is none."""
    return np.array([np.nan if row.get(key) is None else row[key] for row in rows], dtype=float)
