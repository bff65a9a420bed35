"""A sheet of training images with their boxes: what a generated data set looks like.

Shapes: N images, S side in pixels, k boxes of an image.
"""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from qr_cli.attention.data import ImageSet
from qr_cli.engine.figures import SMALL, WIDTH, Theme
from qr_cli.engine.report import Plot

EACH = 10  # images of a class
CLASSES = 10  # rows at most
SIDE = 48  # pixels to which larger images are averaged
_LEFT, _MARGIN = 0.72, 0.06  # inches
_GAP = 2  # pixels between images
_CHANCE = 0.2  # share of backgrounds that are those of their class; by chance it is 0.1


def sample_sheet(images: ImageSet, source: str) -> Plot:
    """Return the first images of each class in a row, with the boxes of their objects.

    Args:
        images: images in memory, square; boxes and textures are used where they are known.
        source: canonical text of the data.
    """
    rows = {
        images.classes[label]: torch.where(images.labels == label)[0][:EACH]
        for label in range(min(CLASSES, len(images.classes)))
    }
    across = max(map(len, rows.values()))
    caption = (
        f"{source}: the first {across} training images of each class, not augmented. The box is the"
        " tightest one; training does not see it."
    )
    if images.textures is not None:
        if float((images.textures == images.labels).double().mean()) > _CHANCE:
            caption += " The texture behind an object goes with its class here, not in the test."
        else:
            caption += " The texture behind an object says nothing of its class."
    return Plot(
        "samples",
        f"{len(rows)} classes of shapes, one object per image",
        caption,
        lambda theme: _sheet(theme, images, rows),
    )


def _sheet(theme: Theme, images: ImageSet, rows: dict[str, Tensor]) -> Figure:
    """Draw a row per class, all images as one picture; coordinates are its pixels."""
    side = _pixels(images, 0).shape[0]
    pitch = side + _GAP
    sheet = np.zeros((len(rows) * pitch - _GAP, EACH * pitch - _GAP, 4), np.uint8)
    width = WIDTH - _LEFT - _MARGIN
    height = width * sheet.shape[0] / sheet.shape[1]
    figure = Figure(figsize=(WIDTH, height + 2 * _MARGIN), facecolor=theme.paper)
    FigureCanvasAgg(figure)
    inches = np.array((_LEFT, _MARGIN, width, height))
    axes = figure.add_axes(tuple(inches / np.tile((WIDTH, height + 2 * _MARGIN), 2)))
    axes.set_axis_off()
    axes.yaxis.label.set_color(theme.ink)  # `render` writes the title in it
    outlines = []
    for row, (name, chosen) in enumerate(rows.items()):
        top = row * pitch
        axes.annotate(
            name, (0, top + side / 2), xytext=(-6, 0), textcoords="offset points", ha="right",
            va="center", fontsize=SMALL, color=theme.ink, annotation_clip=False,
        )  # fmt: skip
        for column, number in enumerate(chosen.tolist()):
            left = column * pitch
            sheet[top : top + side, left : left + side, :3] = _pixels(images, number)
            sheet[top : top + side, left : left + side, 3] = 255
            outlines += [_outline(box, left, top) for box in _boxes(images, number) * side]
    axes.imshow(sheet, extent=(0, sheet.shape[1], sheet.shape[0], 0), interpolation="none")
    for color, thick in (("black", 1.5), ("white", 0.7)):
        axes.add_collection(
            PolyCollection(outlines, facecolor="none", edgecolor=color, linewidth=thick)
        )
    return figure


def _pixels(images: ImageSet, number: int) -> NDArray[np.uint8]:
    """Return an image as (S, S, 3), S at most `SIDE`."""
    pixels = torch.as_tensor(images.images[number])
    if pixels.shape[-1] > SIDE:
        pixels = F.adaptive_avg_pool2d(pixels.float(), SIDE).round().to(torch.uint8)
    return np.asarray(pixels.permute(1, 2, 0))


def _boxes(images: ImageSet, number: int) -> NDArray[np.float64]:
    """Return the boxes of an image as shares of its side, (k, 4)."""
    boxes = None if images.boxes is None else images.boxes[number]
    if boxes is None:
        return np.empty((0, 4))
    return boxes.xyxy.double().numpy() / torch.as_tensor(images.images[number]).shape[-1]


def _outline(box: NDArray[np.float64], left: int, top: int) -> NDArray[np.float64]:
    x0, y0, x1, y1 = box
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]) + (left, top)
