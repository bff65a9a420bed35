"""What is drawn: points, segments, circles, and marks, in the units of the text, y up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from qr_cli.geo.givens import ProofProblem, element_letters
from qr_cli.geo.proof import Element
from qr_cli.geo.reading import Reading

Points = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Picture:
    """A figure to draw.

    Attributes:
        points: places by name.
        segments: pairs of points.
        circles: centre and radius.
        right: right angles, as arm, vertex, arm.
        labels: texts at the middle of segments or in angles, by their points.
        caption: where the figure is from.
    """

    points: Points
    segments: Sequence[tuple[str, str]] = ()
    circles: Sequence[tuple[tuple[float, float], float]] = ()
    right: Sequence[tuple[str, str, str]] = ()
    labels: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    caption: str = ""


DRAWN = "drawn from the text, not the original diagram"


def of_reading(
    reading: Reading,
    points: Points,
    radii: Mapping[str, float],
    labels: Mapping[tuple[str, ...], str],
) -> Picture:
    """Return the figure of a construction."""
    names = [p for p in points if p != "⊙"]
    segments = [pair for pair in reading.drawn if set(pair) <= set(names)]
    right = []
    for c in reading.conditions:
        if c.kind == "perpendicular":
            common = set(c.points[:2]) & set(c.points[2:])
            if len(common) == 1:
                (v,) = common
                one, two = (
                    next(p for p in pair if p != v) for pair in (c.points[:2], c.points[2:])
                )
                right.append((one, v, two))
    return Picture(
        {p: points[p] for p in names},
        segments,
        [(points[o], r) for o, r in radii.items() if o in points],
        right,
        dict(labels),
        DRAWN,
    )


def of_proof(problem: ProofProblem, elements: Sequence[Element]) -> Picture | None:
    """Return the figure of a proving problem with coordinates."""
    if not problem.points:
        return None
    pairs: dict[tuple[str, str], None] = {}
    for e in [*element_letters(problem), *elements]:
        p = e.points
        if e.kind == "segment":
            pairs[p[0], p[1]] = None
        elif e.kind == "triangle":
            pairs |= dict.fromkeys(combinations(p, 2))
        elif len(p) == 3:
            pairs |= {(p[1], p[0]): None, (p[1], p[2]): None}
    known = problem.points
    segments = [(a, b) for a, b in pairs if a in known and b in known]
    return Picture(known, segments, caption="drawn from the coordinates of the problem")
