"""A comparison as plots: top-1 against parameters and against latency, from `compare` records."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox

from qr_cli.attention.compare_tables import accuracy_words, latency_words, many, points
from qr_cli.engine.figures import SMALL, Theme, new_figure
from qr_cli.engine.report import Plot

Record = dict[str, Any]
MARKS = "Diamond and dashes: the baseline. Hollow: a difference that is not shown."
LONGEST = 24  # characters of a label in a picture
# where a label may stand: points right of and above its marker, and which end of it is there
SIDES: tuple[tuple[int, Literal["left", "right"]], ...] = ((1, "left"), (-1, "right"))
ACROSS_UP = ((7, 0), (5, 11), (5, -11), (5, 24), (5, -24), (5, 37), (5, -37))


def comparison_plots(records: Sequence[Record]) -> list[Plot]:
    """Return top-1 against parameters, and against latency where it was measured.

    One group alone has no plot.
    """
    if len(records) < 2:
        return []
    caption = f"{accuracy_words(records)} {MARKS}"
    plots = [
        Plot(
            "top1-parameters",
            _differences(records),
            caption,
            lambda theme: _scatter(theme, records, "parameters"),
        )
    ]
    if all(record["latency_ms"] is not None for record in records):
        plots.append(
            Plot(
                "top1-latency",
                _speeds(records),
                f"{caption} {latency_words(records[0])} Bar across: half the interquartile range "
                "either side of the median.",
                lambda theme: _scatter(theme, records, "latency_ms"),
            )
        )
    return plots


def _scatter(theme: Theme, records: Sequence[Record], key: str) -> Figure:
    """Return top-1 with its interval against `key`."""
    figure, (axes,) = new_figure(theme)
    place = axes.get_position()
    axes.set_position((place.x0, place.y0, 0.97 - place.x0, place.height))
    base = next((r for r in records if r["group"] == r["baseline"]), records[0])
    axes.axhline(base["last_top1"], color=theme.muted, linewidth=1, linestyle=(0, (3, 2)))
    for record in records:
        x, y = record[key], record["last_top1"]
        shown = record is base or record["delta_shown"]
        color = theme.ink if record is base else theme.colors[0] if shown else theme.muted
        axes.plot([x, x], [record["last_low"], record["last_high"]], color=color, linewidth=1.4)
        axes.plot(_across(record, key), [y, y], color=color, linewidth=0.9)
        axes.plot(
            [x], [y], "D" if record is base else "o", markersize=6.5, markeredgecolor=color,
            markerfacecolor=color if shown else theme.paper, markeredgewidth=1.6, zorder=3,
        )  # fmt: skip
    _axes(axes, records, key)
    _label(axes, theme, records, key, level=base["last_top1"])
    return figure


def _across(record: Record, key: str) -> list[float]:
    """Return the ends of the bar along x."""
    half = record["latency_iqr_ms"] / 2 if key == "latency_ms" else 0
    return [record[key] - half, record[key] + half]


def _axes(axes: Axes, records: Sequence[Record], key: str) -> None:
    xs = [x for record in records for x in _across(record, key)]
    ys = [record[f"last_{end}"] for record in records for end in ("low", "high")]
    aside = 0.12 * (max(xs) - min(xs)) or 0.05 * max(xs)
    above = 0.08 * (max(ys) - min(ys)) or 0.01
    axes.set_xlim(min(xs) - aside, max(xs) + aside)
    axes.set_ylim(max(0, min(ys) - above), min(1, max(ys)) + above)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}"))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_ylabel("top-1 accuracy, last epoch (%)")
    if key == "parameters":
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_xlabel("parameters")
        return
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    images = many(records[0]["latency_batch"], "image")
    axes.set_xlabel(f"{records[0]['latency_clock']} time of {images} (ms)")


def _label(axes: Axes, theme: Theme, records: Sequence[Record], key: str, *, level: float) -> None:
    """Write each group's name where it covers least of marks, bars, names and the level line."""
    point, frame = axes.figure.dpi / 72, axes.get_window_extent()

    def box(x: Sequence[float], y: Sequence[float], margin: float) -> Bbox:
        corners = axes.transData.transform([(x[0], y[0]), (x[-1], y[-1])])
        return Bbox(corners).padded(margin * point)

    taken = [box(axes.get_xlim(), [level], 1)]
    for record in records:
        x, y = [record[key]], [record["last_top1"]]
        taken += [box(x, [record["last_low"], record["last_high"]], 1), box(x, y, 5)]
        taken.append(box(_across(record, key), y, 1))
    for record in sorted(records, key=lambda record: -record["last_top1"]):
        name = record["group"]
        name = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
        size = axes.text(0, 0, name, fontsize=SMALL)
        width, height = size.get_window_extent().size
        size.remove()
        at = (record[key], record["last_top1"])
        x, y = axes.transData.transform(at)
        tried: list[tuple[float, Bbox, tuple[int, int], Literal["left", "right"]]] = []
        for (across, up), (side, end) in product(ACROSS_UP, SIDES):
            left = x + across * point if side > 0 else x - across * point - width
            spot = Bbox.from_bounds(left, y + up * point - height / 2, width, height)
            covered = sum(_area(spot, other) for other in taken) + _outside(spot, frame)
            tried.append((covered, spot, (side * across, up), end))
        _, spot, offset, end = min(tried, key=lambda choice: round(choice[0]))
        taken.append(spot)
        axes.annotate(
            name, at, xytext=offset, textcoords="offset points", color=theme.ink, ha=end,
            va="center", fontsize=SMALL, zorder=4, annotation_clip=False,
            path_effects=[withStroke(linewidth=3, foreground=theme.paper)],
            arrowprops={"arrowstyle": "-", "color": theme.muted, "linewidth": 0.8, "shrinkA": 0,
                        "shrinkB": 4, "relpos": (float(end == "right"), 0.5)},
        )  # fmt: skip


def _area(a: Bbox, b: Bbox) -> float:
    shared = Bbox.intersection(a, b)
    return 0.0 if shared is None else float(shared.width * shared.height)


def _outside(box: Bbox, frame: Bbox) -> float:
    return float(box.width * box.height) - _area(box, frame)


def _differences(records: Sequence[Record]) -> str:
    """Return a title: which groups differ from the baseline, the largest difference first."""
    others = [record for record in records if record["group"] != record["baseline"]]
    base = records[0]["baseline"]
    shown = [record for record in others if record["delta_shown"]]
    if len(others) == 1:
        only = others[0]
        if not shown:
            return f"{only['group']} is not shown to differ from {base}"
        side = "above" if only["delta"] > 0 else "below"
        return f"{only['group']} is {100 * abs(only['delta']):.2f} points {side} {base}"
    if not shown:
        return f"No group is shown to differ from {base}"
    most = max(shown, key=lambda record: abs(record["delta"]))
    count = f"{len(shown)} of {len(others)} groups"
    change = f"{most['group']} most ({points(most['delta'])} points)"
    return f"{count} shown to differ from {base}, {change}"


def _speeds(records: Sequence[Record]) -> str:
    """Return a title: the range of times beside the baseline's."""
    base = records[0]["baseline"]
    others = [r["latency_ratio"] for r in records if r["group"] != base]
    low, high = f"{min(others):.2f}", f"{max(others):.2f}"
    times = low if low == high else f"{low} to {high}"
    return f"A forward pass takes {times} times as long as that of {base}"
