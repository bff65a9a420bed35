"""An answer as one PNG: the figure left, the steps right."""

from __future__ import annotations

import textwrap
from io import BytesIO
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from qr_cli.geo.draw import Frame, place_label
from qr_cli.geo.page import COLORS, OTHER, WORDS, answer_line
from qr_cli.geo.picture import Picture
from qr_cli.geo.solver import Answer


def png(answer: Answer, text: str) -> bytes:
    """Return figure and steps as a PNG."""
    figure = Figure(figsize=(9, 4.8), dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.01, 0.02, 0.44, 0.82))
    axes.set_axis_off()
    if answer.picture and answer.picture.points:
        _plot(axes, answer.picture)
    figure.text(0.02, 0.97, textwrap.fill(text, 112), va="top", fontsize=10.5)
    color = COLORS.get(answer.status, OTHER)
    figure.text(0.48, 0.83, answer_line(answer.record), va="top", fontsize=14)
    figure.text(0.48, 0.76, WORDS[answer.status], va="top", fontsize=10, color=color, weight="bold")
    lines = []
    for step in answer.record["steps"]:
        reason = f"  ({step['reason']})" if "reason" in step else ""
        words = f"{step['n']}. {step.get('statement') or step['text']}{reason}"
        lines += textwrap.wrap(words, 64, subsequent_indent="    ")
    lines += [""] + [
        line for note in answer.record.get("assumed", ())
        for line in textwrap.wrap(f"assumed: {note}", 64, subsequent_indent="    ")
    ]  # fmt: skip
    figure.text(0.48, 0.69, "\n".join(lines), va="top", fontsize=10, linespacing=1.5)
    out = BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _plot(axes: Any, picture: Picture) -> None:
    frame = Frame(picture)
    places = {name: frame.at(place) for name, place in picture.points.items()}
    circles = [(frame.at(c), r * frame.scale) for c, r in picture.circles]
    lines = [(places[a], places[b]) for a, b in picture.segments if a in places and b in places]
    for center, r in circles:
        axes.add_patch(Circle(center, r, fill=False, lw=1.2, color="#1b1f24"))
    for (ax, ay), (bx, by) in lines:
        axes.plot([ax, bx], [ay, by], color="#1b1f24", lw=1.2, solid_capstyle="round")
    taken: list[tuple[float, float]] = []
    for name, place in places.items():
        x, y = place_label(place, places.values(), lines, circles, taken)
        taken.append((x, y))
        axes.plot(*place, "o", color="#1b1f24", ms=2.5)
        axes.text(x, y, name, ha="center", va="center", fontsize=10, style="italic")
    for names, label in picture.labels.items():
        if len(names) == 2 and set(names) <= set(places):
            (ax, ay), (bx, by) = (places[n] for n in names)
            axes.text(
                (ax + bx) / 2, (ay + by) / 2, label, ha="center", va="center", fontsize=8.5,
                color="#59626c", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )  # fmt: skip
        elif set(names) <= set(places):
            a, v, b = (places[n] for n in names)
            x, y = (sum(c) / 4 for c in zip(a, v, v, b, strict=True))
            size = ((x - v[0]) ** 2 + (y - v[1]) ** 2) ** 0.5 or 1.0
            axes.text(
                v[0] + (x - v[0]) / size * 38, v[1] + (y - v[1]) / size * 38, label, ha="center",
                va="center", fontsize=8.5, color="#59626c",
            )  # fmt: skip
    axes.set_xlim(0, frame.width)
    axes.set_ylim(frame.height, 0)
    axes.set_aspect("equal")
