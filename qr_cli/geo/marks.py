"""What stands in each patch of a generated picture, to teach the stem to see.

Which letter is written in the patch, which named point lies there, digits of angles, right-angle
squares, ticks, arrows, arcs, centres of circles: 49 answers a picture instead of one. The sequence
loss alone, and one class per picture, taught a stem from scratch too slowly.
"""

from __future__ import annotations

from string import ascii_uppercase

import numpy as np
from numpy.typing import NDArray

from qr_cli.geo.inputs import SIDE
from qr_cli.geo.synth.figures import Figure
from qr_cli.geo.synth.ink import View, strokes
from qr_cli.geo.tiny import PATCHES

_SIGNS = ("1", "2", "square", "tick", "ticks", "arrow", "arc", "circle")
NAMES = (*ascii_uppercase, *(f"point {c}" for c in ascii_uppercase), *_SIGNS)
_PLACE = {name: i for i, name in enumerate(NAMES)}
_ROW = 7
_CELL = SIDE / _ROW


def marks(figure: Figure, look: View) -> NDArray[np.bool_]:
    """Return what stands in each patch, row by row ``(49, len(NAMES))``."""
    found = np.zeros((PATCHES, len(NAMES)), dtype=np.bool_)

    def mark(name: str, place: complex) -> None:
        column, row = (min(max(int(x / _CELL), 0), _ROW - 1) for x in (place.real, place.imag))
        if name in _PLACE:
            found[row * _ROW + column, _PLACE[name]] = True

    at = {name: look.at(place) for name, place in figure.points.items()}
    for stroke in strokes(figure, look):
        if stroke.kind == "text":
            mark(stroke.text, stroke.places[0])
    for name, place in at.items():
        mark(f"point {name}", place)
    for corner in figure.right:
        mark("square", at[corner[1]])
    for corner in figure.arcs:
        mark("arc", at[corner[1]])
    for side, count in figure.ticks.items():
        mark("tick" if count == 1 else "ticks", (at[side[0]] + at[side[1]]) / 2)
    for side in figure.arrows:
        mark("arrow", (at[side[0]] + at[side[1]]) / 2)
    for center, _ in figure.circles:
        mark("circle", look.at(center))
    return found
