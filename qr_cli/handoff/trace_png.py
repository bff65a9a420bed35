"""A trace as a picture: the words in two lanes, and beside each turn its p and the user state."""

from __future__ import annotations

import textwrap
import unicodedata
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from qr_cli.engine.figures import LIGHT, SMALL, TEXT, Theme
from qr_cli.handoff.trace import DECISIONS

if TYPE_CHECKING:
    from qr_cli.handoff.trace import Trace

ROW, LINE, HEAD, FOOT = 0.14, 0.165, 1.0, 0.55  # inches: between turns, per line, above, below
WRAP, LINES = 46, 3  # columns of a lane's text, and lines that are shown
WIDTH = 11.0
BANDS = ("#c9563c", "#b9c0c7", "#3f9c7c")
FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei",
    "Noto Serif CJK JP", "Droid Sans Fallback", "Microsoft YaHei", "PingFang SC", "SimHei",
)  # fmt: skip  # of Chinese text, the first that is installed


@cache
def families() -> tuple[str, ...]:
    """Return the fonts to try, letter by letter; one with Chinese letters is looked for."""
    manager = font_manager.fontManager
    if not any(name in {font.name for font in manager.ttflist} for name in FONTS):
        for file in font_manager.findSystemFonts():  # installed after the list was made
            if any(word in Path(file).name for word in ("CJK", "wqy", "SourceHan", "Fallback")):
                manager.addfont(file)
    known = {font.name for font in manager.ttflist}
    return ("DejaVu Sans", *[name for name in FONTS if name in known][:1])


def picture(trace: Trace, theme: Theme = LIGHT) -> bytes:
    """Return the picture of a trace as PNG."""
    texts = [wrapped(turn.text or "(empty)") for turn in trace.turns]
    heights = [ROW + LINE * max(1, len(text)) for text in texts]
    total = sum(heights) + HEAD + FOOT
    figure = Figure(figsize=(WIDTH, total), facecolor=theme.paper)
    FigureCanvasAgg(figure)
    body = (FOOT / total, (total - HEAD - FOOT) / total)
    words = figure.add_axes((0.02, body[0], 0.56, body[1]))
    curve = figure.add_axes((0.61, body[0], 0.17, body[1]))
    bands = figure.add_axes((0.80, body[0], 0.05, body[1]))
    middles, edge = [], 0.0
    for height in heights:
        middles.append(edge + height / 2)
        edge += height
    for axes in (words, curve, bands):
        axes.set(ylim=(edge, 0), facecolor="none")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelsize=SMALL, colors=theme.muted)
        axes.set_yticks([])
    _words(words, trace, texts, middles, theme)
    _curve(curve, trace, middles, theme)
    _bands(bands, trace, heights, middles, theme)
    for i, turn in enumerate(trace.turns):
        if turn.decision != "stay" or turn.reasons:
            head = "" if turn.decision == "stay" else DECISIONS[turn.decision]
            lines = [head, textwrap.fill(", ".join(turn.reasons), 24)]
            note = "\n".join(filter(None, lines))
            bands.text(
                1.15, middles[i], note, fontsize=SMALL - 1, va="center", transform=bands.transData,
                color=theme.colors[1] if turn.decision == "transfer" else theme.muted,
                weight="bold" if turn.decision == "transfer" else "normal", linespacing=1.05,
            )  # fmt: skip
    top = 1 - 0.3 / total
    figure.text(0.02, top, trace.title, fontsize=13, weight="bold", color=theme.ink,
                va="center", family=families())  # fmt: skip
    figure.text(0.02, 0.2 / total, textwrap.fill(trace.caption, 150), fontsize=SMALL - 1,
                color=theme.muted, va="center", family=families())  # fmt: skip
    out = BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()


