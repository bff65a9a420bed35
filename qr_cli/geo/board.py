"""What a checker knows at one point of a proof: facts, and where points may lie.

Levels: 2 follows from the text, 1 is possible but rests on something only a diagram or coordinates
can show, 0 cannot be. A `Look` is a level with the assumptions it makes, in words. With coordinates
every condition of level 1 is decided: it becomes 2 or 0. Coordinates are asked about incidence and
order only; they never make an unproved equality true.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from qr_cli.geo.givens import Given, ProofProblem, element_letters
from qr_cli.geo.proof import Element, Statement, canonical, normal, segment


class Look(NamedTuple):
    """A level and what it assumes."""

    level: int
    assumes: tuple[str, ...] = ()


YES, NO = Look(2), Look(0)


def both(*looks: Look) -> Look:
    """Return the conjunction: the least level, all assumptions."""
    level = min(look.level for look in looks)
    if level == 0:
        return NO
    return Look(level, tuple(dict.fromkeys(note for look in looks for note in look.assumes)))


def best(looks: Iterable[Look]) -> Look:
    """Return the best choice: the first of the highest level."""
    top = NO
    for look in looks:
        if look.level == 2:
            return look
        if look.level > top.level:
            top = look
    return top


class Equal(NamedTuple):
    """Two segments or angles that are equal, and the facts that say so."""

    one: Element
    two: Element
    uses: tuple[int, ...]


class Fact(NamedTuple):
    """A statement and where it is from: -1 - i for given i, else the step's index."""

    statement: Statement
    source: int


