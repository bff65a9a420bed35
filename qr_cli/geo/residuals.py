"""Conditions as residuals of order one, on many figures at once.

X is (B, P, 2): B figures of P points; R is (B, C): radii of C circles. A residual is (B, k) and
zero where its condition holds. Order (betweenness, sides, convexity) enters as hinges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from qr_cli.geo.reading import Condition, Quantity, Term

Array = NDArray[np.float64]
TINY = 1e-12
MARGIN = 0.02  # how far inside its bounds an order must hold, relative
ANGLE_SCALE = 30.0  # degrees that count as one


class Layout:
    """Where points and circles stand among the unknowns."""

    def __init__(self, points: Sequence[str], circles: Sequence[str], scale: float) -> None:
        self.points = {name: i for i, name in enumerate(points)}
        self.circles = {name: i for i, name in enumerate(circles)}
        self.scale = scale  # the length that counts as one

    @property
    def size(self) -> int:
        """The number of unknowns."""
        return 2 * len(self.points) + len(self.circles)

    def split(self, x: Array) -> tuple[Array, Array]:
        """Return points and radii of unknowns (B, n)."""
        cut = 2 * len(self.points)
        return x[:, :cut].reshape(len(x), -1, 2), x[:, cut:]


class Figures:
    """Figures as points and radii, with the measures that conditions are made of."""

    def __init__(self, layout: Layout, x: Array) -> None:
        self.layout = layout
        self.points, self.radii = layout.split(x)

    def at(self, name: str) -> Array:
        """Return the places of a point, (B, 2)."""
        return self.points[:, self.layout.points[name]]

    def radius(self, name: str) -> Array:
        """Return the radii of a circle, (B,)."""
        return self.radii[:, self.layout.circles[name]]

    def vector(self, a: str, b: str) -> Array:
        """Return the vectors from a to b."""
        return self.at(b) - self.at(a)

    def length(self, a: str, b: str) -> Array:
        """Return the distances of a and b."""
        return norm(self.vector(a, b))

    def angle(self, a: str, v: str, b: str) -> Array:
        """Return the angles a v b in degrees, in [0, 180]."""
        one, two = self.vector(v, a), self.vector(v, b)
        return np.degrees(np.arctan2(np.abs(cross(one, two)), dot(one, two)))

    def side(self, p: str, a: str, b: str) -> Array:
        """Return on which side of ab p lies: the sine of the angle at a."""
        return cross(unit(self.vector(a, b)), unit(self.vector(a, p)))

    def area(self, corners: Sequence[str]) -> Array:
        """Return signed areas of polygons."""
        total = np.zeros(len(self.points))
        for a, b in zip(corners, [*corners[1:], corners[0]], strict=True):
            total = total + cross(self.at(a), self.at(b))
        return total / 2

    def measure(self, q: Quantity) -> Array:
        """Return a quantity of each figure, lengths in units of the layout's scale."""
        p = q.points
        match q.kind:
            case "length":
                return self.length(*p)
            case "angle":
                return self.angle(*p)
            case "sin" | "cos" | "tan":
                return {"sin": np.sin, "cos": np.cos, "tan": np.tan}[q.kind](
                    np.radians(self.angle(*p))
                )
            case "radius":
                return self.radius(p[0])
            case "diameter":
                return 2 * self.radius(p[0])
            case "circumference":
                return 2 * np.pi * self.radius(p[0])
            case "circle area":
                return np.pi * self.radius(p[0]) ** 2
            case "distance":
                a, b = self.at(p[1]), self.vector(p[1], p[2])
                return np.abs(cross(unit(b), self.at(p[0]) - a))
            case "perimeter":
                return sum(
                    (self.length(a, b) for a, b in zip(p, p[1:] + p[:1], strict=True)),
                    np.zeros(len(self.points)),
                )
            case "area":
                return np.abs(self.area(p))
        raise ValueError(f"nothing measures {q.kind}")


def norm(v: Array) -> Array:
    """Return lengths of vectors."""
    return np.sqrt(np.maximum(np.einsum("bi,bi->b", v, v), TINY**2))


def unit(v: Array) -> Array:
    """Return vectors of length one."""
    return v / norm(v)[:, None]


def dot(a: Array, b: Array) -> Array:
    """Return scalar products."""
    return np.einsum("bi,bi->b", a, b)


def cross(a: Array, b: Array) -> Array:
    """Return the third component of vector products."""
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def dimension(terms: Sequence[Term]) -> int:
    """Return the power of a length that terms have: 0 for angles and ratios, 1, 2 for areas."""
    kinds = {t.quantity.kind for t in terms if t.quantity}
    if kinds & {"area", "circle area"}:
        return 2
    return 0 if kinds & {"angle", "sin", "cos", "tan"} else 1


def _linear(f: Figures, c: Condition) -> list[Array]:
    power = dimension(c.terms)
    angles = any(t.quantity and t.quantity.kind == "angle" for t in c.terms)
    scale = f.layout.scale**power * (ANGLE_SCALE if angles else 1.0)
    total = np.zeros(len(f.points))
    size = 1.0
    for factor, quantity in c.terms:
        if quantity is None:
            total = total + factor / scale
        else:
            total = total + factor * f.measure(quantity) * f.layout.scale**power / scale
            size = max(size, abs(factor))
    return [total / size]


