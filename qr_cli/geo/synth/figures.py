"""Figures of generated problems: points as complex numbers, lines, circles, marks.

A family writes its figure with the letters of its text. Lower-case points are drawn but not named:
the free ends of lines. Marks carry what the picture says: right-angle squares, arcs with digits,
ticks on equal sides, arrows on parallels, sizes.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

Place = complex


@dataclass
class Figure:
    """A figure to draw.

    Attributes:
        points: places by letter.
        lines: chains of points, "ABCA DE".
        circles: centre and radius.
        right: right angles, arm vertex arm, "ABC".
        arcs: text at the arc of an angle, "ABC" -> "1"; "" draws the arc alone.
        ticks: strokes across a segment, "AB" -> how many.
        arrows: heads along a segment, "AB" -> how many.
        sizes: text beside the middle of a segment, "AB" -> "5".
        spans: dimension lines beside a segment, "AB" -> which side (1 or -1) and how far.
    """

    points: dict[str, Place]
    lines: str = ""
    circles: tuple[tuple[Place, float], ...] = ()
    right: tuple[str, ...] = ()
    arcs: dict[str, str] = field(default_factory=dict)
    ticks: dict[str, int] = field(default_factory=dict)
    arrows: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, str] = field(default_factory=dict)
    spans: dict[str, float] = field(default_factory=dict)

    def segments(self) -> list[tuple[str, str]]:
        """Return the pairs of points that are joined."""
        return [pair for chain in self.lines.split() for pair in pairwise(chain)]

    def clear(self, pair: str) -> str:
        """Return a segment to mark in its middle: the half of one that has a point just there."""
        a, b = (self.points[p] for p in pair)
        for name, place in self.points.items():
            if name not in pair and abs(place - (a + b) / 2) < 0.1 * abs(b - a):
                return name + pair[1]
        return pair


def cis(degrees: float) -> Place:
    """Return the unit vector in a direction."""
    return cmath.rect(1.0, math.radians(degrees))


def by_angles(c: float, alpha: float, beta: float) -> dict[str, Place]:
    """Return the triangle with side AB = c and these angles at A and B; C lies above AB."""
    side = c * math.sin(math.radians(beta)) / math.sin(math.radians(alpha + beta))
    return {"A": 0j, "B": complex(c), "C": side * cis(alpha)}


def by_sides(a: float, b: float, c: float) -> dict[str, Place]:
    """Return the triangle with BC = a, CA = b, AB = c; C lies above AB."""
    x = (b * b + c * c - a * a) / (2 * c)
    return {"A": 0j, "B": complex(c), "C": complex(x, math.sqrt(max(b * b - x * x, 0.0)))}


def on(a: Place, b: Place, share: float) -> Place:
    """Return the point that lies at a share of the way from a to b."""
    return a + share * (b - a)


def foot(p: Place, a: Place, b: Place) -> Place:
    """Return the foot of the perpendicular from p on the line ab."""
    d = b - a
    return a + d * ((p - a) * d.conjugate()).real / abs(d) ** 2


def mirror(p: Place, a: Place, b: Place) -> Place:
    """Return p reflected in the line ab."""
    return 2 * foot(p, a, b) - p


def meet(a: Place, b: Place, c: Place, d: Place) -> Place:
    """Return where the lines ab and cd meet."""
    u, v = b - a, d - c
    return a + u * cross(c - a, v) / cross(u, v)


def cross(u: Place, v: Place) -> float:
    """Return the cross product of two vectors."""
    return u.real * v.imag - u.imag * v.real


def degrees(a: Place, v: Place, b: Place) -> float:
    """Return the angle a v b, in [0, 180]."""
    w = (b - v) * (a - v).conjugate()
    return abs(math.degrees(math.atan2(w.imag, w.real)))


def renamed(figure: Figure, names: Mapping[str, str]) -> Figure:
    """Return a figure with other letters."""

    def to(letters: str) -> str:
        return "".join(names.get(letter, letter) for letter in letters)

    return Figure(
        {to(k): v for k, v in figure.points.items()},
        to(figure.lines),
        figure.circles,
        tuple(map(to, figure.right)),
        {to(k): v for k, v in figure.arcs.items()},
        {to(k): v for k, v in figure.ticks.items()},
        {to(k): v for k, v in figure.arrows.items()},
        {to(k): v for k, v in figure.sizes.items()},
        {to(k): v for k, v in figure.spans.items()},
    )
