"""Elements for problems that list none: what givens and goal name, and the triangles they span."""

from __future__ import annotations

from itertools import combinations

from qr_cli.geo.givens import ProofProblem, element_letters
from qr_cli.geo.proof import Element, angle, normal, segment, triangle

MOST = 24


def propose(problem: ProofProblem, *, wide: bool = False) -> tuple[Element, ...]:
    """Return at most `MOST` elements, those most spoken of first.

    Named ones come first, then triangles with their sides and angles: those whose sides are drawn
    (named, or parts of what is named); with `wide` also those that new lines would make.
    """
    named = [normal(e) for e in element_letters(problem)]
    found: dict[Element, None] = dict.fromkeys(named)
    drawn = _drawn(problem, named)
    flat = [
        {*g.elements[0].points, *g.elements[1].points}
        for g in problem.givens
        if g.kind == "midpoint"
    ]
    flat += [set(triple) for triple in problem.collinear]
    points = sorted({p for e in named for p in e.points} | {p for s in drawn for p in s})
    goal = {
        p
        for t in problem.goal.left + problem.goal.right
        if isinstance(t, Element)
        for p in t.points
    }
    ranked = {frozenset(e.points): e for e in named if e.kind == "triangle"}
    least = 1 if len(points) <= 5 else 2
    spanned: list[tuple[int, int, tuple[str, str, str]]] = []
    for a, b, c in combinations(points, 3):
        sides = sum(frozenset(pair) in drawn for pair in ((a, b), (b, c), (a, c)))
        if {a, b, c} not in flat and sides >= (least if wide else 3):
            spanned.append((-sides, -len(goal & {a, b, c}), (a, b, c)))
    for _, _, corner in sorted(spanned):
        ranked.setdefault(frozenset(corner), triangle(*corner))
    for one in ranked.values():
        a, b, c = one.points
        parts = [one, segment(a, b), segment(b, c), segment(a, c)]
        parts += [angle(b, a, c), angle(a, b, c), angle(a, c, b)]
        if len(found | dict.fromkeys(parts)) <= MOST + 8:
            found |= dict.fromkeys(parts)
    return tuple(found)


def _drawn(problem: ProofProblem, named: list[Element]) -> set[frozenset[str]]:
    """Return the pairs of points that a drawing of the problem joins."""
    drawn: set[frozenset[str]] = set()
    for element in named:
        p = element.points
        if element.kind == "segment":
            drawn.add(frozenset(p))
        elif element.kind == "triangle":
            drawn |= {frozenset(pair) for pair in combinations(p, 2)}
        elif len(p) == 3:
            drawn |= {frozenset((p[0], p[1])), frozenset((p[1], p[2]))}
    for given in problem.givens:
        if given.kind == "midpoint":
            (m,), (a, b) = given.elements[0].points, given.elements[1].points
            drawn |= {frozenset((m, a)), frozenset((m, b)), frozenset((a, b))}
    return drawn
