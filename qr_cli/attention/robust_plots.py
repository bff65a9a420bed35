"""Plots of accuracy under disturbed pixels: one per kind of attack, from the records alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from qr_cli.attention.block_plots import column
from qr_cli.engine.figures import End, Theme, label_ends, new_figure
from qr_cli.engine.report import Plot

Record = dict[str, Any]
NAMES = {"noise": "Gaussian noise", "fgsm": "one gradient step"}
LEVELS = "/255"  # strengths in steps of an 8-bit pixel


def robust_plots(records: Sequence[Record]) -> list[Plot]:
    """Return top-1 against strength with its interval, a plot per kind of attack."""
    rows = [record for record in records if record.get("event") == "robust"]
    kinds = dict.fromkeys(row["attack"] for row in rows)
    return [_against_strength(kind, [r for r in rows if r["attack"] == kind]) for kind in kinds]


def _against_strength(kind: str, rows: list[Record]) -> Plot:
    rows = sorted(rows, key=lambda row: row["strength"])
    strengths, top1 = column(rows, "strength"), column(rows, "top1")
    errors = [top1 - column(rows, "top1_low"), column(rows, "top1_high") - top1]
    clean = float(rows[0]["clean"])
    names, unit = [row["eps"] for row in rows], "pixels in [0, 1]"
    if all(name.endswith(LEVELS) for name in names):
        names, unit = [name.removesuffix(LEVELS) for name in names], "of 255 levels of a pixel"

    def draw(theme: Theme) -> Figure:
        figure, (axes,) = new_figure(theme)
        color = theme.colors[0]
        axes.axhline(clean, color=theme.muted, linewidth=0.8, linestyle=(0, (4, 2)))
        axes.plot([0, *strengths], [clean, *top1], color=color, linewidth=2)
        axes.errorbar(strengths, top1, errors, color=color, fmt="o", markersize=5, capsize=3,
                      clip_on=False)  # fmt: skip
        axes.set_xticks(strengths, names)
        axes.set_xlim(0, strengths[-1] * 1.04)
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
        axes.set_xlabel(f"strength, {unit}")
        axes.set_ylabel("top-1 accuracy (%)")
        label_ends(axes, [
            End(0, clean, "clean", theme.muted), End(0, float(top1[-1]), "disturbed", color)
        ])  # fmt: skip
        return figure

    last = rows[-1]
    title = f"Top-1 is {100 * last['top1']:.1f} % under {NAMES[kind]} of {last['eps']}, "
    title += f"{100 * clean:.1f} % without"
    caption = (
        f"{rows[0]['images']:,} test images, 95 % Wilson intervals; {last['convention']}. "
        "Measured, no claim."
    )
    return Plot(f"robust-{kind}", title, caption, draw)