def _words(
    axes: Axes, trace: Trace, texts: list[list[str]], middles: list[float], theme: Theme
) -> None:
    axes.set(xlim=(0, 1), xticks=[])
    for x, side, name in ((0.03, "left", "customer"), (1.0, "right", "agent")):
        axes.text(x, -0.12, name, ha=side, fontsize=TEXT, color=theme.muted)
    for i, (turn, text) in enumerate(zip(trace.turns, texts, strict=True)):
        axes.text(0, middles[i], str(i + 1), fontsize=SMALL - 2, color=theme.muted, va="center")
        box = {
            "boxstyle": "round,pad=0.3", "facecolor": "#e4f0f8" if turn.customer else "#f3f5f7",
            "edgecolor": theme.colors[1] if turn.decision == "transfer" else "none",
        }  # fmt: skip
        axes.text(
            0.04 if turn.customer else 0.99, middles[i], "\n".join(text), fontsize=SMALL,
            color=theme.ink, va="center", ha="left" if turn.customer else "right",
            multialignment="left", bbox=box, linespacing=1.1, family=families(),
        )  # fmt: skip


def _curve(axes: Axes, trace: Trace, middles: list[float], theme: Theme) -> None:
    axes.set(xlim=(-0.03, 1.03), xticks=[0, 0.5, 1])
    axes.xaxis.tick_top()
    axes.set_title("p of a handover", fontsize=TEXT, color=theme.ink, pad=4)
    axes.grid(axis="x", color=theme.rule, linewidth=0.8)
    axes.axvline(trace.threshold, color=theme.colors[1], linewidth=1.2, linestyle=(0, (4, 3)))
    for key, style in (("base", {"color": theme.muted, "linewidth": 1.0, "linestyle": ":"}),
                       ("p", {"color": theme.colors[0], "linewidth": 1.8, "marker": "o",
                              "markersize": 3.5})):  # fmt: skip
        seen = [(getattr(t, key), y) for t, y in zip(trace.turns, middles, strict=True)]
        seen = [(x, y) for x, y in seen if x is not None]
        if seen:
            axes.plot(*zip(*seen, strict=True), **style)  # type: ignore[arg-type]
    for turn, y in zip(trace.turns, middles, strict=True):
        if turn.decision == "transfer":
            x = turn.p if turn.p is not None else 1.0
            axes.plot([x], [y], "o", color=theme.colors[1], markersize=8)
        if turn.gold is not None and turn.gold >= 0.5:
            axes.plot([1.0], [y], "D", color=theme.colors[3], markersize=5, clip_on=False)


def _bands(
    axes: Axes, trace: Trace, heights: list[float], middles: list[float], theme: Theme
) -> None:
    axes.set(xlim=(0, 1), xticks=[])
    axes.set_title("user state", fontsize=SMALL, color=theme.ink, pad=4)
    for turn, height, y in zip(trace.turns, heights, middles, strict=True):
        left = 0.0
        for share, color in zip(turn.states or (), BANDS, strict=False):
            axes.barh(y, share, left=left, height=height * 0.92, color=color)
            left += share


def wrapped(text: str) -> list[str]:
    """Return a text in lines of at most 46 columns, a Chinese character being two wide."""
    lines, line, width = [], "", 0
    for word in _words_of(" ".join(text.split())):
        size = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in word)
        if width + size > WRAP and line:
            lines.append(line.rstrip())
            line, width = "", 0
        line += word
        width += size
    lines.append(line.rstrip())
    return lines if len(lines) <= LINES else [*lines[: LINES - 1], lines[LINES - 1] + " …"]


def _words_of(text: str) -> list[str]:
    """Split where a line may break: after spaces, and around every Chinese character."""
    parts: list[str] = []
    for character in text:
        wide = unicodedata.east_asian_width(character) in "WF"
        if wide or not parts or parts[-1].endswith(" ") or len(parts[-1]) >= WRAP:
            parts.append(character)
        elif unicodedata.east_asian_width(parts[-1][-1]) in "WF":
            parts.append(character)
        else:
            parts[-1] += character
    return parts
