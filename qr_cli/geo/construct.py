"""Figures that satisfy a reading: coordinates by least squares from many starts at once.

Unknowns are two per point and a radius per circle. Levenberg and Marquardt's method runs on all
starts together, as arrays; a figure is accepted when every residual is at most 1e-6 and no two
points coincide. The asked quantity is then measured in each figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qr_cli.geo.reading import Asked, Condition, Reading, Term
from qr_cli.geo.residuals import RESIDUALS, Array, Figures, Layout, dimension

STARTS, ROUNDS = 40, 70
PATIENCE, HOPELESS = 25, 1e-3  # rounds after which a start this far off is given up
ACCEPT, EXACT, APART = 1e-6, 1e-9, 2e-3
_ROUND = ("radius", "diameter", "circumference", "circle area")


@dataclass(frozen=True)
class Construction:
    """Accepted figures of one reading.

    Attributes:
        figures: coordinates by point, one dictionary per figure, in the units of the text.
        radii: radii by circle, one dictionary per figure.
        values: the asked quantity in each.
    """

    figures: tuple[dict[str, tuple[float, float]], ...] = ()
    radii: tuple[dict[str, float], ...] = ()
    values: tuple[float, ...] = ()

    @property
    def value(self) -> float | None:
        """The value all figures share, or None."""
        if len(self.values) < 2:
            return None
        spread = max(self.values) - min(self.values)
        middle = float(np.median(self.values))
        return middle if spread <= 1e-6 * max(1.0, abs(middle)) else None


def construct(
    reading: Reading, *, soft: bool = False, seed: int = 0, starts: int = STARTS
) -> Construction:
    """Return figures of a reading.

    Args:
        reading: conditions and question.
        soft: also use the conventions on how figures are usually drawn.
        seed: of the random starts.
        starts: how many.
    """
    conditions = [*reading.conditions, *(reading.soft if soft else ())]
    layout = _layout(reading, conditions)
    if not layout.points:
        return Construction()
    free = not any(_gives_size(c) for c in conditions)
    x = _start(layout, starts, seed)
    x = _minimize(layout, conditions, x, free=free)
    error = np.abs(_residuals(layout, conditions, x, free=free)).max(axis=1)
    apart = [i for i in range(len(x)) if error[i] <= ACCEPT and _apart(layout, x[i])]
    exact = [i for i in apart if error[i] <= EXACT]
    good = exact if len(exact) > 1 else apart  # almost flat figures are close without being right
    return _measured(layout, reading.asked, x[good])


def _points(conditions: Sequence[Condition], asked: Asked | None) -> list[str]:
    found: dict[str, None] = {}
    terms: list[Term] = [*asked.terms, *asked.over] if asked else []
    for c in conditions:
        found |= dict.fromkeys(c.points)
        terms += c.terms
    for term in terms:
        if term.quantity:
            found |= dict.fromkeys(term.quantity.points)
    return list(found)


def _layout(reading: Reading, conditions: Sequence[Condition]) -> Layout:
    points = _points(conditions, reading.asked)
    terms = [t for c in conditions for t in c.terms] + list(
        reading.asked.terms if reading.asked else ()
    )
    round_ = {t.quantity.points[0] for t in terms if t.quantity and t.quantity.kind in _ROUND}
    circles = [o for o in dict.fromkeys((*reading.circles, *sorted(round_))) if o in points]
    sizes = [
        abs(t.factor) ** (1 / max(1, dimension(c.terms)))
        for c in conditions
        for t in c.terms
        if t.quantity is None and dimension(c.terms)
    ]
    return Layout(points, circles, max(sizes, default=1.0) or 1.0)


def _gives_size(condition: Condition) -> bool:
    """Tell whether a condition says how large something is."""
    plain = any(t.quantity is None and t.factor for t in condition.terms)
    return plain and dimension(condition.terms) > 0


def _start(layout: Layout, starts: int, seed: int) -> Array:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(starts, layout.size)) * 0.8
    cut = 2 * len(layout.points)
    x[:, cut:] = np.abs(x[:, cut:]) + 0.3
    return x


def _residuals(layout: Layout, conditions: Sequence[Condition], x: Array, *, free: bool) -> Array:
    figures = Figures(layout, x)
    found = [r for c in conditions for r in RESIDUALS[c.kind](figures, c)]
    if free:  # nothing gives a size: the points spread by one
        middle = figures.points - figures.points.mean(axis=1, keepdims=True)
        found.append(np.sqrt((middle**2).sum(axis=(1, 2)) / len(layout.points)) - 0.7)
    if not found:
        return np.zeros((len(x), 1))
    return np.stack(found, axis=1)


def _minimize(layout: Layout, conditions: Sequence[Condition], x: Array, *, free: bool) -> Array:
    """Levenberg-Marquardt on all starts; Jacobians by forward differences."""
    n, step = layout.size, 1e-7
    damping = np.full(len(x), 1e-2)
    residual = _residuals(layout, conditions, x, free=free)
    cost = (residual**2).sum(axis=1)
    for turn in range(ROUNDS):
        active = np.flatnonzero((cost > 1e-22) & ((turn < PATIENCE) | (cost < HOPELESS)))
        if not len(active):
            break
        at, base = x[active], residual[active]
        moved = (at[:, None, :] + step * np.eye(n)).reshape(-1, n)
        shifted = _residuals(layout, conditions, moved, free=free).reshape(len(active), n, -1)
        jacobian = ((shifted - base[:, None, :]) / step).transpose(0, 2, 1)  # (B, k, n)
        normal = np.einsum("bki,bkj->bij", jacobian, jacobian)
        slope = np.einsum("bki,bk->bi", jacobian, base)
        diagonal = damping[active, None] * (np.einsum("bii->bi", normal) + 1e-3)
        normal[:, np.arange(n), np.arange(n)] += diagonal + 1e-12
        trial = at - np.linalg.solve(normal, slope[..., None])[..., 0]
        tried = _residuals(layout, conditions, trial, free=free)
        tried_cost = (tried**2).sum(axis=1)
        better = tried_cost < cost[active]
        keep = active[better]
        x[keep], residual[keep], cost[keep] = trial[better], tried[better], tried_cost[better]
        damping[active] = np.clip(
            np.where(better, damping[active] / 5, damping[active] * 4), 1e-12, 1e8
        )
    return x


def _apart(layout: Layout, x: Array) -> bool:
    """Tell whether all points are different and no radius is nothing."""
    points, radii = layout.split(x[None])
    places = points[0]
    size = max(float(np.ptp(places, axis=0).max()), 1e-9)
    if not np.isfinite(x).all() or size > 1e4 or (radii <= APART * size).any():
        return False
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(len(places)) * size
    return bool(gaps.min() > APART * size)


def measure(asked: Asked, figures: Figures) -> Array:
    """Return the asked quantity of each figure, in the units of the text."""

    def total(terms: Sequence[Term]) -> Array:
        scale = figures.layout.scale ** dimension(terms)
        values = [
            t.factor * (figures.measure(t.quantity) * scale if t.quantity else 1.0) for t in terms
        ]
        return np.sum(np.stack(np.broadcast_arrays(*values)), axis=0)

    value = total(asked.terms)
    return value / total(asked.over) if asked.over else value


def _measured(layout: Layout, asked: Asked | None, x: Array) -> Construction:
    if not len(x):
        return Construction()
    figures = Figures(layout, x)
    values = measure(asked, figures) if asked else np.full(len(x), np.nan)
    s = layout.scale
    return Construction(
        tuple(
            {p: (float(f[i, 0]) * s, float(f[i, 1]) * s) for p, i in layout.points.items()}
            for f in figures.points
        ),
        tuple({c: float(r[i]) * s for c, i in layout.circles.items()} for r in figures.radii),
        tuple(float(v) for v in values),
    )
