"""Plots of attention bias: example images, and shares drawn from the `bias` records.

The verdicts and all definitions are those of `bias`, ours; every caption says so. A plot without
any value is left out.
Shapes: H height, W width, k boxes of an image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from torch import Tensor, nn

from qr_cli.attention.augment import Fetch
from qr_cli.attention.bias import VERDICTS, Examined
from qr_cli.attention.cam import explain
from qr_cli.engine.figures import SMALL, WIDTH, End, Theme, label_ends, new_figure
from qr_cli.engine.report import Plot

Record = Mapping[str, Any]
Floats = NDArray[np.float32]

EACH = 8  # example images per verdict
WORDS = {"position": "position-biased", "range": "range-biased", "unbiased": "unbiased"}
OURS = "Definition: ours."
_ORDER = ("unbiased", "range", "position")  # of the parts of a bar
_FITS = 0.14  # share of a bar that holds its figure
_ACROSS = 4  # pairs of pictures side by side
_MARGIN, _GAP, _SEAM, _HEADER, _WORDS = 0.06, 0.16, 0.03, 0.38, 0.36  # inches
_LETTERS = 17  # that fit under a pair


def bias_plots(records: Sequence[Record]) -> list[Plot]:
    """Return the plots these records allow: shares, precision against tau, shares by area."""
    rows = [r for r in records if r.get("event") == "bias" and _known(r.get("position"))]
    plots = [
        shares_plot([r for r in rows if r["subset"] == "all"]),
        tau_plot(records),
        area_plot([r for r in rows if r["subset"].startswith("area:") and not r["control"]]),
    ]
    return [plot for plot in plots if plot]


def shares_plot(rows: Sequence[Record]) -> Plot | None:
    """Return a stacked bar per run and control, from the records of all images."""
    if not rows:
        return None
    trained = [r for r in rows if not r["control"]] or list(rows)
    bars = [_Bar(_row_name(r), r) for r in rows]
    title = f"{trained[0]['run']}: " + ", ".join(
        f"{_share(trained[0][v])} {WORDS[v]}" for v in _ORDER
    )
    if len(trained) > 1:
        parts = [f"{r['run']} {_share(r['position'])}" for r in trained[:3]]
        title = f"Position-biased: {', '.join(parts)}{', ...' if len(trained) > 3 else ''}"
    caption = (
        f"Shares of the n images with a heat map, tau = {rows[0]['tau']:g}; in brackets the "
        f"bootstrap 95 % interval over images. {OURS}"
    )
    return Plot("bias-shares", title, caption, lambda theme: _stacked(theme, bars))


def area_plot(rows: Sequence[Record]) -> Plot | None:
    """Return a stacked bar per bin of box area and run."""
    if not rows:
        return None
    bins = sorted({r["subset"] for r in rows}, key=_low)
    runs = list(dict.fromkeys(r["run"] for r in rows))
    bars = [
        _Bar(f"box {_bin(name)}" + (f" · {r['run']}" if len(runs) > 1 else ""), r)
        for name in bins
        for r in rows
        if r["subset"] == name
    ]
    first = [r for r in rows if r["run"] == runs[0]]
    low, high = (pick(first, key=lambda r: r["unbiased"]) for pick in (min, max))
    title = f"{runs[0]}: {_share(low['unbiased'])} unbiased with boxes {_bin(low['subset'])}"
    title += f", {_share(high['unbiased'])} with {_bin(high['subset'])}" if low is not high else ""
    caption = (
        "By area of the box as a share of the image; n: images with a heat map; in brackets the "
        f"bootstrap 95 % interval over images. {OURS}"
    )
    return Plot("bias-area", title, caption, lambda theme: _stacked(theme, bars))


def tau_plot(records: Sequence[Record]) -> Plot | None:
    """Return precision against tau, a line per run, dashed for the control."""
    lines: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    chance: list[float] = []
    for record in records:
        if record.get("event") == "bias" and record["subset"] == "all" and not record["control"]:
            chance += [record["chance_energy"]] if _known(record["chance_energy"]) else []
        elif record.get("event") == "bias_sweep" and _known(record["precision"]):
            point = (record["tau"], record["precision"])
            lines.setdefault((record["run"], record["control"]), []).append(point)
    if not lines:
        return None

    def draw(theme: Theme) -> Figure:
        figure, (axes,) = new_figure(theme)
        runs = list(dict.fromkeys(run for run, _ in lines))
        ends = []
        for (run, untrained), points in lines.items():
            x, y = zip(*points, strict=True)
            color = theme.colors[runs.index(run) % len(theme.colors)]
            if untrained:
                axes.plot(x, y, color=color, linewidth=1.4, linestyle=(0, (4, 2)))
            else:
                axes.plot(x, y, color=color, linewidth=2.2, marker="o", markersize=4)
            name = "untrained" if untrained else _short(run, 11)
            ends.append(End(x[-1], y[-1], f"{name}\n{y[-1]:.2f}", color))
        if chance:
            level = sum(chance) / len(chance)
            axes.axhline(level, color=theme.muted, linewidth=1, linestyle=(0, (1, 2)))
            ends.append(End(1, level, f"chance\n{level:.2f}", theme.muted))
        axes.set_ylim(0, 1)
        axes.set_xlabel("tau, threshold of the heat map")
        axes.set_ylabel("precision")
        label_ends(axes, ends)
        return figure

    (run, _), points = next(iter(lines.items()))
    (start, first), (stop, last) = points[0], points[-1]
    title = f"{run}: precision {first:.2f} at tau {start:g}, {last:.2f} at {stop:g}"
    caption = "Precision: share of the focus that lies in the box, mean over images."
    if chance:
        caption += " Chance: mean area of the boxes."
    if any(untrained for _, untrained in lines):
        caption += " Dashed: the network before training."
    return Plot("bias-tau", title, f"{caption} {OURS}", draw)


def panel_plot(
    net: nn.Module, fetch: Fetch, found: Examined, *, run: str, seed: int = 0
) -> Plot | None:
    """Return up to eight images of each verdict, with box, heat map and focus.

    Args:
        net: the network that `found` is about; computes these maps again.
        fetch: gives its images, normalised, and their boxes.
        found: what `examine` returned.
        run: name of the run, for the title.
        seed: of the choice; within a verdict half are wrong predictions where there are enough.
    """
    if not bool(found.bias.defined.any()):
        return None
    tiles = {
        verdict: _tiles(net, fetch, found, chosen)
        for verdict, chosen in choose(found, seed=seed).items()
    }
    bias, total = found.bias, int(found.bias.defined.sum())
    counts = {verdict: int(getattr(bias, verdict).sum()) for verdict in VERDICTS}
    headers = {v: f"{_share(n / total)} ({n:,} of {total:,})" for v, n in counts.items()}
    shares = ", ".join(f"{_share(counts[v] / total)} {WORDS[v]}" for v in _ORDER)
    caption = (
        f"Left: image and box; right: Grad-CAM of the {_class(found)} at {found.layer}, line: tau ="
        f" {bias.tau:g}. a: precision, r: coverage; a wrong prediction follows the arrow. Up to"
        f" {EACH} images of each kind, chosen by seed {seed}, right and wrong mixed. {OURS}"
    )
    return Plot(
        "bias-images",
        f"{run}: {shares}",
        caption,
        lambda theme: _panel(theme, tiles, headers, bias.tau),
    )


def choose(found: Examined, *, each: int = EACH, seed: int = 0) -> dict[str, Tensor]:
    """Return positions in `found` of up to `each` images per verdict: right ones, then wrong."""
    order = torch.randperm(len(found.bias), generator=torch.Generator().manual_seed(seed))
    right = found.predicted == found.labels
    chosen = {}
    for verdict in VERDICTS:
        members = order[getattr(found.bias, verdict)[order]]
        good, bad = members[right[members]], members[~right[members]]
        few = max(each - len(good), min(each // 2, len(bad)))
        chosen[verdict] = torch.cat([good[: each - min(few, len(bad))], bad[:few]])
    return chosen


@dataclass(frozen=True, eq=False)
class _Tile:
    """One example: pixels (H, W, 3) and map (H, W) in [0, 1], boxes (k, 4), words below."""

    pixels: Floats
    heat: Floats
    boxes: Floats
    precision: float
    coverage: float
    label: str
    predicted: str


class _Bar(NamedTuple):
    """A stacked bar: its name, and the record with the shares."""

    name: str
    record: Record

    @property
    def images(self) -> int:
        """Number of images the shares are over."""
        return int(self.record["images"] - self.record["undefined"])


def _tiles(net: nn.Module, fetch: Fetch, found: Examined, chosen: Tensor) -> list[_Tile]:
    """Compute the examples at these positions of `found`."""
    if not len(chosen):
        return []
    rows = found.rows[chosen]
    images, labels = fetch(rows, 0)
    device = next(net.parameters()).device
    aim = labels.to(device) if found.target == "label" else None
    maps = explain(net, images.to(device), aim, layer=found.layer).maps.cpu()
    pixels = ((images - fetch.shift) / fetch.scale / 255).clamp(0, 1).permute(0, 2, 3, 1)
    tiles = []
    for i, (at, boxes) in enumerate(zip(chosen.tolist(), fetch.boxes(rows), strict=True)):
        if boxes is None:
            raise ValueError(f"image {rows[i]} has no boxes")
        own = boxes.xyxy[(boxes.labels == labels[i]) | (boxes.labels < 0)]
        figures = float(found.bias.precision[at]), float(found.bias.coverage[at])
        names = _name(found, int(labels[i])), _name(found, int(found.predicted[at]))
        tiles.append(_Tile(pixels[i].numpy(), maps[i].numpy(), own.numpy(), *figures, *names))
    return tiles


def _panel(
    theme: Theme, tiles: Mapping[str, Sequence[_Tile]], headers: Mapping[str, str], tau: float
) -> Figure:
    """Draw the examples, a block per verdict; coordinates are inches from the upper left."""
    pair = (WIDTH - 2 * _MARGIN - (_ACROSS - 1) * _GAP) / _ACROSS
    side = (pair - _SEAM) / 2
    depths = {v: _HEADER + math.ceil(len(t) / _ACROSS) * (side + _WORDS) for v, t in tiles.items()}
    height = sum(depths.values()) + _MARGIN
    figure = Figure(figsize=(WIDTH, height), facecolor=theme.paper)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.yaxis.label.set_color(theme.ink)
    top = 0.0
    for verdict, examples in tiles.items():
        color = theme.muted if verdict == "range" else _color(theme, verdict)
        share = headers[verdict] if examples else "none"
        axes.plot([_MARGIN, WIDTH - _MARGIN], [top + 0.06] * 2, color=color, linewidth=1.5)
        words: dict[str, Any] = {"fontsize": SMALL, "va": "center"}
        axes.text(_MARGIN, top + 0.21, WORDS[verdict], color=theme.ink, weight="bold", **words)
        axes.text(WIDTH - _MARGIN, top + 0.21, share, color=theme.muted, ha="right", **words)
        for number, tile in enumerate(examples):
            left = _MARGIN + number % _ACROSS * (pair + _GAP)
            down = top + _HEADER + number // _ACROSS * (side + _WORDS)
            _draw_tile(axes, theme, tile, left, down, side, tau)
        top += depths[verdict]
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    return figure


def _draw_tile(
    axes: Axes, theme: Theme, tile: _Tile, left: float, top: float, side: float, tau: float
) -> None:
    """Draw one pair of pictures and what is said of it."""
    grey = tile.pixels.mean(2, keepdims=True) * 0.75
    warmth = 0.1 + 0.65 * tile.heat[:, :, None]
    overlay = (1 - warmth) * grey + warmth * colormaps["inferno"](tile.heat)[:, :, :3]
    height, width = tile.heat.shape
    for picture, x in ((tile.pixels, left), (overlay, left + side + _SEAM)):
        axes.imshow(picture, extent=(x, x + side, top + side, top), aspect="auto")
        frame = Rectangle((x, top), side, side, transform=axes.transData)
        for x0, y0, x1, y1 in tile.boxes / (width, height, width, height) * side:
            for color, thick in (("black", 2.2), ("white", 1.0)):
                corner = (x + x0, top + y0)
                outline = Rectangle(corner, x1 - x0, y1 - y0, fill=False, edgecolor=color)
                outline.set(linewidth=thick, snap=False)
                axes.add_patch(outline).set_clip_path(frame)
    across, down = (np.r_[0, (np.arange(n) + 0.5) / n, 1] * side for n in (width, height))
    lines = axes.contour(
        left + side + _SEAM + across, top + down, np.pad(tile.heat, 1), [tau],
        colors=["#5ce1ff"], linewidths=1.1,
    )  # fmt: skip
    lines.set_clip_path(frame)
    wrong = tile.label != tile.predicted
    name = _arrow(tile.label, tile.predicted) if wrong else _short(tile.label, _LETTERS)
    figures = f"a {tile.precision:.2f}  r {tile.coverage:.2f}"
    color = theme.colors[1] if wrong else theme.muted
    words: dict[str, Any] = {"fontsize": SMALL - 1.5, "va": "top"}
    axes.text(left, top + side + 0.03, figures, color=theme.ink, **words)
    axes.text(left, top + side + 0.15, name, color=color, **words)


def _stacked(theme: Theme, bars: Sequence[_Bar]) -> Figure:
    """Draw a bar per row: its name and position share above, the other shares inside."""
    figure, (axes,) = new_figure(theme, height=0.95 + 0.46 * len(bars))
    for row, bar in enumerate(bars):
        left = 0.0
        for verdict in _ORDER:
            share = float(bar.record[verdict])
            ink = theme.ink if verdict == "range" else theme.paper
            axes.barh(row, share, left=left, height=0.42, color=_color(theme, verdict))
            if share >= _FITS and verdict != "position":
                axes.text(
                    left + share / 2, row, _share(share), ha="center", va="center", color=ink,
                    fontsize=SMALL,
                )  # fmt: skip
            elif verdict == "unbiased" and bar.record["range"] >= 3 * _FITS:
                axes.text(
                    share + 0.015, row, _share(share), va="center", fontsize=SMALL,
                    color=_color(theme, verdict),
                )  # fmt: skip
            left += share
        name = f"{_short(bar.name, 30)}, n = {bar.images:,}"
        axes.text(0, row - 0.29, name, color=theme.ink, fontsize=SMALL, va="bottom")
        low, high = (bar.record[f"position_{end}"] for end in ("low", "high"))
        axes.annotate(
            f"{_share(bar.record['position'])}\n({100 * low:.1f}–{100 * high:.1f})",
            (1, row), xytext=(7, 0), textcoords="offset points", va="center", fontsize=SMALL,
            color=theme.colors[1], annotation_clip=False, linespacing=1.15,
        )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(len(bars) - 0.6, -0.75), yticks=[])
    axes.grid(visible=False)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    axes.set_xlabel("share of images (%)")
    _key(axes, theme)
    return figure


def _key(axes: Axes, theme: Theme) -> None:
    """Say over the bars what the colours mean."""
    handles = [Patch(color=_color(theme, verdict), label=WORDS[verdict]) for verdict in _ORDER]
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False,
        fontsize=SMALL, labelcolor=theme.ink, handlelength=0.9, handleheight=0.9,
        handletextpad=0.5, columnspacing=1.6, borderpad=0, borderaxespad=0.2,
    )  # fmt: skip


def _color(theme: Theme, verdict: str) -> str:
    return {"unbiased": theme.colors[0], "range": theme.rule, "position": theme.colors[1]}[verdict]


def _row_name(record: Record) -> str:
    return f"{record['run']}, untrained" if record["control"] else str(record["run"])


def _class(found: Examined) -> str:
    return "label's class" if found.target == "label" else "predicted class"


def _low(subset: str) -> float:
    return float(subset.removeprefix("area:").partition("-")[0])


def _bin(subset: str) -> str:
    """Return an area bin in words."""
    low, high = (100 * float(end) for end in subset.removeprefix("area:").split("-"))
    return f"under {high:.0f}\u00a0%" if low == 0 else f"{low:.0f}–{high:.0f}\u00a0%"


def _share(value: float) -> str:
    return f"{100 * value:.1f}\u00a0%"


def _name(found: Examined, number: int) -> str:
    """Return a class up to its first comma; the network may have more classes than the data."""
    if number >= len(found.classes):
        return f"class {number}"
    return found.classes[number].partition(",")[0].strip()


def _arrow(label: str, predicted: str) -> str:
    """Return both names, each with the room that the other leaves."""
    room = _LETTERS - 3
    first = _short(label, max(room // 2, room - len(predicted)))
    return f"{first} → {_short(predicted, max(room // 2, room - len(label)))}"


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1].rstrip()}…"


def _known(value: Any) -> bool:
    return value is not None and math.isfinite(value)