def _hinge(slack: Array) -> Array:
    """Return by how much something that should be positive is not."""
    return np.maximum(MARGIN - slack, 0.0)


def _along(f: Figures, p: str, a: str, b: str) -> tuple[Array, Array]:
    """Return where p stands along ab (0 at a, 1 at b) and how far beside it, relative to ab."""
    line, to = f.vector(a, b), f.vector(a, p)
    square = np.maximum(dot(line, line), TINY)
    return dot(line, to) / square, cross(line, to) / square


def _between(f: Figures, c: Condition) -> list[Array]:
    t, beside = _along(f, *c.points)
    return [beside, _hinge(t), _hinge(1 - t)]


def _beyond(f: Figures, c: Condition) -> list[Array]:
    t, beside = _along(f, *c.points)
    return [beside, _hinge(t - 1)]


def _on_line(f: Figures, c: Condition) -> list[Array]:
    return [_along(f, *c.points)[1]]


def _collinear(f: Figures, c: Condition) -> list[Array]:
    return [_along(f, c.points[2], c.points[0], c.points[1])[1]]


def _units(f: Figures, c: Condition) -> tuple[Array, Array]:
    a, b, p, q = c.points
    return unit(f.vector(a, b)), unit(f.vector(p, q))


def _parallel(f: Figures, c: Condition) -> list[Array]:
    a, b, p, q = c.points
    apart = [_hinge(np.abs(f.side(p, a, b)))] if len(set(c.points)) == 4 else []
    return [cross(*_units(f, c)), *apart]


def _proper(f: Figures, c: Condition) -> list[Array]:
    a, b, p = c.points
    return [_hinge(np.abs(f.side(p, a, b))), _hinge(np.abs(f.side(b, p, a)))]


def _perpendicular(f: Figures, c: Condition) -> list[Array]:
    return [dot(*_units(f, c))]


def _same_way(f: Figures, c: Condition) -> list[Array]:
    return [_hinge(dot(*_units(f, c)))]


def _on_circle(f: Figures, c: Condition) -> list[Array]:
    return [f.length(*c.points) - f.radius(c.points[1])]


def _midpoint(f: Figures, c: Condition) -> list[Array]:
    m, a, b = (f.at(p) for p in c.points)
    return list((m - (a + b) / 2).T)


def _bisects(f: Figures, c: Condition) -> list[Array]:
    v, d, a, b = c.points
    inner = unit(f.vector(v, a)) + unit(f.vector(v, b))
    ray = unit(f.vector(v, d))
    return [cross(unit(inner), ray), _hinge(dot(unit(inner), ray))]


def _convex(f: Figures, c: Condition) -> list[Array]:
    corners = list(c.points)
    turn = np.sign(f.area(corners))
    n = len(corners)
    return [
        _hinge(
            turn
            * cross(
                unit(f.vector(corners[i - 1], corners[i])),
                unit(f.vector(corners[i], corners[(i + 1) % n])),
            )
        )
        for i in range(n)
    ]


def _opposite(f: Figures, c: Condition) -> list[Array]:
    p, q, a, b = c.points
    return [_hinge(MARGIN - f.side(p, a, b) * f.side(q, a, b))]


def _same_side(f: Figures, c: Condition) -> list[Array]:
    p, q, a, b = c.points
    return [_hinge(MARGIN + f.side(p, a, b) * f.side(q, a, b))]


def _tangent(f: Figures, c: Condition) -> list[Array]:
    a, b, o = c.points
    return [np.abs(cross(unit(f.vector(a, b)), f.vector(a, o))) - f.radius(o)]


def _tangent_at(f: Figures, c: Condition) -> list[Array]:
    p, other, o = c.points
    return [f.length(p, o) - f.radius(o), dot(unit(f.vector(p, o)), unit(f.vector(p, other)))]


def _arc_midpoint(f: Figures, c: Condition) -> list[Array]:
    m, a, b, o = c.points
    return [f.length(m, a) - f.length(m, b), _hinge(MARGIN - f.side(m, a, b) * f.side(o, a, b))]


def _similar(f: Figures, c: Condition) -> list[Array]:
    n = len(c.points) // 2
    one, two = c.points[:n], c.points[n:]
    ratios = [
        np.log(f.length(one[i], one[j])) - np.log(f.length(two[i], two[j]))
        for i, j in combinations(range(n), 2)
    ]
    return [ratio - ratios[0] for ratio in ratios[1:]]


def _inside(f: Figures, c: Condition) -> list[Array]:
    o, *corners = c.points
    turn = np.sign(f.area(corners))
    return [
        _hinge(turn * f.side(o, a, b))
        for a, b in zip(corners, [*corners[1:], corners[0]], strict=True)
    ]


RESIDUALS: dict[str, Callable[[Figures, Condition], list[Array]]] = {
    "linear": _linear, "parallel": _parallel, "perpendicular": _perpendicular,
    "between": _between, "on line": _on_line, "beyond": _beyond, "on circle": _on_circle,
    "midpoint": _midpoint, "bisects": _bisects, "convex": _convex, "same way": _same_way,
    "opposite side": _opposite, "same side": _same_side, "tangent": _tangent,
    "tangent at": _tangent_at, "arc midpoint": _arc_midpoint, "similar": _similar,
    "collinear": _collinear, "proper": _proper, "inside": _inside,
}  # fmt: skip
