"""Pictures of a fold: error per site, weight spread, time, and what holding a gate costs."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from torch import nn

from qr_cli.engine.figures import SMALL, Theme, new_figure
from qr_cli.engine.report import Plot
from qr_cli.reparam.folding import Result
from qr_cli.reparam.health import SPREAD, spreads
from qr_cli.reparam.verifying import EXACT, SITE, Check

Record = dict[str, Any]
FLOOR = 1e-17  # where an error of 0 is drawn


def plots(
    model: nn.Module, result: Result, check: Check, events: dict[str, list[Record]]
) -> list[Plot]:
    """Return the figures that have something to show."""
    found = []
    if check.sites:
        found.append(_errors(check))
    before, after = spreads(model), spreads(result.model)
    if after:
        found.append(_spread(before, after))
    if events.get("latency"):
        found.append(_times(events["latency"][0]))
    singles = [r for r in events.get("approx", []) if r.get("S") is not None]
    if singles:
        found.append(_stripes(singles))
    return found


def _errors(check: Check) -> Plot:
    errors = [max(error, FLOOR) for error in check.sites.values()]
    worst = max(errors)

    def draw(theme: Theme) -> Figure:
        figure, (axes,) = new_figure(theme)
        axes.scatter(range(1, len(errors) + 1), errors, s=16, color=theme.colors[0])
        axes.set_yscale("log")
        for limit, text in ((SITE, "limit of a site"), (EXACT, "of the network")):
            axes.axhline(limit, color=theme.colors[1], linewidth=1, linestyle="--")
            axes.text(1, limit * 1.5, text, color=theme.colors[1], fontsize=SMALL)
        axes.set_ylim(FLOOR / 3, EXACT * 30)
        axes.set_xlabel("site, in the order of the plan")
        axes.set_ylabel("max|a - b| / max|a|")
        return figure

    return Plot(
        "errors",
        f"{len(errors)} folded sites differ by {worst:.0e} at most",
        "Float64. Each folded site on the input that it has in the original.",
        draw,
    )


def _spread(before: dict[str, float], after: dict[str, float]) -> Plot:
    names = list(after)
    old = [before.get(name) for name in names]
    new = [after[name] for name in names]
    wide = sum(r > SPREAD for r in new)

    def draw(theme: Theme) -> Figure:
        figure, (axes,) = new_figure(theme)
        at = range(1, len(names) + 1)
        known = [(x, y) for x, y in zip(at, old, strict=True) if y is not None]
        axes.scatter([x for x, _ in known], [y for _, y in known], s=14, marker="o",
                     facecolors="none", edgecolors=theme.muted, label="before")  # fmt: skip
        axes.scatter(at, new, s=14, color=theme.colors[0], label="after")
        axes.axhline(SPREAD, color=theme.colors[1], linewidth=1, linestyle="--")
        axes.text(1, SPREAD * 1.06, "wide above", color=theme.colors[1], fontsize=SMALL)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if value in (2, 5) else "")
        axes.set_ylim(0.9, 2 * max(SPREAD, *new))
        axes.set_xlabel("layer, in network order")
        axes.set_ylabel("largest over median channel")
        axes.legend(frameon=False, fontsize=SMALL, labelcolor=theme.ink, loc="upper right")
        return figure

    return Plot(
        "spread",
        f"{wide} of {len(names)} layers have a weight spread over {SPREAD:g}",
        "max over median of the channels' largest weight; wide layers quantise badly.",
        draw,
    )


def _times(timing: Record) -> Plot:
    names = list(timing["ms"])
    values = [timing["ms"][name] for name in names]
    spread = [timing["iqr_ms"][name] / 2 for name in names]
    first = values[0]
    band = first * abs(timing["noise"] - 1)

    def draw(theme: Theme) -> Figure:
        figure, (axes,) = new_figure(theme)
        axes.axhspan(first - band, first + band, color=theme.rule)
        axes.bar(names, values, width=0.6, color=theme.colors[0], yerr=spread,
                 ecolor=theme.muted, capsize=3)  # fmt: skip
        axes.set_ylim(0, max(v + s for v, s in zip(values, spread, strict=True)) * 1.15)
        axes.set_ylabel("ms per pass")
        axes.set_xlabel(f"batch {timing['batch']}, {timing['threads']} thread(s)")
        return figure

    return Plot(
        "latency",
        timing["text"],
        f"Median of {timing['rounds']} rounds in alternating order, {timing['clock']} time; bars: "
        f"half the IQR; band: noise of a second copy of {names[0]}.",
        draw,
    )


def _stripes(rows: list[Record]) -> Plot:
    def draw(theme: Theme) -> Figure:
        figure, (axes,) = new_figure(theme)
        x, y = [r["S"] for r in rows], [r["drop_points"] for r in rows]
        low = [r["drop_points"] - r["drop_low_points"] for r in rows]
        high = [r["drop_high_points"] - r["drop_points"] for r in rows]
        axes.axhline(0, color=theme.muted, linewidth=0.8)
        axes.errorbar(x, y, yerr=[low, high], fmt="o", markersize=4, color=theme.colors[0],
                      ecolor=theme.muted, elinewidth=0.8)  # fmt: skip
        axes.set_xlabel("S of the gate (0: perfect stripes)")
        axes.set_ylabel("drop of top-1, points")
        return figure

    worst = max(rows, key=lambda r: r["drop_points"])
    return Plot(
        "stripes",
        f"holding one gate costs {worst['drop_points']:.2f} points at most",
        "Each gate alone at its mean; paired 95 % intervals on the test split.",
        draw,
    )
