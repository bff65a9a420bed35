"""Drawing a figure: strokes and letters once, then as pixels (112 or 224) or as SVG.

Any rotation and reflection, 0.75-1 of the frame, lines of 1-2 pixels at 112. Names stand in the
widest gap between the lines at their point.
"""

from __future__ import annotations

import cmath
import math
from functools import cache
from html import escape
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from qr_cli.geo.synth.dice import Dice
from qr_cli.geo.synth.figures import Figure, Place

SIZE = 112
_MARGIN, _NAME, _ARC, _SQUARE = 12.0, 8.0, 11.0, 6.0  # pixels at 112
_FONT = 11


class View(NamedTuple):
    """How a figure lies in its frame: place -> turn * place (mirrored or not) + shift, y down."""

    turn: complex
    shift: complex
    mirrored: bool
    width: float

    def at(self, place: Place) -> complex:
        """Return where a place lies in the frame of 112 pixels."""
        return self.turn * (place.conjugate() if self.mirrored else place) + self.shift


class Stroke(NamedTuple):
    """A stroke in pixels at 112: a line, a circle or an arc (degrees, y down), a dot, a text."""

    kind: Literal["line", "circle", "arc", "dot", "text"]
    places: tuple[complex, ...]
    radius: float = 0.0
    start: float = 0.0
    end: float = 0.0
    text: str = ""
    thin: bool = False


def view(figure: Figure, dice: Dice) -> View:
    """Return a random view of a figure."""
    turn = cmath.rect(1.0, dice.between(0.0, 2 * math.pi))
    mirrored = dice.chance(0.5)
    seen = [turn * (p.conjugate() if mirrored else p) for p in figure.points.values()]
    xs, ys = [p.real for p in seen], [p.imag for p in seen]
    for center, r in figure.circles:
        c = turn * (center.conjugate() if mirrored else center)
        xs += [c.real - r, c.real + r]
        ys += [c.imag - r, c.imag + r]
    low, high = complex(min(xs), min(ys)), complex(max(xs), max(ys))
    room = SIZE - 2 * _MARGIN
    scale = dice.between(0.75, 1.0) * room / max((high - low).real, (high - low).imag, 1e-9)
    extent = scale * (high - low)
    free = complex(room - extent.real, room - extent.imag)
    corner = complex(
        _MARGIN + free.real * dice.between(0.3, 0.7), _MARGIN + free.imag * dice.between(0.3, 0.7)
    )
    return View(scale * turn, corner - scale * low, mirrored, dice.between(1.0, 2.0))


def strokes(figure: Figure, look: View) -> list[Stroke]:
    """Return what is drawn, in pixels at 112."""
    at = {name: look.at(place) for name, place in figure.points.items()}
    scale = abs(look.turn)
    circles = [(look.at(c), r * scale) for c, r in figure.circles]
    pairs = figure.segments()
    out = [Stroke("circle", (c,), r) for c, r in circles]
    out += [Stroke("line", (at[a], at[b])) for a, b in pairs]
    out += [_square(*(at[p] for p in corner)) for corner in figure.right]
    for corner, text in figure.arcs.items():
        out += _arc(at[corner[0]], at[corner[1]], at[corner[2]], text)
    for pair, count in figure.ticks.items():
        out += _ticks(at[pair[0]], at[pair[1]], count)
    for pair, count in figure.arrows.items():
        out += _arrows(at[pair[0]], at[pair[1]], count)
    middle = sum(at.values(), 0j) / len(at)
    for pair, text in figure.sizes.items():
        out.append(_size(at[pair[0]], at[pair[1]], text, middle))
    for pair, offset in figure.spans.items():
        out += _span(at[pair[0]], at[pair[1]], -offset if look.mirrored else offset)
    near: dict[str, list[complex]] = {name: [] for name in at}
    for a, b in pairs:
        near[a].append(at[b] - at[a])
        near[b].append(at[a] - at[b])
    for name, place in at.items():
        if name.isupper():
            ways = near[name]
            for c, r in circles:
                if abs(abs(place - c) - r) < 0.5:
                    ways = [*ways, 1j * (place - c), -1j * (place - c)]
            if not near[name] or (len(near[name]) == 2 and _straight(*near[name])):
                out.append(Stroke("dot", (place,)))
            out.append(Stroke("text", (place + _NAME * _gap(ways),), text=name))
    return out


def _gap(ways: list[complex]) -> complex:
    """Return the direction in the middle of the widest gap between directions."""
    if not ways:
        return complex(0.7, -0.7)
    turns = sorted(math.atan2(w.imag, w.real) for w in ways)
    turns.append(turns[0] + 2 * math.pi)
    widest, start = max((b - a, a) for a, b in zip(turns, turns[1:], strict=False))
    return cmath.rect(1.0, start + widest / 2)


def _straight(one: complex, two: complex) -> bool:
    return abs(_unit(one) + _unit(two)) < 1e-3


def _unit(w: complex) -> complex:
    return w / (abs(w) or 1.0)


def _square(a: complex, v: complex, b: complex) -> Stroke:
    one, two = _SQUARE * _unit(a - v), _SQUARE * _unit(b - v)
    return Stroke("line", (v + one, v + one + two, v + two), thin=True)


def _arc(a: complex, v: complex, b: complex, text: str) -> list[Stroke]:
    one, two = _unit(a - v), _unit(b - v)
    start, end = (math.degrees(math.atan2(w.imag, w.real)) for w in (one, two))
    if (end - start) % 360 > 180:
        start, end = end, start
    span = (end - start) % 360
    radius = _ARC if span > 40 else _ARC * 1.5
    out = [Stroke("arc", (v,), radius, start, start + span, thin=True)]
    if text:
        middle = cmath.rect(radius + 6.0, math.radians(start + span / 2))
        out.append(Stroke("text", (v + middle,), text=text))
    return out


