"""A picture as SVG: segments, circles, marks, and labels that keep clear of the lines."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise

from qr_cli.geo.picture import Picture

SIZE, MARGIN, OFFSET = 440, 44, 17  # pixels: the figure, the room for labels, label to point
Point = tuple[float, float]


class Frame:
    """Where points of a picture stand on the page, y down."""

    def __init__(self, picture: Picture) -> None:
        xs = [x for x, _ in picture.points.values()]
        ys = [y for _, y in picture.points.values()]
        for (x, y), r in picture.circles:
            xs += [x - r, x + r]
            ys += [y - r, y + r]
        self.left, self.top = min(xs), max(ys)
        width, height = max(xs) - self.left, self.top - min(ys)
        self.scale = (SIZE - 2 * MARGIN) / (max(width, height) or 1.0)
        self.width = width * self.scale + 2 * MARGIN
        self.height = height * self.scale + 2 * MARGIN

    def at(self, place: Point) -> Point:
        """Return the place on the page."""
        x, y = place
        return (x - self.left) * self.scale + MARGIN, (self.top - y) * self.scale + MARGIN


def svg(picture: Picture, highlights: Mapping[int, Iterable[str]] | None = None) -> str:
    """Return a picture as an SVG element.

    Args:
        picture: what to draw.
        highlights: names of elements by step; each step's are a group ``hl hl-N``, hidden by the
            page's style until the step is pointed at.
    """
    frame = Frame(picture)
    places = {name: frame.at(place) for name, place in picture.points.items()}
    circles = [(frame.at(c), r * frame.scale) for c, r in picture.circles]
    lines = [(places[a], places[b]) for a, b in picture.segments if a in places and b in places]
    parts = [
        f'<svg class="figure" viewBox="0 0 {frame.width:.0f} {frame.height:.0f}" role="img" '
        f'aria-label="{escape(picture.caption or "figure")}" xmlns="http://www.w3.org/2000/svg">'
    ]
    parts += [
        f'<circle class="line" cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"/>' for (x, y), r in circles
    ]
    parts += [_line(a, b, "line") for a, b in lines]
    parts += [_square(places, *corner) for corner in picture.right if set(corner) <= set(places)]
    for step, names in (highlights or {}).items():
        inner = "".join(_element(places, name) for name in names)
        parts.append(f'<g class="hl hl-{step}">{inner}</g>')
    taken: list[Point] = []
    for names, text in picture.labels.items():
        if set(names) <= set(places):
            parts.append(_size_label(places, names, text, lines, taken))
    for name, place in places.items():
        x, y = place_label(place, places.values(), lines, circles, taken)
        taken.append((x, y))
        parts.append(f'<circle class="dot" cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="2.6"/>')
        parts.append(f'<text class="name" x="{x:.1f}" y="{y:.1f}">{escape(name)}</text>')
    return "".join([*parts, "</svg>"])


def elements_in(text: str) -> list[str]:
    """Return the segments, angles and triangles that a text names."""
    return re.findall(r"[∠△]?(?:[A-Z]′*){1,3}(?![a-z])", text)


def place_label(
    at: Point,
    others: Iterable[Point],
    lines: Sequence[tuple[Point, Point]],
    circles: Sequence[tuple[Point, float]],
    taken: Sequence[Point],
) -> Point:
    """Return the one of eight places around a point that is farthest from everything drawn."""

    def room(place: Point) -> float:
        gaps = [distance(place, line) for line in lines]
        gaps += [abs(math.dist(place, c) - r) for c, r in circles]
        gaps += [math.dist(place, o) for o in others if o != at]
        gaps += [math.dist(place, t) / 1.5 for t in taken]
        return min(gaps, default=OFFSET)

    around = [
        (at[0] + OFFSET * math.cos(k * math.pi / 4), at[1] - OFFSET * math.sin(k * math.pi / 4))
        for k in range(8)
    ]
    return max(around, key=lambda place: round(min(room(place), OFFSET), 3))


def distance(p: Point, line: tuple[Point, Point]) -> float:
    """Return the distance of a point and a segment."""
    (ax, ay), (bx, by) = line
    length = (bx - ax) ** 2 + (by - ay) ** 2
    t = ((p[0] - ax) * (bx - ax) + (p[1] - ay) * (by - ay)) / length if length else 0.0
    t = min(1.0, max(0.0, t))
    return math.dist(p, (ax + t * (bx - ax), ay + t * (by - ay)))


def _line(a: Point, b: Point, kind: str) -> str:
    return f'<line class="{kind}" x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}"/>'


def _along(v: Point, a: Point, length: float) -> Point:
    size = math.dist(v, a) or 1.0
    return v[0] + (a[0] - v[0]) / size * length, v[1] + (a[1] - v[1]) / size * length


def _square(places: Mapping[str, Point], a: str, v: str, b: str) -> str:
    """Return the small square of a right angle."""
    vertex, size = places[v], 11.0
    one, two = _along(vertex, places[a], size), _along(vertex, places[b], size)
    corner = one[0] + two[0] - vertex[0], one[1] + two[1] - vertex[1]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (one, corner, two))
    return f'<polyline class="mark" points="{points}"/>'


def arc(v: Point, a: Point, b: Point, radius: float) -> str:
    """Return the path of an angle's arc."""
    one, two = _along(v, a, radius), _along(v, b, radius)
    turn = (one[0] - v[0]) * (two[1] - v[1]) - (one[1] - v[1]) * (two[0] - v[0])
    sweep = 1 if turn > 0 else 0
    r = f"{radius:.1f}"
    return f"M{one[0]:.1f},{one[1]:.1f} A{r},{r} 0 0 {sweep} {two[0]:.1f},{two[1]:.1f}"


