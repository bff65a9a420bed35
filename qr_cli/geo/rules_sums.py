"""Rules about equations: sums of angles, transitivity, and whatever follows linearly."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import permutations
from typing import Any

from qr_cli.geo.board import YES, Board, Look, best, both
from qr_cli.geo.proof import Element, Statement, Term, canonical, normal
from qr_cli.geo.support import Support, held


def _angle_sum(statement: Statement, value: int, count: int) -> list[Element] | None:
    """Return the angles of `x + y + ... = value` when they have different vertices."""
    if statement.relation != "equal":
        return None
    terms = statement.left if statement.right == (value,) else statement.right
    total = statement.right if statement.right == (value,) else statement.left
    if total != (value,) or len(terms) != count:
        return None
    angles = [t for t in terms if isinstance(t, Element)]
    return angles if len({x.vertex for x in angles}) == count else None


def triangle_sum(board: Board, statement: Statement) -> Iterator[Support]:
    """Three angles of a triangle."""
    if angles := _angle_sum(statement, 180, 3):
        p, q, r = (x.vertex for x in angles)
        x, y, z = angles
        yield held(both(board.names(x, p, q, r), board.names(y, q, p, r), board.names(z, r, p, q)))


def quadrilateral_sum(board: Board, statement: Statement) -> Iterator[Support]:
    """Four angles of a quadrilateral, in some order around it."""
    if angles := _angle_sum(statement, 360, 4):
        first, *rest = angles
        for order in permutations(rest):
            around = (first, *order)
            yield held(
                both(*(
                    board.names(x, x.vertex, around[i - 1].vertex, around[(i + 1) % 4].vertex)
                    for i, x in enumerate(around)
                ))
            )  # fmt: skip


def right_triangle_sum(board: Board, statement: Statement) -> Iterator[Support]:
    """The acute angles of a right triangle."""
    angles = _angle_sum(statement, 90, 2)
    if not angles:
        return
    x, y = angles
    p, q = x.vertex, y.vertex
    for one, two, index in board.verticals:
        ends = dict.fromkeys(one.points + two.points)
        common = [e for e in one.points if e in two.points]
        for r in common or [e for e in ends if e not in (p, q)]:
            if r in (p, q):
                continue
            legs = best(
                both(board.along(a, r, p), board.along(b, r, q))
                for a, b in ((one, two), (two, one))
            )
            if legs.level:
                yield held(both(board.names(x, p, r, q), board.names(y, q, r, p), legs), index)


def definition_of_equal(board: Board, statement: Statement) -> Iterator[Support]:
    """A fact x = y says that x is congruent to y."""
    if statement.relation == "congruent":
        equal = canonical(Statement("equal", statement.left, statement.right))
        if equal in board.known:
            yield Support(2, (board.known[equal],))


def _same(board: Board, x: Element, y: Element) -> Look:
    """Do two elements name the same thing?"""
    if x == y:
        return YES
    if x.kind != "angle" or y.kind != "angle" or x.vertex != y.vertex:
        return Look(0)
    if len(x.points) != len(y.points):
        return Look(1, (f"{x} and {y} are the same angle",))
    return board.names(x, y.vertex, y.points[0], y.points[2])


def transitivity(board: Board, statement: Statement) -> Iterator[Support]:
    """Two different equalities with a common member."""
    x, z = statement.left[0], statement.right[0]
    if statement.relation != "congruent" or x.kind == "triangle":  # type: ignore[union-attr]
        return
    x, z = normal(x), normal(z)  # type: ignore[arg-type]
    starts = list(_members(board, x))
    ends = list(_members(board, z))
    for first, middle, one in starts:
        for second, other, two in ends:
            if one != two and (look := both(first, second, _same(board, middle, other))).level:
                yield held(look, *dict.fromkeys(one + two))


def _members(board: Board, x: Element) -> Iterator[tuple[Look, Element, tuple[int, ...]]]:
    """Yield what equals x: how surely x is meant, the other member, the facts."""
    for one, two, uses in board.equals:
        for near, far in ((one, two), (two, one)):
            if near.kind == x.kind and (look := _same(board, near, x)).level:
                yield look, far, uses


# linear consequences ------------------------------------------------------------------------

Row = dict[Term, Fraction]
Weights = dict[int, Fraction]
ONE = 1  # the key of the constant


def _row(statement: Statement, same: dict[Element, Element]) -> Row | None:
    """Return an equation as coefficients; None when the statement is none."""
    left, right = statement.left, statement.right
    if statement.relation not in ("equal", "congruent") or (
        isinstance(left[0], Element) and left[0].kind == "triangle"
    ):
        return None
    row: Row = {}
    for terms, sign in ((left, 1), (right, -1)):
        for term in terms:
            key = ONE if isinstance(term, int) else normal(term)
            key = same.get(key, key) if isinstance(key, Element) else key
            amount = Fraction(sign * (term if isinstance(term, int) else 1))
            row[key] = row.get(key, Fraction(0)) + amount
    return {key: value for key, value in row.items() if value}


def _reduce(row: Row, weights: Weights, basis: list[tuple[Term, Row, Weights]]) -> None:
    """Subtract basis rows until none of their leading terms is left; track the weights."""
    for lead, other, origin in basis:
        factor = row.get(lead)
        if factor:
            _subtract(row, other, factor)
            _subtract(weights, origin, factor)


def _subtract(row: dict[Any, Fraction], other: dict[Any, Fraction], factor: Fraction) -> None:
    for key, value in other.items():
        row[key] = row.get(key, Fraction(0)) - factor * value
        if not row[key]:
            del row[key]


def follows(board: Board, statement: Statement, same: dict[Element, Element]) -> tuple[int, ...]:
    """Return the facts an equation is a linear combination of, or nothing."""
    target = _row(statement, same)
    if not target:  # no equation, or one that is true of any numbers
        return ()
    basis: list[tuple[Term, Row, Weights]] = []
    for fact, index in reversed(board.facts):  # newest first, so that the nearest are named
        row = _row(fact, same)
        if not row:
            continue
        weights: Weights = {index: Fraction(1)}
        _reduce(row, weights, basis)
        leads = [key for key in row if isinstance(key, Element)]
        if not leads:
            continue
        lead = leads[0]
        factor = row[lead]
        basis.append(
            (
                lead,
                {k: v / factor for k, v in row.items()},
                {k: v / factor for k, v in weights.items()},
            )
        )
    found: Weights = {}
    _reduce(target, found, basis)
    return () if target else tuple(sorted(found))


def algebra(board: Board, statement: Statement) -> Iterator[Support]:
    """An equation in the span of earlier ones (exact fractions)."""
    uses = follows(board, statement, {})
    if uses:
        yield Support(2, uses)
        return
    same = _merged(board, statement)
    if same and (uses := follows(board, statement, same)):
        notes = [f"{a} and {b} are the same angle" for a, b in same.items()]
        yield Support(1, uses, tuple(notes))


def _merged(board: Board, statement: Statement) -> dict[Element, Element]:
    """Return three-letter angles that may be the one-letter angle of their vertex."""
    names = {v: set(held) for v, held in board.angle_names.items()}
    for term in statement.left + statement.right:
        if isinstance(term, Element) and term.kind == "angle":
            names.setdefault(term.vertex, set()).add(normal(term))
    same: dict[Element, Element] = {}
    for found in names.values():
        short = [x for x in found if len(x.points) == 1]
        if len(found) == 2 and len(short) == 1:
            (long,) = found - set(short)
            same[long] = short[0]
    return same


def transitive_equation(board: Board, statement: Statement) -> Iterator[Support]:
    """Both sides occur as wholes in earlier equations with a common third side."""
    if statement.relation not in ("equal", "congruent"):
        return
    left, right = canonical(statement).left, canonical(statement).right
    others = {
        side: {(a if b == side else b): index for (_, a, b), index in board.facts if side in (a, b)}
        for side in (left, right)
    }
    common = [third for third in others[left] if third in others[right]]
    uses = follows(board, statement, {})
    if common and uses:
        third = common[0]
        yield Support(2, tuple(dict.fromkeys((others[left][third], others[right][third]))))