class Board:
    """Facts by kind, and questions about incidence and order."""

    def __init__(self, problem: ProofProblem, elements: Iterable[Element] = ()) -> None:
        self.problem = problem
        self.points = problem.points
        self.givens: list[tuple[int, Given]] = [(-1 - i, g) for i, g in enumerate(problem.givens)]
        self.known: dict[Statement, int] = {}
        self.facts: list[Fact] = []
        self.equal_angles: dict[tuple[str, str], list[Equal]] = defaultdict(list)
        self.equal_segments: dict[tuple[Element, Element], Equal] = {}
        self.equals: list[Equal] = []
        self.parallels: list[tuple[Element, Element, int]] = []
        self.verticals: list[tuple[Element, Element, int]] = []
        self.congruent: list[tuple[Element, Element, int]] = []
        self.similar: list[tuple[Element, Element, int]] = []
        self.constants: dict[int, list[tuple[Element, int]]] = defaultdict(list)
        named = [*element_letters(problem), *elements, *problem.elements]
        self.flat = {frozenset(triple) for triple in problem.collinear}
        self.middle: dict[frozenset[str], str] = {}
        for _, given in self.givens:
            if given.kind == "midpoint":
                triple = frozenset(given.elements[0].points + given.elements[1].points)
                self.flat.add(triple)
                self.middle[triple] = given.elements[0].vertex
        self.corners = {frozenset(e.points) for e in named if len(e.points) == 3} - self.flat
        self.angle_names: dict[str, set[Element]] = defaultdict(set)
        for element in named:
            if element.kind == "angle":
                self.angle_names[element.vertex].add(normal(element))
        for index, given in self.givens:
            if given.statement:
                self.add(given.statement, index)

    def add(self, statement: Statement, index: int) -> None:
        """Take a statement as a fact."""
        form = canonical(statement)
        self.known.setdefault(form, index)
        self.facts.append(Fact(form, index))
        relation, left, right = statement
        one, two = left[0], right[0]
        if isinstance(one, int):
            one, two, left, right = two, one, right, left
        single = len(left) == len(right) == 1 and isinstance(one, Element)
        if relation in ("parallel", "vertical"):
            row = (normal(one), normal(two), index)  # type: ignore[arg-type]
            (self.parallels if relation == "parallel" else self.verticals).append(row)
        elif relation in ("congruent", "similar") and one.kind == "triangle":  # type: ignore[union-attr]
            table = self.congruent if relation == "congruent" else self.similar
            table.append((one, two, index))  # type: ignore[arg-type]
        elif relation in ("congruent", "equal") and single:
            if isinstance(two, Element):
                self._equal(normal(one), normal(two), (index,))  # type: ignore[arg-type]
            else:
                self._constant(normal(one), two, index)  # type: ignore[arg-type]

    def _equal(self, one: Element, two: Element, uses: tuple[int, ...]) -> None:
        equal = Equal(one, two, uses)
        self.equals.append(equal)
        if one.kind == "segment":
            self.equal_segments.setdefault((one, two), equal)
            self.equal_segments.setdefault((two, one), equal)
            return
        self.equal_angles[one.vertex, two.vertex].append(equal)
        self.equal_angles[two.vertex, one.vertex].append(Equal(two, one, uses))

    def _constant(self, one: Element, value: int, index: int) -> None:
        for other, place in self.constants[value]:
            self._equal(one, other, (index, place))
        self.constants[value].append((one, index))

    # where points may lie ------------------------------------------------------------------

    def ray(self, v: str, a: str, o: str) -> Look:
        """May o lie on the ray from v through a?"""
        if o == a:
            return YES
        if o == v or frozenset((v, a, o)) in self.corners:
            return NO
        if self.points:
            return YES if self._on_ray(v, a, o) else NO
        if middle := self.middle.get(frozenset((v, a, o))):
            return NO if v == middle else YES
        return Look(1, (f"{o} lies on the ray {v}{a}",))

    def names(self, x: Element, v: str, a: str, b: str) -> Look:
        """Does x denote the angle at v with arms a and b?"""
        if x.vertex != v:
            return NO
        if len(x.points) == 1:
            return YES
        o, q = x.points[0], x.points[2]
        if {o, q} == {a, b}:
            return YES
        return best(both(self.ray(v, a, one), self.ray(v, b, two)) for one, two in ((o, q), (q, o)))

    def on(self, p: str, line: Element) -> Look:
        """May p lie on the line of a segment?"""
        if p in line.points:
            return YES
        if frozenset((p, *line.points)) in self.corners:
            return NO
        if self.points:
            return YES if self._collinear(p, *line.points) else NO
        if frozenset((p, *line.points)) in self.flat:
            return YES
        return Look(1, (f"{p} lies on the line {line}",))

    def along(self, line: Element, v: str, w: str) -> Look:
        """May the segment vw lie along a line?"""
        if v == w:
            return NO
        if {v, w} == set(line.points):
            return YES
        if not {v, w} & set(line.points):
            return NO
        return both(self.on(v, line), self.on(w, line))

    def arms(self, x: Element, line: Element) -> Iterator[tuple[Look, str, str | None]]:
        """Yield the ways in which an angle has an arm along a line: look, that arm, the other."""
        v, ends = x.vertex, set(line.points)
        if len(x.points) == 1:
            if v in ends:
                (other,) = ends - {v}
                yield (YES if self.points else Look(1, (f"{line} is an arm of {x}",))), other, None
            return
        for p, q in (x.points[::2], x.points[::-2]):
            if {v, p} == ends:
                yield YES, p, q
            elif v in ends or p in ends:
                (far,) = ends - ({v} if v in ends else {p})
                look = both(self.on(v, line), self.on(p, line))
                if look.level and frozenset((v, p, far)) not in self.corners:
                    yield look, p, q

    def between(self, m: str, a: str, b: str) -> Look:
        """May m lie between a and b?"""
        triple = frozenset((m, a, b))
        if triple in self.corners:
            return NO
        if self.points:
            flat = self._collinear(m, a, b) and self._dot(m, a, b) < 0
            return YES if flat else NO
        if triple in self.middle:
            return YES if m == self.middle[triple] else NO
        return YES if triple in self.flat else Look(1, (f"{m} lies between {a} and {b}",))

    # coordinates ---------------------------------------------------------------------------

    def _place(self, name: str) -> tuple[float, float] | None:
        return (self.points or {}).get(name)

    def _vectors(self, v: str, a: str, b: str) -> tuple[float, float, float, float] | None:
        at, one, two = self._place(v), self._place(a), self._place(b)
        if at is None or one is None or two is None:
            return None
        return one[0] - at[0], one[1] - at[1], two[0] - at[0], two[1] - at[1]

    def _collinear(self, p: str, a: str, b: str) -> bool:
        found = self._vectors(p, a, b)
        if found is None:
            return False
        x, y, s, t = found
        return abs(x * t - y * s) <= 1e-3 * ((x * x + y * y) * (s * s + t * t)) ** 0.5

    def _dot(self, v: str, a: str, b: str) -> float:
        found = self._vectors(v, a, b)
        return found[0] * found[2] + found[1] * found[3] if found else 0.0

    def _on_ray(self, v: str, a: str, o: str) -> bool:
        return self._collinear(v, a, o) and self._dot(v, a, o) > 0

    def side(self, p: str, a: str, b: str) -> int:
        """Return the side of the line ab on which p lies: 1, -1, or 0 on the line."""
        found = self._vectors(a, b, p)
        if found is None:
            return 0
        cross = found[0] * found[3] - found[1] * found[2]
        size = ((found[0] ** 2 + found[1] ** 2) * (found[2] ** 2 + found[3] ** 2)) ** 0.5
        return 0 if abs(cross) <= 1e-3 * size else 1 if cross > 0 else -1

    def toward(self, v: str, arm: str | None, w: str) -> int:
        """Return 1 if the arm points from v to w, -1 if away from it, 0 if neither."""
        if arm is None or not self._collinear(v, arm, w):
            return 0
        return 1 if self._dot(v, arm, w) > 0 else -1


def sides(one: Element) -> tuple[Element, Element, Element]:
    """Return the sides of a triangle, each opposite the vertex of its place."""
    a, b, c = one.points
    return segment(b, c), segment(a, c), segment(a, b)