def _element(places: Mapping[str, Point], name: str) -> str:
    points = re.findall(r"[A-Z]′*", name)
    if not set(points) <= set(places):
        return ""
    found = [places[p] for p in points]
    if name.startswith("△") and len(found) == 3:
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in found)
        return f'<polygon class="area" points="{corners}"/>'
    if name.startswith("∠"):
        if len(found) == 3:
            a, v, b = found
            return (
                f'<path class="angle" d="{arc(v, a, b, 26)}"/>'
                + _line(v, a, "arm") + _line(v, b, "arm")
            )  # fmt: skip
        x, y = found[-1]
        return f'<circle class="angle" cx="{x:.1f}" cy="{y:.1f}" r="12"/>'
    return "".join(_line(a, b, "edge") for a, b in pairwise(found))


def _size_label(
    places: Mapping[str, Point], names: tuple[str, ...], text: str,
    lines: Sequence[tuple[Point, Point]], taken: list[Point],
) -> str:  # fmt: skip
    """Return a length beside the middle of its segment, or a size inside its angle."""
    if len(names) == 2:
        (ax, ay), (bx, by) = (places[n] for n in names)
        length = math.hypot(bx - ax, by - ay) or 1.0
        middle = (ax + bx) / 2, (ay + by) / 2
        sides = [
            (middle[0] + s * (by - ay) / length * 14, middle[1] - s * (bx - ax) / length * 14)
            for s in (1, -1)
        ]
        own = {(places[names[0]], places[names[1]]), (places[names[1]], places[names[0]])}
        rest = [line for line in lines if line not in own]
        x, y = max(sides, key=lambda p: min((distance(p, line) for line in rest), default=99.0))
        taken.append((x, y))
        return f'<text class="size" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
    a, v, b = (places[n] for n in names)
    one, two = _along(v, a, 1.0), _along(v, b, 1.0)
    middle = (one[0] + two[0]) / 2, (one[1] + two[1]) / 2
    x, y = _along(v, middle, 40.0) if math.dist(middle, v) > 1e-6 else (v[0], v[1] - 40)
    taken.append((x, y))
    return (
        f'<path class="mark" d="{arc(v, a, b, 20)}"/>'
        f'<text class="size" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
    )