def _ticks(a: complex, b: complex, count: int) -> list[Stroke]:
    along = _unit(b - a)
    middles = [(a + b) / 2 + (i - (count - 1) / 2) * 3.0 * along for i in range(count)]
    return [Stroke("line", (m - 3.5j * along, m + 3.5j * along), thin=True) for m in middles]


def _arrows(a: complex, b: complex, count: int) -> list[Stroke]:
    if (a.real, a.imag) > (b.real, b.imag):  # parallels point one way, however they are named
        a, b = b, a
    along = _unit(b - a)
    tips = [(a + b) / 2 + (2.0 + 4.0 * i) * along for i in range(count)]
    back = 4.5 * along
    return [
        Stroke("line", (t - back + 3.0j * along, t, t - back - 3.0j * along), thin=True)
        for t in tips
    ]


def _span(a: complex, b: complex, offset: float) -> list[Stroke]:
    """Return a dimension line with end strokes; the offset's sign fixes its side."""
    if (a.real, a.imag) > (b.real, b.imag):
        a, b = b, a
    aside = 1j * _unit(b - a)
    one, two, end = a + offset * aside, b + offset * aside, 2.5 * aside
    pairs = ((one, two), (one - end, one + end), (two - end, two + end))
    return [Stroke("line", pair, thin=True) for pair in pairs]


def _size(a: complex, b: complex, text: str, middle: complex) -> Stroke:
    aside = 1j * _unit(b - a)
    m = (a + b) / 2
    if ((m - middle) * aside.conjugate()).real < 0:
        aside = -aside
    return Stroke("text", (m + (6.0 + 1.5 * len(text)) * aside,), text=text)


# pixels ----------------------------------------------------------------------------------------


@cache
def _glyph(text: str, size: int) -> Image.Image:
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(text)
    glyph = Image.new("L", (math.ceil(right - left), math.ceil(bottom - top)), 0)
    ImageDraw.Draw(glyph).text((-left, -top), text, fill=255, font=font)
    return glyph


def raster(figure: Figure, look: View, size: int = SIZE, over: int = 1) -> np.ndarray:
    """Return a figure as grey pixels, (size, size) uint8, 0 ink to 255 white.

    Args:
        figure: what is drawn.
        look: how it lies in its frame.
        size: side of the picture.
        over: draw so many times larger and reduce; 1 gives hard edges, and is fastest.
    """
    final, size = size, size * over
    image = Image.new("L", (size, size), 255)
    pen = ImageDraw.Draw(image)
    k = size / SIZE
    width, font = max(1, round(look.width * k)), round(_FONT * k)
    thin = max(1, round(k))
    for s in strokes(figure, look):
        (c, *_) = places = [p * k for p in s.places]
        r = s.radius * k
        if s.kind == "line":
            xy = [(p.real, p.imag) for p in places]
            pen.line(xy, fill=0, width=thin if s.thin else width)
        elif s.kind == "text":
            glyph = _glyph(s.text, font)
            x = min(max(round(c.real - glyph.width / 2), 0), size - glyph.width)
            y = min(max(round(c.imag - glyph.height / 2), 0), size - glyph.height)
            pen.bitmap((x, y), glyph, fill=0)
        else:
            r = 1.5 * k if s.kind == "dot" else r
            box = (c.real - r, c.imag - r, c.real + r, c.imag + r)
            if s.kind == "circle":
                pen.ellipse(box, outline=0, width=width)
            elif s.kind == "arc":
                pen.arc(box, s.start, s.end, fill=0, width=thin)
            else:
                pen.ellipse(box, fill=0)
    return np.asarray(image.reduce(over) if size > final else image, dtype=np.uint8)


def svg(figure: Figure, look: View) -> str:
    """Return a figure as an SVG document."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}" width="448" '
        'height="448" fill="none" stroke="#000" stroke-linecap="round">'
    ]
    for s in strokes(figure, look):
        width = f' stroke-width="{0.7 if s.thin else look.width * 0.7:.2f}"'
        c = s.places[0]
        if s.kind == "line":
            path = " ".join(f"{p.real:.2f},{p.imag:.2f}" for p in s.places)
            parts.append(f'<polyline points="{path}"{width}/>')
        elif s.kind == "text":
            parts.append(
                f'<text x="{c.real:.2f}" y="{c.imag:.2f}" font-size="9" text-anchor="middle" '
                f'dominant-baseline="central" font-family="sans-serif" fill="#000" '
                f'stroke="none">{escape(s.text)}</text>'
            )
        elif s.kind == "arc":
            one, two = (c + cmath.rect(s.radius, math.radians(t)) for t in (s.start, s.end))
            big = int(s.end - s.start > 180)
            parts.append(
                f'<path d="M{one.real:.2f},{one.imag:.2f} A{s.radius:.2f},{s.radius:.2f} 0 {big} '
                f'1 {two.real:.2f},{two.imag:.2f}"{width}/>'
            )
        else:
            r, fill = (1.2, ' fill="#000"') if s.kind == "dot" else (s.radius, "")
            parts.append(f'<circle cx="{c.real:.2f}" cy="{c.imag:.2f}" r="{r:.2f}"{fill}{width}/>')
    return "\n".join([*parts, "</svg>", ""])
