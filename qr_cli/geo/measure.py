"""Statements measured on coordinates."""

from __future__ import annotations

import math
from collections.abc import Mapping

from qr_cli.geo.proof import Element, Statement, Term

Points = Mapping[str, tuple[float, float]]
EXACT = 1e-3  # relative; coordinates read off a picture need more


def length(points: Points, a: str, b: str) -> float:
    """Return the distance of two points."""
    return math.dist(points[a], points[b])


def degrees(points: Points, a: str, v: str, b: str) -> float:
    """Return the angle a v b, in [0, 180]."""
    (x, y), (s, t), (p, q) = points[v], points[a], points[b]
    one, two = (s - x, t - y), (p - x, q - y)
    cross = one[0] * two[1] - one[1] * two[0]
    return abs(math.degrees(math.atan2(cross, one[0] * two[0] + one[1] * two[1])))


def truth(statement: Statement, points: Points, tolerance: float = EXACT) -> bool | None:
    """Tell whether a statement is true of coordinates; None where they do not say.

    Lengths and angles are compared relative to their size; directions by the sine of their angle.
    """
    terms = [t for t in statement.left + statement.right if isinstance(t, Element)]
    if any(p not in points for t in terms for p in t.points):
        return None
    if any(t.kind == "angle" and t.arms is None for t in terms):
        return None  # a one-letter angle has no arms to measure
    relation, left, right = statement
    if relation in ("parallel", "vertical"):
        one, two = (_direction(points, side[0]) for side in (left, right))  # type: ignore[arg-type]
        turn = math.sin(one - two) if relation == "parallel" else math.cos(one - two)
        return abs(turn) <= tolerance
    if relation == "ratio":
        (a, b), (c, d) = ([_size(points, t) for t in side] for side in (left, right))
        return _near(a * d, b * c, tolerance)
    if terms[0].kind == "triangle":
        ratios = [
            length(points, left[0].points[i], left[0].points[j])  # type: ignore[union-attr]
            / length(points, right[0].points[i], right[0].points[j])  # type: ignore[union-attr]
            for i, j in ((0, 1), (1, 2), (0, 2))
        ]
        wanted = 1.0 if relation == "congruent" else ratios[0]
        return all(_near(r, wanted, tolerance) for r in ratios)
    first, second = (sum(_size(points, t) for t in side) for side in (left, right))
    return _near(first, second, tolerance)


def _size(points: Points, term: Term) -> float:
    if isinstance(term, int):
        return float(term)
    return length(points, *term.points) if term.kind == "segment" else degrees(points, *term.points)


def _direction(points: Points, line: Element) -> float:
    (a, b), (c, d) = (points[p] for p in line.points)
    return math.atan2(d - b, c - a)


def _near(a: float, b: float, tolerance: float) -> bool:
    return abs(a - b) <= tolerance * max(abs(a), abs(b), 1e-12)
