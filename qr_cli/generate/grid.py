"""Pictures side by side: a row per prompt, its text above it, a column per variant."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from qr_cli.engine.figures import LIGHT, SMALL, TEXT, WIDTH, Theme, render
from qr_cli.engine.files import write_bytes
from qr_cli.engine.pictures import decoded

ROWS = 12  # of a grid; more are left out, and the grid says so
_GAP, _LINE = 0.12, 0.17  # inches
_WIDEST = 1.5


class Row(NamedTuple):
    """A prompt and its pictures, one per column; None where there is none."""

    text: str
    pictures: Sequence[np.ndarray | None]


def grid_figure(
    theme: Theme, columns: Sequence[str], rows: Sequence[Row], note: str = ""
) -> Figure:
    """Return the grid; pictures are (H, W, 3) as uint8, all of one size."""
    side = min(_WIDEST, (WIDTH - _GAP) / len(columns) - _GAP) if len(columns) < 5 else 0.9
    width = max(WIDTH, _GAP + len(columns) * (side + _GAP))
    letters = int(width * 14.5)  # that fit into a line
    texts = [textwrap.wrap(row.text, letters) or [""] for row in rows]
    heights = [side + _GAP + _LINE * (len(lines) + 0.4) for lines in texts]
    height = 0.42 + sum(heights) + (0.3 if note else 0)
    figure = Figure(figsize=(width, height), facecolor=theme.paper)
    FigureCanvasAgg(figure)
    for place, name in enumerate(columns):
        x = _GAP + place * (side + _GAP)
        figure.text(
            x / width, 1 - 0.25 / height, name, color=theme.ink, fontsize=TEXT, weight="bold"
        )
    top = height - 0.36
    for row, lines, own in zip(rows, texts, heights, strict=True):
        figure.text(
            _GAP / width, (top - 0.06) / height, "\n".join(lines), color=theme.muted,
            fontsize=SMALL, va="top", linespacing=1.25,
        )  # fmt: skip
        for place, picture in enumerate(row.pictures):
            if picture is None:
                continue
            x, y = _GAP + place * (side + _GAP), top - own + _GAP
            axes = figure.add_axes((x / width, y / height, side / width, side / height))
            axes.imshow(picture, interpolation="lanczos")
            axes.set_axis_off()
        top -= own
    if note:
        figure.text(_GAP / width, 0.1 / height, note, color=theme.muted, fontsize=SMALL)
    return figure


def grid_of_records(records: Sequence[dict[str, Any]], folder: Path) -> Path:
    """Write the pictures of `qr generate` as grid.png; return its path."""
    made = [record for record in records if "image" in record]
    columns = list(dict.fromkeys(record["variant"] for record in made))
    found: dict[tuple[str, int, str], dict[str, np.ndarray]] = {}
    for record in made:
        key = (record["id"], record["seed"], record["prompt"])
        found.setdefault(key, {})[record["variant"]] = np.asarray(decoded(Path(record["image"])))
        if len(found) > ROWS:
            break
    shown = list(found.items())[:ROWS]
    rows = [Row(key[2], [pictures.get(name) for name in columns]) for key, pictures in shown]
    total = len({(record["id"], record["seed"]) for record in made})
    note = f"the first {ROWS} of {total}" if total > ROWS else ""
    path = folder / "grid.png"
    write_png(path, grid_figure(LIGHT, columns, rows, note))
    return path


def write_png(path: Path, figure: Figure) -> None:
    """Write a figure; the file appears whole."""
    write_bytes(path, render(figure, "png"))
