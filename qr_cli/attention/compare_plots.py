"""How a comparison is shown: two plots, a table for the page, a table for the terminal.

All are made from `compare` records alone. Shares are shown in per cent, differences of shares in
points (hundredths).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator, PercentFormatter
from matplotlib.transforms import Bbox

from qr_cli.engine.figures import SMALL, Theme, new_figure
from qr_cli.engine.report import Plot, Table

Record = dict[str, Any]
LONGEST = 24  # characters of a label in a picture
# where a label may stand: points right of and above its marker, and the side it starts from
SPOTS = [
    (side * across, up, "left" if side > 0 else "right")
    for up, across in ((0, 7), (11, 5), (-11, 5), (24, 5), (-24, 5), (37, 5), (-37, 5))
    for side in (1, -1)
]


def comparison_plots(records: Sequence[Record]) -> list[Plot]:
    """Return top-1 against parameters, and against latency where it was measured."""
    if not records:
        return []
    plots = [
        Plot(
            "top1-parameters",
            _differences(records),
            conventions(records),
            lambda theme: _scatter(theme, records, "parameters"),
        )
    ]
    if all(record["latency_ms"] is not None for record in records):
        plots.append(
            Plot(
                "top1-latency",
                _speeds(records),
                f"{conventions(records)} Across: median, half the interquartile range either side.",
                lambda theme: _scatter(theme, records, "latency_ms"),
            )
        )
    return plots


def report_table(records: Sequence[Record]) -> Table:
    """Return all figures as a table of the page; a difference that includes 0 is "not shown"."""
    columns = [
        *("group", "runs", "parameters", "of attention", "FLOPs", "ms", "x baseline", "start gate"),
        *("top-1 last", "95 %", "top-5 last", "top-1 best", "best - last", "difference", "p"),
    ]
    rows = [
        [
            *(record["group"], record["runs"], record["parameters"]),
            *(record["attention_parameters"], record["flops"]),
            *(record["latency_ms"], record["latency_ratio"], record["start_gate"]),
            *(_cent(record["last_top1"]), _span(record, "last", "{:.2f}")),
            *(_cent(record["last_top5"]), _cent(record["best_top1"])),
            *(_points(record["best_minus_last"]), _difference(record), record["mcnemar_p"]),
        ]
        for record in records
    ]
    return Table("Comparison", conventions(records), columns, rows)


def comparison_table(records: Sequence[Record]) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows for a terminal of 80 columns; ">" ends a column of numbers.

    Without latency its column is left out. Accuracies are in per cent, differences in points.
    """
    timed = any(record["latency_ms"] is not None for record in records)
    selected = next((r["best_selected_on"] for r in records if r["best_selected_on"]), None)
    best = f"best\n({selected})>" if selected else "best>"
    columns = ["group", "n>", "params>", "MFLOP>", "ms>", "top-1\nlast>", "95 %>", best, "delta>"]
    rows = [
        [
            record["group"],
            str(record["runs"]),
            _count(record["parameters"]),
            f"{record['flops'] / 1e6:.1f}",
            *([f"{record['latency_ms']:.2f}"] if timed else []),
            _cent(record["last_top1"]) or "-",
            _span(record, "last", "{:.1f}"),
            _cent(record["best_top1"]) or "-",
            _terminal_difference(record),
        ]
        for record in records
    ]
    return [name for name in columns if timed or name != "ms>"], rows


def conventions(records: Sequence[Record]) -> str:
    """Return in sentences how the figures were got, for a caption or a hint."""
    if not records:
        return ""
    first = records[0]
    kinds = "; ".join(dict.fromkeys(record["interval"] for record in records))
    text = f"Top-1 of the last epoch on {first['images']:,} test images, 95 % intervals ({kinds})."
    if selected := first["best_selected_on"]:
        text += f" Best: epoch selected on {selected}"
        text += ", so not an unbiased figure." if selected == "test" else ", reported on test."
    hows = "; ".join(dict.fromkeys(r["delta_interval"] for r in records if r["delta_interval"]))
    if hows:
        text += (
            f" Difference to {first['baseline']} ({hows}); not shown: its 95 % interval contains 0."
        )
    if first["latency_ms"] is not None:
        text += (
            f" Latency: {first['latency_clock']} time, batch {first['latency_batch']}, "
            f"{_many(first['threads'], 'thread')}; a second copy of {first['baseline']} takes "
            f"{first['latency_noise']:.2f} x its time, which is the noise."
        )
    text += f" FLOPs: one image, {first['flops_counted']}."
    return text + (f" {first['data_note']}" if first["data_note"] else "")


def _scatter(theme: Theme, records: Sequence[Record], key: str) -> Figure:
    """Return top-1 with its interval against `key`."""
    figure, (axes,) = new_figure(theme)
    axes.get_gridspec().update(right=0.97)
    base = next((r for r in records if r["group"] == r["baseline"]), records[0])
    axes.axhline(base["last_top1"], color=theme.muted, linewidth=1, linestyle=(0, (3, 2)))
    for record in records:
        x, y = record[key], record["last_top1"]
        shown = record is base or record["delta_shown"]
        color = theme.ink if record is base else theme.colors[0] if shown else theme.muted
        wide = record["latency_iqr_ms"] / 2 if key == "latency_ms" else 0
        axes.plot([x, x], [record["last_low"], record["last_high"]], color=color, linewidth=1.4)
        axes.plot([x - wide, x + wide], [y, y], color=color, linewidth=1.4)
        axes.plot(
            [x], [y], "D" if record is base else "o", markersize=6.5, markeredgecolor=color,
            markerfacecolor=color if shown else theme.paper, markeredgewidth=1.6, zorder=3,
        )  # fmt: skip
    _limits(axes, records, key)
    _label(axes, theme, records, key)
    return figure


