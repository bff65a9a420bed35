"""Statements worth asking the rules about, each with the reasons that can conclude it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, permutations

from qr_cli.geo.board import Board, Fact
from qr_cli.geo.proof import Element, Statement, Term, canonical, normal, triangle

Candidate = tuple[Statement, tuple[int, ...]]
LONGEST = 5  # terms of an equation, both sides together
_SEGMENTS = (16, 19, 31, 6, 2, 11, 7)
_ANGLES = (3, 4, 35, 22, 33, 12, 6, 28, 2, 11, 7)


def statements(elements: Sequence[Element], goal: Statement, *, free: bool) -> Iterator[Candidate]:
    """Yield the typed statements of the elements.

    Args:
        elements: what may be spoken of.
        goal: proportions are proposed only where they are the goal.
        free: try every correspondence of two triangles, not only the one they are written in.
    """
    segments = [e for e in elements if e.kind == "segment"]
    angles = [e for e in elements if e.kind == "angle"]
    triangles = [e for e in elements if e.kind == "triangle"]
    for e in segments + angles:
        yield Statement("congruent", (e,), (e,)), (14,)
    for a, b in combinations(segments, 2):
        if normal(a) == normal(b):
            continue
        yield Statement("congruent", (a,), (b,)), _SEGMENTS
        yield Statement("parallel", (a,), (b,)), (1, 23, 32)
        yield Statement("vertical", (a,), (b,)), (24,)
    for a, b in combinations(angles, 2):
        yield Statement("congruent", (a,), (b,)), _ANGLES
        yield Statement("equal", (a, b), (180,)), (10, 17, 34, 36)
        if a.vertex != b.vertex:
            yield Statement("equal", (a, b), (90,)), (20,)
    for a in angles:
        yield Statement("equal", (a,), (90,)), (24,)
    for a, b in combinations(triangles, 2):
        orders = permutations(b.points) if free else (b.points,)
        for order in orders:
            yield Statement("congruent", (a,), (triangle(*order),)), (13, 29, 0, 30)
            yield Statement("similar", (a,), (triangle(*order),)), (21, 15)
    yield from _sums(segments, angles)
    if goal.relation == "ratio":
        yield goal, (28,)


def _sums(segments: Sequence[Element], angles: Sequence[Element]) -> Iterator[Candidate]:
    for a, b, c in combinations(angles, 3):
        if len({a.vertex, b.vertex, c.vertex}) == 3:
            yield Statement("equal", (a, b, c), (180,)), (18,)
        elif len({a.vertex, b.vertex, c.vertex}) == 1:
            for whole, one, two in ((a, b, c), (b, a, c), (c, a, b)):
                yield Statement("equal", (whole,), (one, two)), (27,)
    for four in combinations(angles, 4):
        if len({x.vertex for x in four}) == 4:
            yield Statement("equal", four, (360,)), (9,)
    for a, b, c in combinations(segments, 3):
        if len({*a.points, *b.points, *c.points}) == 3:
            for whole, one, two in ((a, b, c), (b, a, c), (c, a, b)):
                yield Statement("equal", (whole,), (one, two)), (8,)


def algebra(board: Board, goal: Statement) -> Iterator[tuple[int, Statement, tuple[int, ...]]]:
    """Yield what one step of algebra makes of the equations on a board.

    Each comes with its reason and the facts it was made of, so that nothing need be solved.
    """
    equations = [f for f in board.facts if f.statement.relation == "equal" and _short(f.statement)]
    for reason, left, right, uses in _made(board, equations):
        if not left or not right or sorted(map(repr, left)) == sorted(map(repr, right)):
            continue
        sides = tuple(left), tuple(right)
        single = len(left) == len(right) == 1 and not {type(left[0]), type(right[0])} & {int}
        if (
            single
            and goal.relation == "congruent"
            and canonical(Statement("congruent", *sides)) == goal
        ):
            yield reason, Statement("congruent", *sides), uses
        else:
            yield reason, Statement("equal", *sides), uses


Made = tuple[int, Sequence[Term], Sequence[Term], tuple[int, ...]]


def _short(statement: Statement) -> bool:
    return len(statement.left) + len(statement.right) <= LONGEST


def _made(board: Board, equations: list[Fact]) -> Iterator[Made]:
    by_side: dict[tuple[Term, ...], list[tuple[tuple[Term, ...], int]]] = {}
    for statement, index in equations:
        by_side.setdefault(statement.left, []).append((statement.right, index))
        by_side.setdefault(statement.right, []).append((statement.left, index))
    for shared in by_side.values():
        for (one, i), (two, j) in combinations(shared, 2):
            if len(one) == len(two) > 1 and i != j:
                yield 25, one, two, (i, j)
    rights = [(one, i) for one, i in by_side.get((90,), ()) if len(one) == 1]
    for (one, i), (two, j) in combinations(rights, 2):
        yield 26, (*one, *two), (180,), (i, j)
    for statement, index in equations:
        for left, right in _simpler(statement):
            yield 26, left, right, (index,)
        for left, right, uses in _replaced(board, statement):
            yield 5, left, right, (index, *uses)


def _simpler(statement: Statement) -> Iterator[tuple[list[Term], list[Term]]]:
    """Yield an equation with a common term cancelled, constants subtracted, or halved."""
    left, right = list(statement.left), list(statement.right)
    common = next((t for t in left if t in right and isinstance(t, Element)), None)
    if common is not None:
        a, b = list(left), list(right)
        a.remove(common)
        b.remove(common)
        yield a, b
    for a, b in ((left, right), (right, left)):
        numbers = [t for t in a if isinstance(t, int)]
        if len(b) != 1 or not isinstance(b[0], int):
            continue
        rest = b[0] - sum(numbers)
        if numbers and len(a) > len(numbers) and rest in (90, 180, 360):
            yield [t for t in a if not isinstance(t, int)], [rest]
        if b[0] in (180, 360) and all(a.count(t) == 2 for t in a):
            yield list(dict.fromkeys(a)), [b[0] // 2]


Swap = tuple[list[Term], tuple[int, ...]]


def _replaced(
    board: Board, statement: Statement
) -> Iterator[tuple[list[Term], list[Term], tuple[int, ...]]]:
    """Yield an equation with one term replaced by its equal or its sum, or two by equals."""
    terms = dict.fromkeys(t for t in statement.left + statement.right if isinstance(t, Element))
    swaps: dict[Term, list[Swap]] = {term: [] for term in terms}
    for equal in board.equals:
        for near, far in ((equal.one, equal.two), (equal.two, equal.one)):
            if near in terms and near != far:
                swaps[near].append(([far], equal.uses))
    for fact, index in board.facts:
        if fact.relation != "equal" or fact == statement:
            continue
        for one, other in ((fact.left, fact.right), (fact.right, fact.left)):
            if len(one) == 1 and one[0] in terms:
                swaps[one[0]].append((list(other), (index,)))
    changes = [{term: swap} for term in terms for swap in swaps[term]]
    if len(terms) > 2:  # the sum of a quadrilateral: two angles at once
        changes += [
            {a: one, b: two}
            for a, b in combinations(terms, 2)
            for one in swaps[a]
            for two in swaps[b]
            if len(one[0]) == len(two[0]) == 1
        ]
    for change in changes:
        left, right = (
            [new for term in side for new in (change[term][0] if term in change else [term])]
            for side in (statement.left, statement.right)
        )
        if len(left) + len(right) <= LONGEST:
            yield left, right, tuple(use for swap in change.values() for use in swap[1])
