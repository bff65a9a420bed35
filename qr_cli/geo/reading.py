"""What was read from a calculation text: conditions on a figure, and the quantity asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

QuantityKind = Literal[
    "length", "angle", "radius", "diameter", "perimeter", "area", "arc", "distance",
    "sin", "cos", "tan", "circumference", "circle area",
]  # fmt: skip
ConditionKind = Literal[
    "linear", "parallel", "perpendicular", "between", "on line", "beyond", "on circle",
    "midpoint", "bisects", "convex", "same way", "opposite side", "same side", "tangent",
    "tangent at", "arc midpoint", "similar", "collinear", "inside", "proper",
]  # fmt: skip


class Quantity(NamedTuple):
    """Something with a size: its kind and its points (a circle stands as its centre)."""

    kind: QuantityKind
    points: tuple[str, ...]

    def __str__(self) -> str:
        name = "".join(self.points)
        return {
            "length": name, "angle": f"∠{name}", "arc": f"arc {name}",
            "sin": f"sin ∠{name}", "cos": f"cos ∠{name}", "tan": f"tan ∠{name}",
            "radius": f"radius of ⊙{name}", "diameter": f"diameter of ⊙{name}",
            "distance": f"distance of {self.points[0]} and {''.join(self.points[1:])}",
        }.get(self.kind, f"{self.kind} of {name}")  # fmt: skip


class Term(NamedTuple):
    """A multiple of a quantity; of None: a plain number."""

    factor: float
    quantity: Quantity | None


class Condition(NamedTuple):
    """Something a figure must satisfy.

    Points mean: parallel, perpendicular, same way: AB and CD; between, beyond: P, A, B (beyond B);
    proper: a triangle that is none of a line; bisects: vertex, point, arm, arm; opposite and same
    side: P, Q of line AB; tangent: line AB and the centre; tangent at: point, other point, centre.
    A linear condition says: the terms sum to 0.
    """

    kind: ConditionKind
    points: tuple[str, ...]
    text: str
    terms: tuple[Term, ...] = ()


class Asked(NamedTuple):
    """The quantity asked for: a sum of terms, perhaps over another."""

    terms: tuple[Term, ...]
    over: tuple[Term, ...] = ()

    @property
    def is_angle(self) -> bool:
        """Tell whether the answer is in degrees."""
        kinds = {t.quantity.kind for t in self.terms if t.quantity}
        return bool(kinds) and kinds <= {"angle", "arc"} and not self.over

    def __str__(self) -> str:
        sides = [" + ".join(str(t.quantity) for t in side) for side in (self.terms, self.over)]
        return " / ".join(side for side in sides if side)


@dataclass
class Reading:
    """A text as it was understood.

    Attributes:
        conditions: what the figure must satisfy.
        asked: what is asked, if that was understood.
        assumed: conventions that were used, in words.
        not_understood: parts of the text that no pattern fits.
        needs_diagram: what the text speaks of without saying where it is.
        circles: centres of the circles.
        polygons: named triangles and quadrilaterals, in order.
        drawn: segments that the text names, as pairs of points.
        soft: conventions on how figures are usually drawn, used only when the rest is not enough.
        pending: kinds of shapes whose meaning depends on the rest of the text.
    """

    conditions: list[Condition] = field(default_factory=list)
    asked: Asked | None = None
    assumed: list[str] = field(default_factory=list)
    not_understood: list[str] = field(default_factory=list)
    needs_diagram: list[str] = field(default_factory=list)
    circles: list[str] = field(default_factory=list)
    polygons: list[tuple[str, ...]] = field(default_factory=list)
    drawn: list[tuple[str, str]] = field(default_factory=list)
    soft: list[Condition] = field(default_factory=list)
    pending: list[tuple[str, tuple[str, ...], str]] = field(default_factory=list)

    def add(self, kind: ConditionKind, *points: str, text: str = "") -> None:
        """Take a condition, once."""
        condition = Condition(kind, points, text or f"{kind}: {' '.join(points)}")
        if not any(c.kind == kind and c.points == points for c in self.conditions):
            self.conditions.append(condition)

    def equal(self, *terms: Term, text: str) -> None:
        """Take the condition that terms sum to 0."""
        self.conditions.append(Condition("linear", (), text, terms))

    def draw(self, a: str, b: str) -> None:
        """Take note of a drawn segment."""
        if a != b and (a, b) not in self.drawn and (b, a) not in self.drawn:
            self.drawn.append((a, b))

    def circle(self, name: str | None = None) -> str:
        """Return the centre of a circle; without a name the only one, or an invented one."""
        if name:
            if name not in self.circles:
                self.circles.append(name)
            return name
        if not self.circles:
            self.circles.append("⊙")
        return self.circles[0]

    def polygon(self, points: tuple[str, ...]) -> None:
        """Take note of a named polygon and its sides."""
        if len(set(points)) == len(points) and points not in self.polygons:
            self.polygons.append(points)
            for a, b in zip(points, points[1:] + points[:1], strict=True):
                self.draw(a, b)

    def has(self, kind: ConditionKind, *points: str) -> bool:
        """Tell whether a condition of this kind on these points (in any order) is known."""
        wanted = set(points)
        return any(c.kind == kind and set(c.points) == wanted for c in self.conditions)

    def on_circle(self, center: str) -> list[str]:
        """Return the points known to lie on a circle."""
        held = (c.points for c in self.conditions if c.kind in ("on circle", "tangent at"))
        return list(dict.fromkeys(p[0] for p in held if p[-1] == center))