def _limits(axes: Axes, records: Sequence[Record], key: str) -> None:
    xs = [record[key] for record in records]
    room = 0.2 * (max(xs) - min(xs)) or 0.05 * max(xs)
    axes.set_xlim(min(xs) - room, max(xs) + room)
    low, high = (
        pick(r[f"last_{end}"] for r in records) for pick, end in ((min, "low"), (max, "high"))
    )
    axes.set_ylim(max(0, low - 0.08 * (high - low)), min(1, high + 0.08 * (high - low)))
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_ylabel("top-1 accuracy, last epoch (%)")
    if key == "parameters":
        axes.xaxis.set_major_formatter(EngFormatter())
        axes.set_xlabel("parameters")
        return
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    first = records[0]
    images = _many(first["latency_batch"], "image")
    axes.set_xlabel(f"{first['latency_clock']} time of {images} (ms)")


def _label(axes: Axes, theme: Theme, records: Sequence[Record], key: str) -> None:
    """Write each group's name beside its marker, where it covers neither mark nor name."""
    scale = axes.figure.dpi / 72
    taken = []
    for record in records:
        ends = [(record[key], record[f"last_{end}"]) for end in ("low", "high")]
        (x, low), (_, high) = axes.transData.transform(ends)
        middle = axes.transData.transform((record[key], record["last_top1"]))[1]
        taken.append(Bbox([[x - 1, low], [x + 1, high]]))
        taken.append(
            Bbox([[x - 5 * scale, middle - 5 * scale], [x + 5 * scale, middle + 5 * scale]])
        )
    frame = axes.get_window_extent()
    for record in sorted(records, key=lambda r: -r["last_top1"]):
        name = record["group"]
        name = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
        text = axes.annotate(
            name, (record[key], record["last_top1"]), textcoords="offset points",
            color=theme.ink, fontsize=SMALL, va="center", zorder=4,
        )  # fmt: skip
        best: tuple[float, tuple[int, int, str]] | None = None
        for spot in SPOTS:
            text.set_position(spot[:2])
            text.set_horizontalalignment(spot[2])
            box = text.get_window_extent()
            covered = sum(_area(box, other) for other in taken) + _outside(box, frame)
            if best is None or covered < best[0]:
                best = (covered, spot)
            if covered < 1:  # square pixels
                break
        assert best is not None
        text.set_position(best[1][:2])
        text.set_horizontalalignment(best[1][2])
        taken.append(text.get_window_extent())


def _area(a: Bbox, b: Bbox) -> float:
    shared = Bbox.intersection(a, b)
    return 0.0 if shared is None else float(shared.width * shared.height)


def _outside(box: Bbox, frame: Bbox) -> float:
    return float(box.width * box.height) - _area(box, frame)


def _differences(records: Sequence[Record]) -> str:
    """Return a title: which groups differ from the baseline, the largest difference first."""
    others = [record for record in records if record["group"] != record["baseline"]]
    base = records[0]["baseline"]
    if not others:
        return f"{base} reaches {_cent(records[0]['last_top1'])} % top-1"
    shown = sorted((r for r in others if r["delta_shown"]), key=lambda r: -abs(r["delta"]))
    if not shown and len(others) == 1:
        return f"{others[0]['group']} is not shown to differ from {base}"
    if not shown:
        return f"No group is shown to differ from {base}"
    named = ", ".join(f"{r['group']} {_points(r['delta'])}" for r in shown[:3])
    more = ", ..." if len(shown) > 3 else ""
    return f"{len(shown)} of {len(others)} shown to differ from {base}: {named}{more} points"


def _speeds(records: Sequence[Record]) -> str:
    """Return a title: the range of times beside the baseline's."""
    base, noise = records[0]["baseline"], records[0]["latency_noise"]
    others = [r["latency_ratio"] for r in records if r["group"] != base]
    if not others:
        return f"{base} takes {records[0]['latency_ms']:.3g} ms"
    low, high = f"{min(others):.2f}", f"{max(others):.2f}"
    times = low if low == high else f"{low} to {high}"
    return f"{times} times as long as {base} (a copy of it: {noise:.2f})"


def _difference(record: Record) -> str:
    """Return the difference in points with its interval, or why there is none."""
    if record["delta"] is None:
        return "baseline"
    if record["delta_low"] is None:
        return "no interval"
    if not record["delta_shown"]:
        return "not shown"
    return f"{_points(record['delta'])} ({_span(record, 'delta', '{:+.2f}', ' to ')})"


def _terminal_difference(record: Record) -> str:
    return _points(record["delta"]) or "" if record["delta_shown"] else _difference(record)


def _span(record: Record, key: str, form: str, between: str = "-") -> str:
    return between.join(form.format(100 * record[f"{key}_{end}"]) for end in ("low", "high"))


def _cent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.2f}"


def _points(difference: float | None) -> str | None:
    return None if difference is None else f"{100 * difference:+.2f}"


def _count(number: int) -> str:
    """Return a number in at most six characters: 78.0k, 274.8k, 25.6M."""
    return f"{number / 1e6:.1f}M" if number >= 999_950 else f"{number / 1e3:.1f}k"


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
