"""Plots of a training run, drawn from the records of its `metrics.jsonl`.

Every function takes records and returns a `Plot`, whose title states what is seen in these very
records and whose caption says how it was got. A value that is missing, null or not finite leaves a
gap; a plot without any value is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, PercentFormatter

from qr_cli.engine.figures import SMALL, End, Theme, label_ends, new_figure
from qr_cli.engine.report import Plot

Record = dict[str, Any]
SPLITS = ("train", "val", "test")
MOST_POINTS = 300
_OPEN = 0.5  # gate from which the axis goes up to 1
_ALIKE = 0.05  # distance of q_0 from 1/2 within which both pools count alike [ours]


def training_plots(records: Sequence[Record]) -> list[Plot]:
    """Return the plots these records allow: loss and rate, top-1, gates by stage, start, q_0."""
    epochs = [record for record in records if record.get("event") == "epoch"]
    steps = [record for record in records if record.get("event") == "step"]
    probes = [record for record in records if record.get("event") == "probe"]
    result = next((r for r in reversed(records) if r.get("event") == "result"), {})
    plots = [
        loss_plot(epochs, steps),
        top1_plot(epochs, result),
        gate_plot(probes),
        start_gate_plot([record for record in probes if record.get("epoch") == 0]),
        mix_plot(probes),
    ]
    return [plot for plot in plots if plot]


def loss_plot(epochs: list[Record], steps: list[Record]) -> Plot | None:
    """Return losses over epochs, the learning rate below."""
    turns = _column(epochs, "epoch")
    if epochs and not np.isfinite(_column(epochs, "step")).any():
        steps = []  # nothing says to which epoch a step belongs
    lines = {"train": _column(epochs, "loss"), "val": _column(epochs, "val_loss")}
    lines["test"] = _column(epochs, "test_loss")
    lines = {split: y for split, y in lines.items() if np.isfinite(y).any()}
    at, unit = _positions(steps, epochs)
    each, block = _thin(at, _column(steps, "loss"))
    if not lines and not np.isfinite(each[1]).any():
        return None
    rates = (at, _column(steps, "lr")) if steps else (turns, _column(epochs, "lr"))

    def draw(theme: Theme) -> Figure:
        figure, (top, below) = new_figure(theme, heights=(3, 1))
        top.plot(*each, color=theme.rule, linewidth=1.2, zorder=1)
        last = _last_epoch(turns, at)
        ends = _draw_lines(top, theme, turns, lines, "{:.3g}".format)
        top.set_ylim(bottom=0)
        top.set_ylabel("loss (nats)")
        below.plot(*_thin(*rates)[0], color=theme.muted, linewidth=1.4, marker=_dot(rates[0]))
        peak = float(np.nanmax(rates[1], initial=0))
        below.set_ylim(0, 1.1 * peak or 1)
        below.set_yticks([0, peak], ["0", ""])
        below.set_ylabel("rate")
        _epoch_axis(below, last)
        below.set_xlabel(unit)
        label_ends(top, ends)
        label_ends(below, [End(0, peak, f"peak\n{peak:.3g}", theme.muted)])
        return figure

    caption = "Bold: mean over the epoch (train) and over the split after it (other lines)."
    if steps:
        grain = "every logged step" if block == 1 else f"means over {block} logged steps"
        caption += f" Pale: training loss, {grain}."
    return Plot("loss", _loss_title(lines), caption + " Below: learning rate.", draw)


def top1_plot(epochs: list[Record], result: Record) -> Plot | None:
    """Return top-1 by split; the best epoch is hollow and says what it was selected on."""
    turns = _column(epochs, "epoch")
    lines = {split: _column(epochs, f"{split}_top1") for split in SPLITS}
    lines = {split: y for split, y in lines.items() if np.isfinite(y).any()}
    if not lines:
        return None
    best = _best(turns, lines, result)

    def draw(theme: Theme) -> Figure:
        figure, (axes,) = new_figure(theme)
        ends = _draw_lines(axes, theme, turns, lines, _per_cent)
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
        axes.set_ylabel("top-1 accuracy (%)")
        _epoch_axis(axes, _last_epoch(turns))
        if best:
            _mark_best(axes, theme, *best)
        label_ends(axes, ends)
        return figure

    ends = [f"{split} {_per_cent(_last(y))}" for split, y in reversed(lines.items())]
    title = f"Top-1 accuracy ends at {', '.join(ends)}"
    caption = "Whole split after each epoch; train is counted while the weights still move."
    if best:
        caption += f" Hollow: best epoch, chosen on {best[0]}"
        caption += ", so not an unbiased figure." if best[0] == "test" else "."
    return Plot("top1", title, caption, draw)


def gate_plot(probes: list[Record]) -> Plot | None:
    """Return the mean gate of every stage over epochs, with one standard deviation as a band."""
    stages: dict[Any, list[Record]] = {}
    for record in probes:
        stages.setdefault(record.get("stage"), []).append(record)
    lines = {
        stage: (_column(rows, "epoch"), _column(rows, "gate_mean"), _column(rows, "gate_std"))
        for stage, rows in sorted(stages.items(), key=lambda item: str(item[0]))
    }
    lines = {stage: line for stage, line in lines.items() if np.isfinite(line[1]).any()}
    if not lines:
        return None

    def draw(theme: Theme) -> Figure:
        figure, (axes,) = new_figure(theme)
        ends = []
        for index, (stage, (x, y, spread)) in enumerate(lines.items()):
            color = theme.colors[index % len(theme.colors)]
            low = np.maximum(y - spread, 0)
            axes.fill_between(x, low, y + spread, color=color, alpha=0.13, linewidth=0)
            axes.plot(x, y, color=color, linewidth=2, marker=_dot(x), markersize=3.5)
            ends.append(End(x[-1], _last(y), f"stage {stage}\n{_gate(_last(y))}", color))
        tops = [np.nanmax(y + np.nan_to_num(spread)) for _, y, spread in lines.values()]
        highest = float(max(tops))
        axes.set_ylim(0, 1 if _OPEN <= highest <= 1 else 1.2 * highest or 1)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_ylabel("mean gate")
        _epoch_axis(axes, _last_epoch(*(line[0] for line in lines.values())))
        label_ends(axes, ends)
        return figure

    moves = {stage: (_first(y), _last(y)) for stage, (_, y, _) in lines.items()}
    stage, (first, last) = max(moves.items(), key=lambda item: abs(item[1][1] - item[1][0]))
    change = f"{_gate(first)} to {_gate(last)}"
    title = f"Stage {stage} moves most: mean gate {change}"
    if _gate(first) == _gate(last):
        title = "The mean gate of no stage has moved"
    elif len(lines) == 1:
        title = f"Mean gate of stage {stage}: {change}"
    caption = (
        "Mean over images, channels and blocks of a stage; band: one standard deviation. Epoch 0: "
        "the start, with batch statistics of the probe."
    )
    return Plot("gates", title, caption, draw)


def start_gate_plot(rows: list[Record]) -> Plot | None:
    """Return a bar per stage from the probes of the start."""
    rows = [row for row in rows if math.isfinite(_number(row.get("gate_mean")))]
    if not rows:
        return None
    values = [_number(row["gate_mean"]) for row in rows]
    names = [f"stage {row['stage']}" for row in rows]

    def draw(theme: Theme) -> Figure:
        figure, (axes,) = new_figure(theme, height=0.9 + 0.28 * len(rows))
        axes.barh(range(len(rows)), values, height=0.55, color=theme.colors[0])
        axes.axvline(1, color=theme.muted, linewidth=1, linestyle=(0, (3, 2)))
        axes.set_yticks(range(len(rows)), names)
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.set_xlim(0, max(1.0, *values) * 1.02)
        axes.set_xlabel("mean gate before training")
        for row, value in enumerate(values):
            axes.annotate(
                f"{value:.3f}", (value, row), xytext=(5, 0), textcoords="offset points",
                va="center", color=theme.ink, fontsize=SMALL,
            )  # fmt: skip
        return figure

    span = f"{min(values):.3f}"
    if max(values) > min(values):
        span += f" to {max(values):.3f}"
    caption = "Mean gate at initialization; at 1 (dashed) a block passes on what it computed."
    return Plot("start-gate", f"Before training the gate is {span}", caption, draw)


def mix_plot(probes: list[Record]) -> Plot | None:
    """Return q_0, the share of the maximum, of every SPEM block over epochs."""
    turns = sorted({int(record["epoch"]) for record in probes if record.get("spem_q0")})
    table: dict[tuple[Any, int], dict[int, float]] = {}
    for record in probes:
        for block, share in enumerate(record.get("spem_q0") or ()):
            table.setdefault((record["stage"], block), {})[record["epoch"]] = _number(share)
    if not table:
        return None
    blocks = sorted(table)
    shares = np.array([[table[block].get(turn, math.nan) for turn in turns] for block in blocks])

    def draw(theme: Theme) -> Figure:
        figure, (axes,) = new_figure(theme, height=1.2 + max(1.2, min(3.0, 0.2 * len(blocks))))
        colors = (theme.colors[0], theme.rule, theme.colors[1])
        image = axes.imshow(
            shares, cmap=LinearSegmentedColormap.from_list("mix", colors), vmin=0, vmax=1,
            aspect="auto", interpolation="none",
            extent=(turns[0] - 0.5, turns[-1] + 0.5, len(blocks) - 0.5, -0.5),
        )  # fmt: skip
        axes.grid(visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("epoch")
        for row in range(1, len(blocks) if len(blocks) <= 20 else 0):
            axes.axhline(row - 0.5, color=theme.paper, linewidth=0.8)
        stages = [stage for stage, _ in blocks]
        firsts = [stages.index(stage) for stage in dict.fromkeys(stages)]
        for first in firsts[1:]:
            axes.axhline(first - 0.5, color=theme.paper, linewidth=4 if len(blocks) <= 20 else 2)
        middles = [first + (stages.count(stages[first]) - 1) / 2 for first in firsts]
        axes.set_yticks(middles, [f"stage\n{stages[first]}" for first in firsts])
        box = axes.get_position()
        scale = figure.add_axes((box.x1 + 0.02, box.y0, 0.02, box.height))
        bar = figure.colorbar(image, cax=scale, ticks=[0, 0.5, 1])
        bar.outline.set_edgecolor(theme.muted)
        bar.ax.set_yticklabels(["min", "half", "max"], fontsize=SMALL, color=theme.muted)
        bar.ax.tick_params(length=0, pad=4)
        return figure

    last = [_last(row) for row in shares if np.isfinite(row).any()]
    ends = {
        "nearer the maximum": sum(share > 0.5 + _ALIKE for share in last),
        "nearer the minimum": sum(share < 0.5 - _ALIKE for share in last),
        "with both alike": sum(abs(share - 0.5) <= _ALIKE for share in last),
    }
    most = max(ends, key=lambda name: ends[name])
    title = f"SPEM ends {most} in {ends[most]} of {len(blocks)} blocks"
    caption = (
        "q_0 of every block, the first one on top: 1 is the maximum alone, 0 the minimum alone. "
        "The penalty pulls p to 0 from both sides, so that q_0 may jump."
    )
    return Plot("spem-mix", title, caption, draw)


def _draw_lines(
    axes: Axes, theme: Theme, x: np.ndarray, lines: dict[str, np.ndarray], show: Any
) -> list[End]:
    """Plot a line per split and return its end labels; train recedes, test leads."""
    colors = {"train": theme.muted, "val": theme.colors[1], "test": theme.colors[0]}
    for split, y in lines.items():
        axes.plot(
            x, y, color=colors[split], linewidth=1.6 if split == "train" else 2.2,
            marker=_dot(x), markersize=4, clip_on=False,
        )  # fmt: skip
    return [
        End(x[-1], _last(y), f"{split}\n{show(_last(y))}", colors[split])
        for split, y in lines.items()
    ]


def _best(
    x: np.ndarray, lines: dict[str, np.ndarray], result: Record
) -> tuple[str, float, float] | None:
    """Return what the best epoch was selected on, the epoch, and the test figure of that epoch."""
    split = str(result.get("best_selected_on") or ("val" if "val" in lines else "test"))
    epoch, value = _number(result.get("best_epoch")), _number(result.get("best_top1"))
    if not math.isfinite(epoch + value) and split in lines:
        index = int(np.nanargmax(lines[split]))
        epoch, value = float(x[index]), float(lines.get("test", lines[split])[index])
    return (split, epoch, value) if math.isfinite(epoch + value) else None


def _mark_best(axes: Axes, theme: Theme, split: str, epoch: float, value: float) -> None:
    axes.plot(
        [epoch], [value], "o", markersize=8.5, markerfacecolor=theme.paper,
        markeredgecolor=theme.colors[0], markeredgewidth=2, zorder=5, clip_on=False,
    )  # fmt: skip
    left, right = axes.get_xlim()
    side = "right" if epoch > (left + right) / 2 else "left"
    below = value > 0.35
    axes.annotate(
        f"best {_per_cent(value)}, epoch {epoch:.0f}\n{split}-selected", (epoch, value),
        xytext=(0, -42 if below else 42), textcoords="offset points", ha=side,
        va="top" if below else "bottom", color=theme.ink, fontsize=SMALL, linespacing=1.25,
        path_effects=[withStroke(linewidth=3, foreground=theme.paper)],
        arrowprops={"arrowstyle": "-", "color": theme.muted, "linewidth": 0.8, "shrinkB": 5,
                    "relpos": (float(side == "right"), float(below))},
    )  # fmt: skip


def _epoch_axis(axes: Axes, last: float) -> None:
    axes.set_xlim(0, max(last, 1))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("epoch")


def _loss_title(lines: dict[str, np.ndarray]) -> str:
    if not lines:
        return "Training loss by step"
    split = "test" if "test" in lines else next(iter(lines))
    first, last = _first(lines[split]), _last(lines[split])
    verb = "falls from" if last < first else "rises from"
    name = split.capitalize() if split != "train" else "Training"
    if np.isfinite(lines[split]).sum() == 1:
        return f"{name} loss after one epoch: {last:.3g}"
    return f"{name} loss {verb} {first:.3g} to {last:.3g}"


def _positions(steps: list[Record], epochs: list[Record]) -> tuple[np.ndarray, str]:
    """Return where the steps stand and in what unit: epochs, or steps before any epoch ended."""
    at = _column(steps, "step")
    ends = np.array([_column(epochs, "step"), _column(epochs, "epoch")])
    ends = ends[:, np.isfinite(ends).all(axis=0)]
    if not ends.size:
        return at, "step"
    step, epoch = ends[:, -1]
    beyond = (2 * step, 2 * epoch)  # an epoch that was begun and not ended
    return np.interp(at, [0, *ends[0], beyond[0]], [0, *ends[1], beyond[1]]), "epoch"


def _thin(x: np.ndarray, y: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], int]:
    """Return means over blocks, so that at most `MOST_POINTS` remain, and the block's length."""
    block = max(1, math.ceil(len(x) / MOST_POINTS))
    starts = range(0, len(x), block)
    means = [np.array([line[i : i + block].mean() for i in starts]) for line in (x, y)]
    return (means[0], means[1]), block


def _column(records: list[Record], key: str) -> np.ndarray:
    return np.array([_number(record.get(key)) for record in records], dtype=float)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return math.nan
    return float(value)


def _first(y: np.ndarray) -> float:
    return float(y[np.isfinite(y)][0])


def _last(y: np.ndarray) -> float:
    return float(y[np.isfinite(y)][-1])


def _last_epoch(*columns: np.ndarray) -> float:
    return max((float(x[np.isfinite(x)].max(initial=0)) for x in columns), default=0)


def _dot(x: Sequence[float] | np.ndarray) -> str:
    return "o" if len(x) <= 12 else ""


def _gate(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _per_cent(value: float) -> str:
    return f"{100 * value:.1f} %"
