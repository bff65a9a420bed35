"""The look of a figure, for all rooms: two themes, a styled figure, labels at line ends, bytes.

A plot is a function of a `Theme` that returns a Matplotlib figure. Figures are made through the
object API, so nothing global is changed and no window system is touched. Colours are those of
Okabe and Ito (2008), darkened on white so that text in them keeps a contrast of 4.5 to 1.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Literal, NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

WIDTH, HEIGHT = 4.8, 3.4  # inches: small enough that 10 pt stays legible on a phone
TEXT, SMALL = 10, 9  # points


@dataclass(frozen=True)
class Theme:
    """Colours of one appearance; `colors` are blue, vermilion, green, purple, sky or ochre."""

    name: Literal["light", "dark"]
    paper: str
    ink: str
    muted: str
    rule: str
    colors: tuple[str, ...]


LIGHT = Theme(
    "light", "#ffffff", "#1b1f24", "#59626c", "#dfe3e7",
    ("#0072b2", "#b64f00", "#00795a", "#a0447a", "#8a6100"),
)  # fmt: skip
DARK = Theme(
    "dark", "#14181c", "#e6e9ec", "#9ba5af", "#323940",
    ("#56b4e9", "#f08a3c", "#2fbf94", "#dc8fb8", "#e6b53c"),
)  # fmt: skip


class End(NamedTuple):
    """A label beside the last point of a line, in data coordinates."""

    x: float
    y: float
    text: str
    color: str


def new_figure(
    theme: Theme, *, heights: Sequence[float] = (1,), height: float = HEIGHT
) -> tuple[Figure, list[Axes]]:
    """Return a styled figure with one axes per entry of `heights`, stacked on a shared x axis.

    Margins are fixed (room for labels at the right), so that figures side by side align.
    `height` is in inches.
    """
    figure = Figure(figsize=(WIDTH, height), facecolor=theme.paper)
    FigureCanvasAgg(figure)
    grid = {
        "height_ratios": list(heights), "left": 0.13, "right": 0.84,
        "bottom": 0.5 / height, "top": 1 - 0.2 / height, "hspace": 0.14,
    }  # fmt: skip
    stack = figure.subplots(len(heights), sharex=True, squeeze=False, gridspec_kw=grid)[:, 0]
    for axes in stack:
        axes.set_facecolor("none")
        axes.spines[:].set_visible(False)
        axes.spines["bottom"].set(visible=True, color=theme.muted, linewidth=0.8)
        axes.grid(axis="y", color=theme.rule, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=SMALL, colors=theme.muted, length=0, pad=5)
        for name in (axes.xaxis.label, axes.yaxis.label):
            name.set(color=theme.ink, fontsize=TEXT)
    figure.align_ylabels()
    return figure, list(stack)


def label_ends(axes: Axes, ends: Sequence[End]) -> None:
    """Write the labels right of the axes, in the order of their values and never overlapping.

    Call it when the limits are final.
    """
    if not ends:
        return
    ordered = sorted(ends, key=lambda end: end.y)
    box = axes.get_window_extent()
    points = 72 / axes.figure.dpi
    wanted = [axes.transData.transform((end.x, end.y))[1] * points for end in ordered]
    gaps = [0.0] + [SMALL * 1.3 * (1 + end.text.count("\n")) for end in ordered[1:]]
    placed: list[float] = []
    for height, gap in zip(wanted, gaps, strict=True):
        placed.append(max(height, placed[-1] + gap) if placed else max(height, box.y0 * points))
    excess = placed[-1] - max(box.y1 * points, wanted[-1])
    for index in range(len(placed) - 1, -1, -1):  # push down what stands over the top edge
        placed[index] -= max(excess, 0)
        if index:
            excess = placed[index - 1] - (placed[index] - gaps[index])
    for end, height in zip(ordered, placed, strict=True):
        axes.annotate(
            end.text, (1, height - box.y0 * points), xytext=(7, 0), textcoords="offset points",
            xycoords=("axes fraction", "axes points"), color=end.color, fontsize=SMALL,
            va="center", linespacing=1.15, annotation_clip=False,
        )  # fmt: skip


def render(figure: Figure, kind: Literal["svg", "png"], *, title: str = "") -> bytes:
    """Return the figure as bytes, the same for the same figure: SVG as it is, PNG at 150 dpi.

    A `title` is written above the picture; a page sets it as text instead.
    """
    if title:
        ink = figure.axes[0].yaxis.label.get_color()
        figure.text(
            0.02, 1.02, textwrap.fill(title, 52), color=ink, fontsize=11, weight="bold", va="bottom"
        )
    out = BytesIO()
    extent = "tight" if title else None
    stamp = {"Date": None} if kind == "svg" else None
    with rc_context({"svg.hashsalt": "qr"}):
        figure.savefig(
            out, format=kind, dpi=150, metadata=stamp, bbox_inches=extent, pad_inches=0.15
        )
    return out.getvalue()
