"""Plots of the Stripe Observation: how far the gates of one network depend on the image.

Like `block_plots`: records of one run in, `Plot`s out whose title states what is seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from qr_cli.attention.block_plots import DASHED, block_axis, block_places, column, draw_stages
from qr_cli.attention.stripes import BINS, Stripes, share_within
from qr_cli.engine.figures import SMALL, End, Theme, label_ends, new_figure
from qr_cli.engine.report import Plot

Record = dict[str, Any]
IMAGES, CHANNELS = 20, 60  # of a heat map
LOOKS = 0.1  # S from which a title says that a gate depends on the image [ours]


def stripes_plots(
    records: Sequence[Record], stripes: Mapping[str, Stripes] | None = None
) -> list[Plot]:
    """Return S by block, the histogram of sigma and, given `stripes`, heat maps by stage."""
    rows = [r for r in records if r.get("event") == "stripes" and r.get("sigma_mean") is not None]
    plots = [_shares(rows), _deviations(rows)] if rows else []
    stages: dict[int, list[Stripes]] = {}
    for found in (stripes or {}).values():
        if found.v is not None:
            stages.setdefault(found.seat.stage, []).append(found)
    return plots + [_maps(stage, found) for stage, found in sorted(stages.items())]


def _shares(rows: list[Record]) -> Plot:
    kinds = {"logit": "S_logit", "gate": "S", "input": "S_input"}
    at = block_places(rows)
    before = [row.get("before") or {} for row in rows]

    def draw(theme: Theme) -> Figure:
        figure, (axes,) = new_figure(theme)
        ends = []
        colors = (theme.colors[1], theme.colors[0], theme.colors[2])
        for (name, key), color in zip(kinds.items(), colors, strict=True):
            draw_stages(axes, rows, at, column(before, key), color, linestyle=DASHED, width=1.4)
            y = column(rows, key)
            halo = name == "logit"  # often the very line of the gate: a broad band below it
            draw_stages(axes, rows, at, y, color, width=6 if halo else 2, alpha=0.4 if halo else 1)
            if np.isfinite(y).any():
                value = float(y[np.isfinite(y)][-1])
                ends.append(End(at[-1], value, f"{name} {value:.2f}", color))
        axes.set_ylim(0, 1.03)
        axes.set_ylabel("share S that varies with the image")
        block_axis(axes, theme, rows)
        label_ends(axes, ends)
        return figure

    s, start = column(rows, "S"), column(before, "S")
    title = "The gate hardly depends on the image in any block"
    if np.isfinite(s).any() and (top := int(np.nanargmax(s))) is not None and s[top] >= LOOKS:
        title = f"The gate depends on the image most in {rows[top]['block']}: S\u00a0{s[top]:.2f}"
        if np.isfinite(start[top]):
            title += f" (before training {start[top]:.2f})"
    caption = (
        "S = within / (within + between) variance per channel: 0 perfect stripes, 1 none. Solid: "
        "trained; dashed: before training. A small S proves nothing by itself: see the drop when "
        "frozen."
    )
    return Plot("stripes", title, caption, draw)


def _deviations(rows: list[Record]) -> Plot:
    after = np.sum([row["sigma_histogram"] for row in rows], axis=0)
    starts = [row["before"]["sigma_histogram"] for row in rows if row.get("before")]
    before = np.sum(starts, axis=0) if len(starts) == len(rows) else None
    edges = np.linspace(0, 0.5, BINS + 1)
    counts = after if before is None else after + before
    last = int(np.max(np.flatnonzero(counts), initial=4)) + 1

    def draw(theme: Theme) -> Figure:
        figure, (axes,) = new_figure(theme)
        axes.stairs(after, edges, color=theme.colors[0], fill=True, alpha=0.35)
        axes.stairs(after, edges, color=theme.colors[0], linewidth=2, label="trained")
        if before is not None:
            axes.stairs(before, edges, color=theme.muted, linewidth=1.6, linestyle=DASHED,
                        label="before training")  # fmt: skip
            axes.legend(frameon=False, fontsize=SMALL, labelcolor=theme.ink)
        axes.set_xlim(0, edges[last])
        axes.set_xlabel("standard deviation of the gate over images")
        axes.set_ylabel("channels")
        return figure

    still = float(after[:5].sum() / after.sum())
    title = f"{100 * still:.0f} % of all channels deviate by less than 0.05"
    caption = f"All channels of all gates, bins of 0.01; {rows[0]['images']:,} images."
    return Plot("sigma", title, caption, draw)


def _maps(stage: int, found: list[Stripes]) -> Plot:
    chosen = [found[i] for i in sorted({0, len(found) // 2, len(found) - 1})]
    pairs = [(_corner(one.u), _corner(one.v)) for one in chosen]

    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(4.8, 0.75 + 1.05 * len(pairs)), facecolor=theme.paper)
        grid = figure.subplots(
            len(pairs), 2, squeeze=False,
            gridspec_kw={"left": 0.02, "right": 0.84, "bottom": 0.55 / figure.get_figheight(),
                         "top": 1 - 0.25 / figure.get_figheight(), "wspace": 0.06, "hspace": 0.16},
        )  # fmt: skip
        for side, name in enumerate(("module input", "gate")):
            values = np.concatenate([pair[side].ravel() for pair in pairs])
            low, high = np.quantile(values, (0.01, 0.99))
            for row, (axes, pair) in enumerate(zip(grid[:, side], pairs, strict=True)):
                image = axes.imshow(pair[side], aspect="auto", cmap="cividis", vmin=low,
                                    vmax=high, interpolation="nearest")  # fmt: skip
                axes.set_axis_off()
                axes.yaxis.label.set_color(theme.ink)  # `render` writes the title in it
                if not row:
                    axes.set_title(name, fontsize=SMALL + 1, color=theme.ink, pad=4)
                if side:
                    block = chosen[row].seat.block
                    axes.text(1.03, 0.5, block, transform=axes.transAxes, va="center",
                              fontsize=SMALL, color=theme.ink)  # fmt: skip
            box = grid[-1, side].get_position()
            bar = figure.colorbar(image, orientation="horizontal", cax=figure.add_axes(
                (box.x0, box.y0 - 0.16 / figure.get_figheight(), box.width,
                 0.08 / figure.get_figheight())))  # fmt: skip
            bar.outline.set_visible(False)
            ends = image.get_clim()  # gates may differ in their fifth digit only
            names = bar.ax.set_xticks(ends, [f"{end:.5g}" for end in ends], ha="left")
            names[-1].label1.set_horizontalalignment("right")
            bar.ax.tick_params(labelsize=SMALL, colors=theme.muted, length=0, pad=3)
        return figure

    images, channels = pairs[0][0].shape
    shares = {one.seat.block: share_within(one.v) or 0.0 for one in chosen if one.v is not None}
    block = max(shares, key=lambda name: shares[name])
    title = f"Stage {stage}: gates hardly look at the image (S up to {shares[block]:.2f})"
    if shares[block] >= LOOKS:
        title = f"Stage {stage}: the gate of {block} looks at the image (S {shares[block]:.2f})"
    caption = (
        f"Rows: the first {images} images; columns: the first {channels} channels; first, middle "
        "and last gate of the stage. Vertical stripes: the gate does not look at the image. One "
        "colour scale for all inputs, one for all gates, each cut at its 1st and 99th percentile."
    )
    return Plot(f"stripes-stage{stage}", title, caption, draw)


def _corner(values: Any) -> np.ndarray:
    corner: np.ndarray = values[:IMAGES, :CHANNELS].numpy()
    return corner
